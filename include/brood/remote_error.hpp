// RemoteError: an exception that was thrown in another process, and comes home with its type.      (room: wire)
//
//   try {
//     account.call<&Account::withdraw>(100);
//   } catch (const std::out_of_range& error) {           // the type that was thrown there
//     if (const auto* remote = dynamic_cast<const brood::RemoteError*>(&error)) std::cerr << remote->stack();
//   }
#pragma once

#include <concepts>
#include <cstdint>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

#include "brood/detail/codec.hpp"
#include "brood/error.hpp"

namespace brood::inline v1 {

/// What every exception is that was thrown in another process and thrown again in this one.
///
/// Which type it also has: the one that was thrown, if this library knows it (the standard exceptions with a text, brood's
/// own) or the program has registered it (RegisterException); else the closest standard exception that the type derives
/// from; else std::runtime_error. Where the type itself could not be kept, what() begins with its name.
///
/// Threads: as any exception; copies share what they say.
/// Source:  Python multiprocessing.pool.RemoteTraceback, managers.RemoteError.
class RemoteError {
 public:
  struct Nested {
    std::string type_name;
    std::string message;
  };
  struct Facts {
    std::string type_name = {};       ///< as the far process calls the type
    std::string message = {};         ///< its what(); empty if it was no std::exception and no text
    std::int64_t pid = 0;             ///< of the process that threw
    std::string process_name = {};    ///< and its name, if that is known
    std::string stack = {};           ///< one line for each function, innermost first; empty if nobody looked
    std::vector<Nested> nested = {};  ///< what was nested in it (std::throw_with_nested), outermost first
  };

  explicit RemoteError(Facts facts) : facts_(std::make_shared<const Facts>(std::move(facts))) {}
  virtual ~RemoteError();

  [[nodiscard]] const std::string& type_name() const noexcept { return facts_->type_name; }
  [[nodiscard]] const std::string& message() const noexcept { return facts_->message; }
  [[nodiscard]] std::int64_t pid() const noexcept { return facts_->pid; }
  [[nodiscard]] const std::string& process_name() const noexcept { return facts_->process_name; }
  [[nodiscard]] const std::string& stack() const noexcept { return facts_->stack; }
  [[nodiscard]] const std::vector<Nested>& nested() const noexcept { return facts_->nested; }
  /// All of it, in several lines, for logs.
  [[nodiscard]] std::string report() const;

