// Remote: an object that lives in a process of its own.                                            (room: remote)
//
//   class Account {
//    public:
//     explicit Account(std::string owner);
//     void deposit(long amount);                       // throws std::invalid_argument
//     long balance() const;
//   };
//   BROOD_REMOTE(Account, deposit, balance)            // optional: for the short form
//
//   brood::Remote<Account> account("ada");             // a process, and an Account in it
//   account.call<&Account::deposit>(5);                // goes there and back; exceptions come home with their type
//   account.deposit(5);                                // the same in short
//   brood::Future<long> balance = account.async<&Account::balance>();
//
// Complete examples: examples/36_remote.cpp and the following.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "brood/deadline.hpp"
#include "brood/detail/call_line.hpp"
#include "brood/detail/method.hpp"
#include "brood/future.hpp"
#include "brood/process_options.hpp"
#include "brood/remote_error.hpp"

namespace brood::inline v1 {

/// Options of a Remote.
struct RemoteOptions {
  /// The host process: start method, streams, directory, limits, user … The name defaults to "Remote-N".
  ProcessOptions process = {};
  /// Calls that run at the same time in the host. 1: one after the other, in the order in which they were made, all in the
  /// host's main thread. More: so many threads, and the object locks for itself.
  unsigned threads = 1;
  /// How often a host that died is replaced, by a new object with the same constructor arguments, when the next call comes. The
  /// calls that were under way fail all the same: nobody knows how far they got. Shared objects among the arguments are
  /// opened once more, so they must be there still.
  unsigned restarts = 0;
  /// Before each of these.
  std::chrono::milliseconds restart_pause{0};
};

/// Says that a Remote shall not be started by its constructor.
struct NotYet {
  explicit NotYet() = default;
};
inline constexpr NotYet not_yet{};

/// For BROOD_REMOTE: the short forms of A's methods.
template <class A, class Self>
struct RemoteMethods {};

namespace detail {

/// What Remote<A> does without knowing A.                                                    (lib/remote/remote_core.cpp)
class RemoteCore {
 public:
  RemoteCore(RemoteOptions options, std::string type);
  RemoteCore(RemoteCore&& other) noexcept;
  RemoteCore& operator=(RemoteCore&& other) noexcept;
  ~RemoteCore();

  void start(PackedCall constructor);
  void stop();
  void kill();
  [[nodiscard]] bool is_running() const;
  [[nodiscard]] std::optional<std::int64_t> pid() const;
  [[nodiscard]] std::optional<int> exitcode() const;
  [[nodiscard]] unsigned restarts() const;
  [[nodiscard]] std::string printed() const;
  /// The conversation with a host that lives, as far as is known. Errors: NotStarted, PeerGone, UsageError.
  [[nodiscard]] std::shared_ptr<call::Line> line();

 private:
  struct Impl;
  [[nodiscard]] Impl& impl() const;
  std::unique_ptr<Impl> impl_;
};

std::ostream& print(std::ostream& out, const RemoteCore& core);

}  // namespace detail

/// An A in a process of its own, and calls to it.
///
/// Each call takes its arguments there and its result back, as values (brood/serialize.hpp); shared objects are reopened there;
/// a Callback is called here. What the method throws is thrown here, with its type if it is one that both sides know
/// (brood/remote_error.hpp). The object in the host is an A, made and destroyed there: of this class nothing is there.
///
///   state      call, async             start                  stop, destructor
///   not yet    NotStarted              → running              no effect
///   starting   wait                    wait                   wait: for the constructor of A
///   running    answers                 UsageError             → stopped: waits for what was asked, then ~A runs
///   host dead  PeerGone; or, with      → running              → stopped
///              restarts, a new host
///   stopped    NotStarted              → running, a new A     no effect
///
/// In a callback from the host stop() is a UsageError, since the host waits for the callback; the destructor kills it then.
/// Like a Process, the host never runs main(); it is a child of this process, and only the process that made the Remote uses it.
/// At normal exit of this process a Remote that still runs is stopped, before daemons are ended and children joined.
///
/// Shape:   a process, two segments of 72 KiB, two descriptors. A thread, once async(), a Callback or a timeout was used.
/// Threads: all members are safe, but not moving and destroying while others use the object. Threads that call at the same
///          time share the conversation; with RemoteOptions::threads they are also served at the same time.
/// Crash:   the host's death fails the calls under way with PeerGone, which names its exit code; the object is gone, unless
///          restarts were asked for. When this process is killed, the host sees the end of the conversation and ends, if it is
///          in the middle of a call by SIGTERM, a second later SIGKILL.
/// Source:  Python multiprocessing.managers.BaseManager with one object; Java RMI's and CORBA's stubs, without their ties.
template <class A>
class Remote : public RemoteMethods<A, Remote<A>> {
 public:
  using object_type = A;

