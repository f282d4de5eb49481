// Proxies: objects that a Manager keeps, used from here.                                          (room: manager)
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "brood/detail/call_line.hpp"
#include "brood/detail/method.hpp"
#include "brood/remote.hpp"

namespace brood::inline v1 {

namespace manager {
class Link;  // lib/manager/link.hpp
struct Ref;
}  // namespace manager

namespace detail {

/// A conversation with the server for one call, from those that this process keeps.                 (lib/manager/link.cpp)
class Conversation {
 public:
  explicit Conversation(const std::shared_ptr<manager::Link>& link);
  ~Conversation();
  Conversation(const Conversation&) = delete;
  Conversation& operator=(const Conversation&) = delete;
  [[nodiscard]] call::Line& line() const noexcept { return *line_; }

 private:
  std::shared_ptr<manager::Link> link_;
  std::shared_ptr<call::Line> line_;
};

/// A reference to an object of a server. Copies are the same reference.
class ProxyCore {
 public:
  ProxyCore() = default;
  explicit ProxyCore(std::shared_ptr<manager::Ref> ref) noexcept : ref_(std::move(ref)) {}

  void encode(Encoder& out) const;
  /// `type`: what the object must be. Errors: TypeMismatch, HandleError, ManagerDied, AuthenticationError.
  [[nodiscard]] static ProxyCore decode(Decoder& in, const std::string& type);
  /// The same, of a server that one talks to already.
  [[nodiscard]] static ProxyCore decode(Decoder& in, const std::string& type,
                                        const std::shared_ptr<manager::Link>& from);

  [[nodiscard]] const std::shared_ptr<manager::Link>& link() const;
  [[nodiscard]] std::uint64_t object() const;
  [[nodiscard]] std::string printed(std::string_view type) const;
  [[nodiscard]] bool is_same(const ProxyCore& other) const noexcept;

  /// Calls a method that has a name.
  template <class R, class... A>
  R call(std::string_view method, const A&... args) const {
    const Conversation conversation(link());
    CallRequest request(conversation.line(), object(), {.name = method});
    {
      const EncodesFor mark(request);
      request.arguments().array_header(sizeof...(A));
      (detail::encode(request.arguments(), args), ...);
    }
    return call_and_decode<R>(request, Deadline::never());
  }
  /// Calls a method of the program, by its place.
  template <class R, class Parameters, class... Args>
  R call_placed(const MethodKey& key, Parameters parameters, Args&&... args) const {
    const Conversation conversation(link());
    CallRequest request(conversation.line(), object(), key);
    encode_arguments_for(request, parameters, std::forward<Args>(args)...);
    return call_and_decode<R>(request, Deadline::never());
  }

 private:
  std::shared_ptr<manager::Ref> ref_;
};

/// nil, or [value]: an optional whose value may itself be nil.
template <class T>
struct MaybeOne {
  std::optional<T> value = {};
};

/// Values that the server keeps one by one: an array of them, never one block of plain data.
template <class T>
struct EachValue {
  std::vector<T> values = {};
};

/// A shared object by its handle, not opened.
struct SharedHandle {
  Handle handle = {};
};

/// Timeouts travel in nanoseconds; nil: no limit.
struct Timeout {
  Deadline deadline = Deadline::never();
};

/// Which of this process's threads asks: an RLock belongs to one.
[[nodiscard]] std::uint64_t thread_number() noexcept;

/// What all proxies are.
class ProxyBase {
 public:
  /// True for two proxies of the same object; what it holds is not compared.
  friend bool operator==(const ProxyBase& a, const ProxyBase& b) noexcept { return a.core_.is_same(b.core_); }
  [[nodiscard]] const ProxyCore& core() const noexcept { return core_; }

