// Exceptions on the wire: [type, stand-in or nil, message, pid, process, stack, [[type, message]…], fields].
#include <cxxabi.h>

#include <any>
#include <array>
#include <atomic>
#include <cstdlib>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <system_error>
#include <typeinfo>
#include <variant>

#include "brood/remote_error.hpp"

namespace brood::inline v1 {

RemoteError::~RemoteError() = default;

std::string RemoteError::report() const {
  std::string out = type_name() + ": " + message();
  for (const Nested& inner : nested()) out += "\n  nested: " + inner.type_name + ": " + inner.message;
  out += "\n  thrown in the process " + (process_name().empty() ? std::string() : process_name() + " ") + "(pid " +
         std::to_string(pid()) + ")\n";
  return out + stack();
}

namespace detail {
namespace {

std::string type_of_current_exception() {
  const std::type_info* type = abi::__cxa_current_exception_type();
  if (type == nullptr) return "unknown";
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> readable(abi::__cxa_demangle(type->name(), nullptr, nullptr, &status),
                                                        std::free);
  std::string name = readable_type_name(status == 0 ? readable.get() : type->name());
  // What std::throw_with_nested(E) throws is an E to everybody.
  constexpr std::string_view kNested = "std::_Nested_exception<";
  if (name.starts_with(kNested) && name.ends_with('>'))
    name = name.substr(kNested.size(), name.size() - kNested.size() - 1);
  return name;
}

/// One exception, without what is nested in it.
struct Said {
  const std::type_info* type = nullptr;
  std::string type_name;
  std::optional<std::string> message;
  std::exception_ptr nested;
  std::optional<RemoteError> remote;  ///< it came from another process
};
Said look_at(const std::exception_ptr& error) {
  Said said;
  if (error == nullptr) {
    // What is caught by `...` and cannot be held: thrown by another language's runtime.
    said.type_name = "an exception that is not of C++";
    return said;
  }
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& known) {
    const char* const what = known.what();
    said.message = what != nullptr ? what : "(null)";
    try {
      std::rethrow_if_nested(known);
    } catch (...) {
      said.nested = std::current_exception();
    }
    said.type = abi::__cxa_current_exception_type();
    said.type_name = type_of_current_exception();
  } catch (const std::string& text) {
    said.type_name = "std::string";
    said.message = text;
  } catch (const char* text) {
    said.type_name = "const char*";
    said.message = text != nullptr ? text : "(null)";
  } catch (...) {
    said.type = abi::__cxa_current_exception_type();
    said.type_name = type_of_current_exception();
  }
  // What came from another process keeps what it was there.
  try {
    std::rethrow_exception(error);
  } catch (const RemoteError& remote) {
    said.type_name = remote.type_name();
    said.message = remote.message();
    said.remote = remote;
  } catch (...) {
    return said;
  }
  return said;
}

// --- types with more to say than a text ------------------------------------------------------------------------------

/// A standard exception that is made from nothing; what it says is in the mark.
template <class E>
std::exception_ptr make_plain(Decoder& in, RemoteError::Facts facts, bool is_exact) {
  in.nil();
  return make_remote<E>(E(), std::move(facts), is_exact);
}
template <class E>
void encode_nothing(Encoder& out, const std::exception_ptr& /*error*/) {
  out.nil();
}

template <class E>
void encode_code(Encoder& out, const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::system_error& known) {
    const std::string_view category = known.code().category().name();
    out.array_header(2);
    out.str(category);
    out.sint(known.code().value());
  }
}
std::error_code decode_code(Decoder& in) {
  in.expect_array(2, "the code of a system error");
  const std::string_view category = in.str();
  const int value = in.integer<int>();
  // Categories of libraries that are not here have numbers that mean nothing here.
  return {value, category == "system" ? std::system_category() : std::generic_category()};
}
std::exception_ptr make_system_error(Decoder& in, RemoteError::Facts facts, bool is_exact) {
  return make_remote<std::system_error>(std::system_error(decode_code(in)), std::move(facts), is_exact);
}
std::exception_ptr make_os_error(Decoder& in, RemoteError::Facts facts, bool is_exact) {
  return make_remote<OsError>(OsError(decode_code(in).value(), ""), std::move(facts), is_exact);
}
template <class E>  // NoSpace, ConnectionRefused
std::exception_ptr make_with_number(Decoder& in, RemoteError::Facts facts, bool is_exact) {
  return make_remote<E>(E("", decode_code(in).value()), std::move(facts), is_exact);
}
template <class E>  // PermissionDenied, AddressInUse
std::exception_ptr make_of_one_number(Decoder& in, RemoteError::Facts facts, bool is_exact) {
  (void)decode_code(in);
  return make_remote<E>(E(""), std::move(facts), is_exact);
}

template <class E>  // OwnerDied, ContainerDamaged
void encode_dead_pid(Encoder& out, const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const E& known) {
    out.sint(known.dead_pid());
  }
}
template <class E>
std::exception_ptr make_with_dead_pid(Decoder& in, RemoteError::Facts facts, bool is_exact) {
  const std::int64_t pid = in.sint();
  const E error(facts.message, pid);
  return make_remote<E>(error, std::move(facts), is_exact);
}