  /// Start a host and make A(args…) in it. Text arrives as std::string, other arguments as what they are.
  /// Errors: what the constructor of A throws, with its type; otherwise as Process::start().
  template <class... Args>
  requires(sizeof...(Args) == 0 || !(std::is_same_v<std::remove_cvref_t<Args>, Remote> || ...))
      [[gnu::visibility("hidden")]] explicit Remote(Args&&... args)
      : Remote(not_yet) {
    start(std::forward<Args>(args)...);
  }
  /// The same, with options: Remote<Account>::with({.threads = 4}, "ada").
  template <class... Args>
  [[nodiscard, gnu::visibility("hidden")]] static Remote with(RemoteOptions options, Args&&... args) {
    Remote made(not_yet, std::move(options));
    made.start(std::forward<Args>(args)...);
    return made;
  }
  /// Without a host, until start().
  explicit Remote(NotYet /*tag*/, RemoteOptions options = {}) : core_(std::move(options), detail::type_name<A>()) {}

  Remote(Remote&&) noexcept = default;
  /// Stops what this object stood for first.
  Remote& operator=(Remote&&) noexcept = default;
  /// As stop(), except that it throws nothing.
  ~Remote() = default;

  /// Errors: UsageError (it runs; not the creator; light, where this code is part of a program); what the constructor of A throws;
  /// StartError (it ended the process); else as Process::start().
  template <class... Args>
  [[gnu::visibility("hidden")]] void start(Args&&... args) {
    core_.start(detail::pack_hosted<A>(std::forward<Args>(args)...));
  }
  /// Let the host do what it was asked before, destroy the object and end; wait for that. May be called again, and when the host
  /// is dead. Callbacks that the host calls until then are done here.
  void stop() { core_.stop(); }
  /// End the host at once (SIGKILL), even one whose constructor has not returned. Calls under way throw PeerGone.
  /// Errors: NotStarted; UsageError.
  void kill() { core_.kill(); }

  /// Call a method and wait for its result: call<&A::deposit>(5). M may also be a data member, or a function or lambda without
  /// captures whose first parameter is A&: call<[](A& a, int n) { return a.find(n).size(); }>(3).
  /// Errors: what the method throws; NotStarted; PeerGone (the host died); DecodeError. UsageError outside of the creator.
  template <auto M, class... Args>
  [[gnu::visibility("hidden")]] auto call(Args&&... args) -> typename detail::MethodOf<M, A>::Result {
    return call_before<M>(Deadline::never(), std::forward<Args>(args)...);
  }
  /// The same; TimeoutError if there is no answer in time. The call goes on, and its answer is dropped.
  template <auto M, class Rep, class Period, class... Args>
  [[gnu::visibility("hidden")]] auto call_for(std::chrono::duration<Rep, Period> timeout, Args&&... args) ->
      typename detail::MethodOf<M, A>::Result {
    return call_before<M>(Deadline::after(timeout), std::forward<Args>(args)...);
  }
  /// Call a method and go on. Errors of the sending are thrown here, all others by Future::get().
  template <auto M, class... Args>
  [[nodiscard, gnu::visibility("hidden")]] auto async(Args&&... args)
      -> Future<typename detail::MethodOf<M, A>::Result> {
    using Result = typename detail::MethodOf<M, A>::Result;
    if constexpr (detail::require_method<M, A>() && detail::require_result<Result>()) {
      const std::shared_ptr<call::Line> line = core_.line();
      detail::CallRequest request(*line, 0, detail::method_key<M, A>());
      detail::encode_arguments_for(request, typename detail::MethodOf<M, A>::Parameters{}, std::forward<Args>(args)...);
      auto state = std::make_shared<detail::FutureState<Result>>();
      request.begin(state);
      return detail::FutureMaker::make<Result>(std::move(state));
    }
  }