 protected:
  explicit ProxyBase(ProxyCore core) noexcept : core_(std::move(core)) {}
  ProxyCore core_;
};

template <class P>
concept IsProxy = std::derived_from<P, ProxyBase>;

}  // namespace detail

/// Proxies travel as arguments and in messages, and lie in managed containers; the object lives meanwhile.
template <detail::IsProxy P>
struct Codec<P> {
  static void encode(Encoder& out, const P& proxy) { proxy.core().encode(out); }
  static P decode(Decoder& in) { return P(detail::ProxyCore::decode(in, P::type())); }
};
template <class T>
struct Codec<detail::MaybeOne<T>> {
  static void encode(Encoder& out, const detail::MaybeOne<T>& maybe) {
    if (!maybe.value) return out.nil();
    out.array_header(1);
    detail::encode(out, *maybe.value);
  }
  static detail::MaybeOne<T> decode(Decoder& in) {
    if (in.try_nil()) return {};
    in.expect_array(1, "a value");
    return {detail::decode<T>(in)};
  }
};
template <class T>
struct Codec<detail::EachValue<T>> {
  static void encode(Encoder& out, const detail::EachValue<T>& each) {
    out.array_header(each.values.size());
    for (const T& value : each.values) detail::encode(out, value);
  }
  static detail::EachValue<T> decode(Decoder& in) {
    detail::EachValue<T> out;
    for (std::size_t left = in.array_header(); left > 0; --left) out.values.push_back(detail::decode<T>(in));
    return out;
  }
};
template <>
struct Codec<detail::SharedHandle> {
  static void encode(Encoder& out, const detail::SharedHandle& shared) { out.handle(shared.handle); }
  static detail::SharedHandle decode(Decoder& in) { return {in.handle()}; }
};
template <>
struct Codec<detail::Timeout> {
  static void encode(Encoder& out, const detail::Timeout& timeout) {
    if (timeout.deadline.is_never()) return out.nil();
    out.sint(timeout.deadline.is_poll() ? 0 : timeout.deadline.at_ns() - Deadline::clock_ns());
  }
  static detail::Timeout decode(Decoder& in) {
    if (in.try_nil()) return {};
    return {Deadline::after(std::chrono::nanoseconds(in.sint()))};
  }
};

/// An object of class A in the server: manager.make<A>(args…). Calls are as those of a Remote (brood/remote.hpp): the same methods,
/// lambdas, callbacks, short forms and exceptions. Clients' calls to one object come one after the other, unless it was made
/// concurrent.
///
/// Threads:   safe. Copies stand for the same object.
/// Processes: any; as argument, in a message, in a managed container.
/// Crash:     the object lives until the last process that has a proxy has dropped it or died, or the server ends: then every call
///            throws ManagerDied, until another server goes on with its journal.
/// Source:    Python multiprocessing.managers.BaseProxy.
template <class A>
class Proxy : public detail::ProxyBase, public RemoteMethods<A, Proxy<A>> {
 public:
  using object_type = A;
  explicit Proxy(detail::ProxyCore core) noexcept : ProxyBase(std::move(core)) {}
  [[nodiscard]] static std::string type() { return detail::type_name<A>(); }

  /// Errors: what the method throws; ManagerDied; StartError (the server is another program or build: use a ServeClass).
  template <auto M, class... Args>
  [[gnu::visibility("hidden")]] auto call(Args&&... args) const -> typename detail::MethodOf<M, A>::Result {
    using Result = typename detail::MethodOf<M, A>::Result;
    if constexpr (detail::require_result<Result>()) {
      return core_.template call_placed<Result>(
          detail::method_key<M, A>(), typename detail::MethodOf<M, A>::Parameters{}, std::forward<Args>(args)...);
    }
  }
  friend std::ostream& operator<<(std::ostream& out, const Proxy& proxy) { return out << proxy.core_.printed(type()); }
};

/// An object of a class that the server's program has registered (brood/serve_class.hpp): manager.make_named("Counter", …).
class NamedProxy : public detail::ProxyBase {
 public:
  explicit NamedProxy(detail::ProxyCore core) noexcept : ProxyBase(std::move(core)) {}
  [[nodiscard]] static std::string type() { return {}; }

  /// Call a method by its name: call<long>("add", 2L). Result and arguments have the types of the method's.
  /// Errors: UsageError (no such method), DecodeError (other types); what the method throws; ManagerDied.
  template <class R = void, class... A>
  R call(std::string_view method, const A&... args) const {
    return core_.template call<R>(method, args...);
  }
  friend std::ostream& operator<<(std::ostream& out, const NamedProxy& proxy) {
    return out << proxy.core_.printed("object");
  }
};

}  // namespace brood::inline v1