template <class E>  // PeerGone and its kinds
void encode_ending(Encoder& out, const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const E& known) {
    out.array_header(2);
    out.sint(known.pid());
    if (known.exitcode()) out.sint(*known.exitcode());
    else out.nil();
  }
}
void encode_worker_died(Encoder& out, const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const WorkerDied& known) {
    out.array_header(5);
    out.sint(known.pid());
    if (known.exitcode()) out.sint(*known.exitcode());
    else out.nil();
    out.uint(known.task());
    out.uint(known.attempts());
    out.boolean(known.core_dumped());
  }
}
std::exception_ptr make_worker_died(Decoder& in, RemoteError::Facts facts, bool is_exact) {
  in.expect_array(5, "how a worker died");
  const std::int64_t pid = in.sint();
  std::optional<int> code;
  if (!in.try_nil()) code = in.integer<int>();
  const std::uint64_t task = in.uint();
  const auto attempts = in.integer<unsigned>();
  const WorkerDied error(facts.message, pid, code, task, attempts, in.boolean());
  return make_remote<WorkerDied>(error, std::move(facts), is_exact);
}
template <class E>
std::exception_ptr make_ending(Decoder& in, RemoteError::Facts facts, bool is_exact) {
  in.expect_array(2, "how a process ended");
  const std::int64_t pid = in.sint();
  std::optional<int> code;
  if (!in.try_nil()) code = in.integer<int>();
  E error(facts.message, pid, code);
  return make_remote<E>(std::move(error), std::move(facts), is_exact);
}

void encode_message(Encoder& out, const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const BufferTooShort& known) {
    out.bin(known.message());
  }
}
std::exception_ptr make_buffer_too_short(Decoder& in, RemoteError::Facts facts, bool is_exact) {
  const std::span<const std::byte> message = in.bin();
  const BufferTooShort error(facts.message, {message.begin(), message.end()});
  return make_remote<BufferTooShort>(error, std::move(facts), is_exact);
}

template <class E>
constexpr ExceptionType text_type() {
  return exception_type<E>(&encode_nothing<E>, &make_exception<E>);
}
template <class E>
constexpr ExceptionType plain_type() {
  return exception_type<E>(&encode_nothing<E>, &make_plain<E>);
}
template <class E>
constexpr ExceptionType code_type(decltype(ExceptionType::make) make) {
  return exception_type<E>(&encode_code<E>, make);
}
template <class E>
constexpr ExceptionType ending_type() {
  return exception_type<E>(&encode_ending<E>, &make_ending<E>);
}