 private:
  std::shared_ptr<const Facts> facts_;  // copying an exception must not throw
};

namespace detail {

struct NoError {};

/// An E that was thrown elsewhere. It is a brood::Error, too, as everything is that this library throws.
template <class E>
class RemoteErrorOf final : public E,
                            public RemoteError,
                            public std::conditional_t<std::derived_from<E, Error>, NoError, Error> {
 public:
  RemoteErrorOf(E error, Facts facts, std::string what)
      : E(std::move(error)),
        RemoteError(std::move(facts)),
        what_(std::make_shared<const std::string>(std::move(what))) {}
  [[nodiscard]] const char* what() const noexcept override { return what_->c_str(); }

 private:
  std::shared_ptr<const std::string> what_;
};

/// One type of exception that can be made again.
struct ExceptionType {
  const std::type_info* type;
  std::string (*name)();
  /// What there is to say beyond the text; nil if nothing. `error` is of this type, or derived from it.
  void (*encode)(Encoder& out, const std::exception_ptr& error);
  /// The inverse; `is_exact`: it was thrown as this type, and not only as one derived from it.
  std::exception_ptr (*make)(Decoder& in, RemoteError::Facts facts, bool is_exact);
  /// True if `error` is of this type, or derived from it.
  bool (*matches)(const std::exception_ptr& error);
  // Whether another one derives from this: pointers are thrown and caught as the types themselves are.
  void (*throw_pointer)();
  bool (*catches_pointer)(void (*throw_pointer)());
  [[nodiscard]] bool is_base_of(const ExceptionType& other) const { return catches_pointer(other.throw_pointer); }
  const ExceptionType* next = nullptr;  ///< of the registered ones
};

/// What what() says of an exception whose type is only nearly known.
[[nodiscard]] std::string what_of_derived(const RemoteError::Facts& facts);

template <class E>
[[nodiscard]] std::exception_ptr make_remote(E error, RemoteError::Facts facts, bool is_exact) {
  std::string what = is_exact ? facts.message : what_of_derived(facts);
  return std::make_exception_ptr(RemoteErrorOf<E>(std::move(error), std::move(facts), std::move(what)));
}

template <class E>
[[nodiscard]] bool exception_matches(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const E&) {
    return true;
  } catch (...) {
    return false;
  }
}

template <class E>
void throw_exception_pointer() {
  throw static_cast<const E*>(nullptr);  // NOLINT(misc-throw-by-value-catch-by-reference): there is no object
}
template <class E>
[[nodiscard]] bool catches_exception_pointer(void (*throw_pointer)()) {
  try {
    throw_pointer();
  } catch (const E*) {  // NOLINT(misc-throw-by-value-catch-by-reference): the same
    return true;
  } catch (...) {
    return false;
  }
  return false;
}

template <class E>
[[nodiscard]] constexpr ExceptionType exception_type(decltype(ExceptionType::encode) encode,
                                                     decltype(ExceptionType::make) make) {
  return {&typeid(E),
          &type_name<E>,
          encode,
          make,
          &exception_matches<E>,
          &throw_exception_pointer<E>,
          &catches_exception_pointer<E>};
}

/// What of E travels: E itself if it is serializable, else its text alone.
template <class E>
inline constexpr bool kExceptionTravels = Transferable<E>;
template <class E>
inline constexpr bool kExceptionHasText =
    std::constructible_from<E, std::string> || std::constructible_from<E, const char*>;

template <class E>
void encode_exception_fields(Encoder& out, const std::exception_ptr& error) {
  if constexpr (kExceptionTravels<E>) {
    try {
      std::rethrow_exception(error);
    } catch (const E& known) {
      detail::encode(out, known);
    }
  } else {
    out.nil();
  }
}

template <class E>
[[nodiscard]] std::exception_ptr make_exception(Decoder& in, RemoteError::Facts facts, bool is_exact) {
  if constexpr (kExceptionTravels<E>) {
    E error = detail::decode<E>(in);
    return make_remote<E>(std::move(error), std::move(facts), is_exact);
  } else {
    in.nil();
    if constexpr (std::constructible_from<E, std::string>) {
      E error(facts.message);
      return make_remote<E>(std::move(error), std::move(facts), is_exact);
    } else {
      E error(facts.message.c_str());
      return make_remote<E>(std::move(error), std::move(facts), is_exact);
    }
  }
}

void register_exception(ExceptionType& type) noexcept;

/// Where something was thrown.
struct Thrower {
  std::int64_t pid = 0;
  std::string process_name = {};
  std::string stack = {};
};
/// Writes what decode_exception() reads.
void encode_exception(Encoder& out, const std::exception_ptr& error, const Thrower& where);
/// Errors: DecodeError.
[[nodiscard]] std::exception_ptr decode_exception(Decoder& in);

/// "type: what", and the same for what is nested in it.
[[nodiscard]] std::string describe_exception(const std::exception_ptr& error, const char* between);

}  // namespace detail

/// Lets exceptions of type E arrive as E. One object with static storage in each program that throws or catches it, on both
/// sides of a conversation:
///
///     class NotEnough : public std::runtime_error { … };
///     const brood::RegisterException<NotEnough> kNotEnough;
///
/// E derives from std::exception and is not final, and either travels whole (a brood::Codec or a serialize member) or can be
/// made from its text.
template <class E>
class RegisterException {
  static_assert(std::derived_from<E, std::exception>, "brood: a registered exception derives from std::exception");
  static_assert(!std::is_final_v<E>,
                "brood: a registered exception is not final: what is thrown again derives from it");
  static_assert(detail::kExceptionTravels<E> || detail::kExceptionHasText<E>,
                "brood: a registered exception is serializable (brood/serialize.hpp) or can be made from its text");

 public:
  RegisterException() noexcept { detail::register_exception(entry); }
  RegisterException(const RegisterException&) = delete;
  RegisterException& operator=(const RegisterException&) = delete;
  ~RegisterException() = default;

 private:
  static inline detail::ExceptionType entry =
      detail::exception_type<E>(&detail::encode_exception_fields<E>, &detail::make_exception<E>);
};

}  // namespace brood::inline v1