  /// Whether there is a host, as far as is known.
  [[nodiscard]] bool is_running() const { return core_.is_running(); }
  /// Of the host; nothing before the first start.
  [[nodiscard]] std::optional<std::int64_t> pid() const { return core_.pid(); }
  /// How the last host ended (Process::exitcode); nothing while it runs.
  [[nodiscard]] std::optional<int> exitcode() const { return core_.exitcode(); }
  /// How many hosts were replaced.
  [[nodiscard]] unsigned restarts() const { return core_.restarts(); }
  /// `<Remote Account 'Remote-1' pid=71 running>`
  friend std::ostream& operator<<(std::ostream& out, const Remote& remote) { return detail::print(out, remote.core_); }

 private:
  template <auto M, class... Args>
  [[gnu::visibility("hidden")]] auto call_before(Deadline deadline, Args&&... args) ->
      typename detail::MethodOf<M, A>::Result {
    using Result = typename detail::MethodOf<M, A>::Result;
    if constexpr (detail::require_method<M, A>() && detail::require_result<Result>()) {
      const std::shared_ptr<call::Line> line = core_.line();
      detail::CallRequest request(*line, 0, detail::method_key<M, A>());
      detail::encode_arguments_for(request, typename detail::MethodOf<M, A>::Parameters{}, std::forward<Args>(args)...);
      return detail::call_and_decode<Result>(request, deadline);
    }
  }

  detail::RemoteCore core_;
};

}  // namespace brood::inline v1

#define BROOD_DETAIL_PARENTHESES ()
#define BROOD_DETAIL_EXPAND(...) BROOD_DETAIL_EXPAND3(BROOD_DETAIL_EXPAND3(BROOD_DETAIL_EXPAND3(__VA_ARGS__)))
#define BROOD_DETAIL_EXPAND3(...) BROOD_DETAIL_EXPAND2(BROOD_DETAIL_EXPAND2(BROOD_DETAIL_EXPAND2(__VA_ARGS__)))
#define BROOD_DETAIL_EXPAND2(...) BROOD_DETAIL_EXPAND1(BROOD_DETAIL_EXPAND1(BROOD_DETAIL_EXPAND1(__VA_ARGS__)))
#define BROOD_DETAIL_EXPAND1(...) __VA_ARGS__
#define BROOD_DETAIL_METHOD(Class, name)                                                        \
  template <class... Args>                                                                      \
  [[gnu::visibility("hidden")]] auto name(Args&&... args) {                                     \
    return static_cast<Self*>(this)->template call<&Class::name>(static_cast<Args&&>(args)...); \
  }
#define BROOD_DETAIL_METHODS(Class, name, ...) \
  BROOD_DETAIL_METHOD(Class, name)             \
  __VA_OPT__(BROOD_DETAIL_METHODS_AGAIN BROOD_DETAIL_PARENTHESES(Class, __VA_ARGS__))
#define BROOD_DETAIL_METHODS_AGAIN() BROOD_DETAIL_METHODS

/// Gives Remote<Class> the short forms of these methods, so that account.deposit(5) does what
/// account.call<&Account::deposit>(5) does. At namespace scope, outside of every namespace; up to 40 methods, none of
/// them overloaded.
#define BROOD_REMOTE(Class, ...)                                  \
  template <class Self>                                           \
  struct brood::RemoteMethods<Class, Self> {                      \
    BROOD_DETAIL_EXPAND(BROOD_DETAIL_METHODS(Class, __VA_ARGS__)) \
  };