/// Derived types before their bases: the first that matches is the closest.
std::span<const ExceptionType> known_types() {
  static constexpr std::array kKnown = {
      // brood's own
      text_type<NotOwner>(), text_type<ReleasedTooOften>(), text_type<NotStarted>(), text_type<InvalidState>(),
      text_type<WrongDirection>(), text_type<UsageError>(), code_type<NoSpace>(&make_with_number<NoSpace>),
      code_type<PermissionDenied>(&make_of_one_number<PermissionDenied>),
      code_type<AddressInUse>(&make_of_one_number<AddressInUse>),
      code_type<ConnectionRefused>(&make_with_number<ConnectionRefused>), code_type<OsError>(&make_os_error),
      text_type<HandleError>(), text_type<TypeMismatch>(), text_type<DecodeError>(), text_type<AlreadyExists>(),
      exception_type<OwnerDied>(&encode_dead_pid<OwnerDied>, &make_with_dead_pid<OwnerDied>),
      exception_type<ContainerDamaged>(&encode_dead_pid<ContainerDamaged>, &make_with_dead_pid<ContainerDamaged>),
      text_type<BrokenBarrier>(), text_type<QueueClosed>(), text_type<ConnectionClosed>(), text_type<ListenerClosed>(),
      text_type<HandshakeTimeout>(), text_type<TaskTimeout>(), text_type<TimeoutError>(),
      text_type<AuthenticationError>(), text_type<ConnectionReset>(), text_type<EndOfFile>(),
      exception_type<BufferTooShort>(&encode_message, &make_buffer_too_short), text_type<MessageTooLong>(),
      text_type<Empty>(), text_type<Full>(), text_type<StartError>(), text_type<PoolTerminated>(),
      text_type<CancelledError>(), text_type<PoolBroken>(),
      exception_type<WorkerDied>(&encode_worker_died, &make_worker_died), ending_type<BrokenPipe>(),
      ending_type<BrokenMessage>(), ending_type<ManagerDied>(), ending_type<PeerGone>(), text_type<RuntimeError>(),
      // the standard's
      text_type<std::invalid_argument>(), text_type<std::domain_error>(), text_type<std::length_error>(),
      text_type<std::out_of_range>(), text_type<std::logic_error>(), text_type<std::range_error>(),
      text_type<std::overflow_error>(), text_type<std::underflow_error>(),
      code_type<std::system_error>(&make_system_error), text_type<std::runtime_error>(),
      plain_type<std::bad_array_new_length>(), plain_type<std::bad_alloc>(), plain_type<std::bad_any_cast>(),
      plain_type<std::bad_cast>(), plain_type<std::bad_typeid>(), plain_type<std::bad_optional_access>(),
      plain_type<std::bad_variant_access>(), plain_type<std::bad_function_call>(), plain_type<std::bad_weak_ptr>(),
      plain_type<std::bad_exception>()};
  return kKnown;
}

constinit std::atomic<const ExceptionType*> g_registered = nullptr;

/// The type itself, or the closest that `error` derives from; null if there is none.
const ExceptionType* find_type(const std::type_info* type, const std::exception_ptr& error) {
  if (type == nullptr) return nullptr;
  for (const auto* it = g_registered.load(std::memory_order_acquire); it != nullptr; it = it->next) {
    if (*it->type == *type) return it;
  }
  for (const ExceptionType& known : known_types()) {
    if (*known.type == *type) return &known;
  }
  // The order of registration says nothing about which is closer.
  const ExceptionType* closest = nullptr;
  for (const auto* it = g_registered.load(std::memory_order_acquire); it != nullptr; it = it->next) {
    if (it->matches(error) && (closest == nullptr || closest->is_base_of(*it))) closest = it;
  }
  if (closest != nullptr) return closest;
  for (const ExceptionType& known : known_types()) {
    if (known.matches(error)) return &known;
  }
  return nullptr;
}
const ExceptionType* find_type(std::string_view name) {
  for (const auto* it = g_registered.load(std::memory_order_acquire); it != nullptr; it = it->next) {
    if (it->name() == name) return it;
  }
  for (const ExceptionType& known : known_types()) {
    if (known.name() == name) return &known;
  }
  return nullptr;
}

}  // namespace

std::string what_of_derived(const RemoteError::Facts& facts) {
  return facts.message.empty() ? facts.type_name : facts.type_name + ": " + facts.message;
}

void register_exception(ExceptionType& type) noexcept {
  // A header's object may be made in several modules of the program, which share the entry or not: both are sound.
  for (const auto* it = g_registered.load(std::memory_order_acquire); it != nullptr; it = it->next) {
    if (it == &type) return;
  }
  type.next = g_registered.load(std::memory_order_relaxed);
  while (!g_registered.compare_exchange_weak(type.next, &type, std::memory_order_release, std::memory_order_relaxed)) {}
}

void encode_exception(Encoder& out, const std::exception_ptr& error, const Thrower& where) {
  const Said said = look_at(error);
  // What comes from another process already is made again as what it was there.
  const ExceptionType* type = find_type(said.type_name);
  if (type == nullptr || !type->matches(error)) type = find_type(said.type, error);
  out.array_header(8);
  out.str(said.type_name);
  if (type != nullptr) out.str(type->name());
  else out.nil();
  out.str(said.message.value_or(std::string()));
  out.sint(said.remote ? said.remote->pid() : where.pid);
  out.str(said.remote ? said.remote->process_name() : where.process_name);
  out.str(said.remote ? said.remote->stack() : where.stack);
  const std::size_t at = out.begin_array();
  std::size_t count = 0;
  constexpr std::size_t kMostNested = 64;
  const auto nested = [&](const std::string& type_name, const std::string& message) {
    out.array_header(2);
    out.str(type_name);
    out.str(message);
  };
  const auto nested_elsewhere = [&](const Said& outer) {
    if (!outer.remote) return;
    for (const RemoteError::Nested& inner : outer.remote->nested()) {
      if (count == kMostNested) return;
      nested(inner.type_name, inner.message);
      ++count;
    }
  };
  nested_elsewhere(said);
  for (std::exception_ptr inner = said.nested; inner && count < kMostNested; ++count) {
    Said next = look_at(inner);
    nested(next.type_name, next.message.value_or(std::string()));
    nested_elsewhere(next);
    inner = std::move(next.nested);
  }
  out.end_array(at, count);
  if (type != nullptr) type->encode(out, error);
  else out.nil();
}

std::exception_ptr decode_exception(Decoder& in) {
  in.expect_array(8, "an exception");
  RemoteError::Facts facts;
  facts.type_name = in.str();
  const std::string stand_in(in.try_nil() ? std::string_view() : in.str());
  facts.message = in.str();
  facts.pid = in.sint();
  facts.process_name = in.str();
  facts.stack = in.str();
  for (std::size_t left = in.array_header(); left > 0; --left) {
    in.expect_array(2, "a nested exception");
    RemoteError::Nested inner;
    inner.type_name = in.str();
    inner.message = in.str();
    facts.nested.push_back(std::move(inner));
  }
  if (const ExceptionType* type = find_type(stand_in)) {
    const bool is_exact = stand_in == facts.type_name;
    return type->make(in, std::move(facts), is_exact);
  }
  in.skip();
  return make_remote<std::runtime_error>(std::runtime_error(""), std::move(facts), false);
}

std::string describe_exception(const std::exception_ptr& error, const char* between) {
  std::string out;
  std::exception_ptr next = error;
  do {
    Said said = look_at(next);
    if (!out.empty()) out += between;
    out += said.message ? said.type_name + ": " + *said.message : said.type_name;
    next = std::move(said.nested);
  } while (next);
  return out;
}

}  // namespace detail
}  // namespace brood::inline v1
