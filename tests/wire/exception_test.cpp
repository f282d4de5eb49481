// Exceptions that cross: type, text and whatever else they say, there and back.
#include <gtest/gtest.h>

#include <any>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <typeinfo>
#include <variant>
#include <vector>

#include "brood/error.hpp"
#include "brood/remote_error.hpp"
#include "wire/round_trip.hpp"

namespace exception_test {

/// By its text.
class NotEnough : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
/// Whole: more than a text.
class Refused : public std::logic_error {
 public:
  Refused() : std::logic_error("refused") {}
  Refused(int code, std::string who) : std::logic_error("refused"), code_(code), who_(std::move(who)) {}
  [[nodiscard]] int code() const { return code_; }
  [[nodiscard]] const std::string& who() const { return who_; }
  template <class Archive>
  void serialize(Archive& ar) {
    ar(code_, who_);
  }

 private:
  int code_ = 0;
  std::string who_;
};
class Level1 : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
class Level2 : public Level1 {
 public:
  using Level1::Level1;
};
/// A text given as const char* only, and no standard base with one.
class Terse : public std::exception {
 public:
  explicit Terse(const char* text) : text_(text) {}
  [[nodiscard]] const char* what() const noexcept override { return text_.c_str(); }

 private:
  std::string text_;
};

// Bases registered last: what is found must not depend on it.
const brood::RegisterException<NotEnough> kNotEnough;
const brood::RegisterException<Refused> kRefused;
const brood::RegisterException<Level2> kLevel2;
const brood::RegisterException<Level1> kLevel1;
const brood::RegisterException<Terse> kTerse;

// Unknown to the library.
class Deepest : public Level2 {
 public:
  using Level2::Level2;
};
class Unregistered : public std::out_of_range {
 public:
  using std::out_of_range::out_of_range;
};
class OfOurs : public brood::QueueClosed {
 public:
  using QueueClosed::QueueClosed;
};
class Bare : public std::exception {
 public:
  [[nodiscard]] const char* what() const noexcept override { return "bare words"; }
};
struct NoExceptionAtAll {};

}  // namespace exception_test

namespace {

using namespace exception_test;
using brood::RemoteError;
using brood::detail::Decoder;
using brood::detail::Encoder;

const brood::detail::Thrower kThere{.pid = 4711, .process_name = "Remote-1", .stack = "  #0 work()+0x4\n"};

std::vector<std::byte> bytes_of(const std::exception_ptr& error, const brood::detail::Thrower& where = kThere) {
  Encoder out;
  brood::detail::encode_exception(out, error, where);
  return out.take_bytes();
}
std::exception_ptr from_bytes(std::span<const std::byte> bytes) {
  Decoder in(bytes);
  std::exception_ptr out = brood::detail::decode_exception(in);
  in.finish();
  return out;
}
std::exception_ptr cross(const std::exception_ptr& error, const brood::detail::Thrower& where = kThere) {
  return from_bytes(bytes_of(error, where));
}
template <class E>
std::exception_ptr cross(E error) {
  return cross(std::make_exception_ptr(std::move(error)));
}

/// What arrived, as an E. Fails the test if it is none, or no RemoteError, brood::Error or std::exception.
template <class E>
struct Arrived {
  std::optional<E> error;
  std::optional<RemoteError> remote;
  std::string what;

  explicit Arrived(const std::exception_ptr& came) {
    try {
      std::rethrow_exception(came);
    } catch (const E& known) {
      error.emplace(known);
      what = known.what();
    } catch (...) {
      ADD_FAILURE() << "did not arrive as " << brood::detail::type_name<E>();
    }
    try {
      std::rethrow_exception(came);
    } catch (const RemoteError& known) {
      remote.emplace(known);
    }
    EXPECT_THROW(std::rethrow_exception(came), brood::Error);
    EXPECT_THROW(std::rethrow_exception(came), std::exception);
    EXPECT_EQ(remote->pid(), 4711);
    EXPECT_EQ(remote->process_name(), "Remote-1");
    EXPECT_EQ(remote->stack(), "  #0 work()+0x4\n");
  }
};

/// Arrives as exactly what it was, so its text needs no name of the type.
template <class E>
Arrived<E> expect_same(E error, const std::string& name = brood::detail::type_name<E>()) {
  SCOPED_TRACE(name);
  const std::string text = error.what();
  Arrived<E> arrived(cross(std::move(error)));
  EXPECT_EQ(arrived.what, text);
  EXPECT_EQ(arrived.remote->message(), text);
  EXPECT_EQ(arrived.remote->type_name(), name);
  EXPECT_TRUE(arrived.remote->nested().empty());
  return arrived;
}

template <class... E>
void expect_same_of_texts() {
  (expect_same(E("text of it: \xff\n")), ...);
  (expect_same(E(std::string(100'000, 'x'))), ...);
  (expect_same(E("")), ...);
}
template <class... E>
void expect_same_of_plain() {
  (expect_same(E()), ...);
}

TEST(RemoteException, StandardTypesArriveAsThemselves) {
  expect_same_of_texts<std::invalid_argument, std::domain_error, std::length_error, std::out_of_range, std::logic_error,
                       std::range_error, std::overflow_error, std::underflow_error, std::runtime_error>();
  expect_same_of_plain<std::bad_alloc, std::bad_array_new_length, std::bad_cast, std::bad_any_cast, std::bad_typeid,
                       std::bad_optional_access, std::bad_variant_access, std::bad_function_call, std::bad_weak_ptr,
                       std::bad_exception>();
  EXPECT_EQ(expect_same(std::out_of_range("x"), "std::out_of_range").what, "x");
}

TEST(RemoteException, TypesOfBroodArriveAsThemselves) {
  using namespace brood;
  expect_same_of_texts<UsageError, NotOwner, ReleasedTooOften, NotStarted, WrongDirection, RuntimeError, HandleError,
                       TypeMismatch, DecodeError, AlreadyExists, BrokenBarrier, QueueClosed, ConnectionClosed,
                       ListenerClosed, TimeoutError, HandshakeTimeout, AuthenticationError, EndOfFile, ConnectionReset,
                       MessageTooLong, Empty, Full, StartError, CancelledError, PeerGone, BrokenPipe, BrokenMessage,
                       ManagerDied>();

  expect_same(TimeoutError("x"), "brood::TimeoutError");
}

TEST(RemoteException, CodesArrive) {
  using brood::NoSpace;
  const auto system = expect_same(std::system_error(ENOENT, std::system_category(), "open x"));
  EXPECT_EQ(system.error->code(), std::error_code(ENOENT, std::system_category()));
  EXPECT_EQ(expect_same(std::system_error(EPERM, std::generic_category(), "x")).error->code(),
            std::error_code(EPERM, std::generic_category()));
  EXPECT_EQ(expect_same(brood::OsError(EIO, "reading")).error->code().value(), EIO);
  EXPECT_EQ(expect_same(NoSpace("full")).error->code().value(), ENOSPC);
  EXPECT_EQ(expect_same(NoSpace("never fits", EMSGSIZE)).error->code().value(), EMSGSIZE);
  EXPECT_EQ(expect_same(brood::PermissionDenied("mine")).error->code().value(), EACCES);
  EXPECT_EQ(expect_same(brood::AddressInUse("taken")).error->code().value(), EADDRINUSE);
  EXPECT_EQ(expect_same(brood::ConnectionRefused("nobody", ENOENT)).error->code().value(), ENOENT);
  // The closest that is known.
  const Arrived<std::system_error> file(
      cross(std::filesystem::filesystem_error("copy", std::make_error_code(std::errc::is_a_directory))));
  EXPECT_EQ(file.error->code().value(), EISDIR);
  EXPECT_EQ(file.remote->type_name().substr(0, 17), "std::filesystem::");
  const Arrived<std::system_error> stream(cross(std::ios_base::failure("stream")));
  EXPECT_NE(stream.what.find("stream"), std::string::npos);
}

TEST(RemoteException, WhoDiedArrives) {
  EXPECT_EQ(expect_same(brood::OwnerDied("lock", 77)).error->dead_pid(), 77);
  EXPECT_EQ(expect_same(brood::ContainerDamaged("map", 77)).error->dead_pid(), 77);
  const auto gone = expect_same(brood::PeerGone("host", 78, -9));
  EXPECT_EQ(gone.error->pid(), 78);
  EXPECT_EQ(gone.error->exitcode(), -9);
  const auto pipe = expect_same(brood::BrokenPipe("pipe", 79, 3));
  EXPECT_EQ(pipe.error->exitcode(), 3);
  EXPECT_FALSE(expect_same(brood::BrokenMessage("message", 80)).error->exitcode());
}

TEST(RemoteException, TheMessageOfABufferTooShortArrives) {
  const std::vector<std::byte> message{std::byte{1}, std::byte{0}, std::byte{255}};
  const auto arrived = expect_same(brood::BufferTooShort("too long", message));
  const auto got = arrived.error->message();
  EXPECT_EQ(std::vector<std::byte>(got.begin(), got.end()), message);
}

TEST(RemoteException, RegisteredTypesArriveAsThemselves) {
  expect_same_of_texts<NotEnough, Level1, Level2>();
  expect_same(Terse("curt"));
  const auto refused = expect_same(Refused(42, "ada"));
  EXPECT_EQ(refused.error->code(), 42);
  EXPECT_EQ(refused.error->who(), "ada");
  EXPECT_THROW(std::rethrow_exception(cross(Refused(1, "x"))), std::logic_error);
}

TEST(RemoteException, UnknownTypesArriveAsTheClosestThatIsKnown) {
  const Arrived<std::out_of_range> known(cross(Unregistered("row 7")));
  EXPECT_EQ(known.what, "exception_test::Unregistered: row 7");
  EXPECT_EQ(known.remote->type_name(), "exception_test::Unregistered");
  EXPECT_EQ(known.remote->message(), "row 7");
  const Arrived<Level2> deepest(cross(Deepest("below")));
  EXPECT_EQ(deepest.what, "exception_test::Deepest: below");
  EXPECT_EQ(Arrived<brood::QueueClosed>(cross(OfOurs("shut"))).what, "exception_test::OfOurs: shut");
  EXPECT_EQ(Arrived<std::runtime_error>(cross(Bare())).what, "exception_test::Bare: bare words");
  EXPECT_EQ(Arrived<std::runtime_error>(cross(std::exception())).remote->type_name(), "std::exception");
}

TEST(RemoteException, WhatIsNoExceptionArrivesAsARuntimeError) {
  EXPECT_EQ(Arrived<std::runtime_error>(cross(7)).what, "int");
  EXPECT_EQ(Arrived<std::runtime_error>(cross(7)).remote->message(), "");
  EXPECT_EQ(Arrived<std::runtime_error>(cross(std::string("words"))).what, "std::string: words");
  EXPECT_EQ(Arrived<std::runtime_error>(cross(static_cast<const char*>("words"))).what, "const char*: words");
  EXPECT_EQ(Arrived<std::runtime_error>(cross(static_cast<const char*>(nullptr))).what, "const char*: (null)");
  EXPECT_EQ(Arrived<std::runtime_error>(cross(NoExceptionAtAll())).what, "exception_test::NoExceptionAtAll");
}

/// A chain of `depth`: "0" holds "1" holds …
std::exception_ptr chain(int depth, int from = 0) {
  try {
    if (from + 1 == depth) throw std::out_of_range(std::to_string(from));
    try {
      std::rethrow_exception(chain(depth, from + 1));
    } catch (...) {
      std::throw_with_nested(std::logic_error(std::to_string(from)));
    }
  } catch (...) {
    return std::current_exception();
  }
}

TEST(RemoteException, NestedOnesAreTold) {
  const Arrived<std::logic_error> three(cross(chain(3)));
  ASSERT_EQ(three.remote->nested().size(), 2);
  EXPECT_EQ(three.remote->nested()[0].message, "1");
  EXPECT_EQ(three.remote->nested()[1].type_name, "std::out_of_range");
  EXPECT_EQ(three.remote->nested()[1].message, "2");
  EXPECT_EQ(three.remote->type_name(), "std::logic_error");
  EXPECT_EQ(three.what, "0");
  // One that holds itself a hundred times is cut, not refused.
  EXPECT_EQ(Arrived<std::logic_error>(cross(chain(100))).remote->nested().size(), 64);
}

TEST(RemoteException, WhatWasRemoteAlreadyKeepsWhereItCameFrom) {
  const std::exception_ptr once = cross(Unregistered("row 7"));
  const Arrived<std::out_of_range> twice(cross(once, {.pid = 1, .process_name = "between", .stack = "other"}));
  EXPECT_EQ(twice.what, "exception_test::Unregistered: row 7");
  EXPECT_EQ(twice.remote->type_name(), "exception_test::Unregistered");
  EXPECT_EQ(twice.remote->message(), "row 7");
  const Arrived<Refused> refused(cross(cross(Refused(42, "ada")), {.pid = 1}));
  EXPECT_EQ(refused.error->code(), 42);
  EXPECT_EQ(refused.what, "refused");
  const Arrived<std::logic_error> nested(cross(cross(chain(3)), {.pid = 1}));
  ASSERT_EQ(nested.remote->nested().size(), 2);
  EXPECT_EQ(nested.remote->nested()[1].message, "2");
}

TEST(RemoteException, ANestedOneThatWasRemoteBringsItsOwn) {
  std::exception_ptr outer;
  try {
    try {
      std::rethrow_exception(cross(chain(2)));
    } catch (...) {
      std::throw_with_nested(NotEnough("outermost"));
    }
  } catch (...) {
    outer = std::current_exception();
  }
  const Arrived<NotEnough> arrived(cross(outer));
  ASSERT_EQ(arrived.remote->nested().size(), 2);
  EXPECT_EQ(arrived.what, "outermost");
  EXPECT_EQ(arrived.remote->nested()[0].type_name, "std::logic_error");
  EXPECT_EQ(arrived.remote->nested()[0].message, "0");
  EXPECT_EQ(arrived.remote->nested()[1].message, "1");
}

TEST(RemoteException, TheReportTellsAll) {
  const Arrived<std::logic_error> arrived(cross(chain(2)));
  const std::string report = arrived.remote->report();
  EXPECT_NE(
      report.find("0\n  nested: std::out_of_range: 1\n  thrown in the process Remote-1 (pid 4711)\n  #0 work()+0x4\n"),
      std::string::npos)
      << report;
  EXPECT_NE(
      RemoteError({.type_name = "T", .message = "m", .pid = 3}).report().find("T: m\n  thrown in the process (pid 3)"),
      std::string::npos);
}

TEST(RemoteException, CopiesShareWhatTheySay) {
  try {
    std::rethrow_exception(cross(Refused(42, "ada")));
  } catch (const Refused& error) {
    const auto* remote = dynamic_cast<const RemoteError*>(&error);
    ASSERT_NE(remote, nullptr);
    const RemoteError copy = *remote;  // NOLINT(performance-unnecessary-copy-initialization): it is what is tested
    EXPECT_EQ(&copy.stack(), &remote->stack());
  }
}

TEST(RemoteException, ATypeThatThisProgramDoesNotKnowIsARuntimeError) {
  // As another program would say it.
  Encoder out;
  out.array_header(8);
  out.str("theirs::Special");
  out.str("theirs::Special");
  out.str("text");
  out.sint(4711);
  out.str("Remote-1");
  out.str("  #0 work()+0x4\n");
  out.array_header(0);
  out.array_header(2);  // fields of which nothing is known here
  out.uint(1);
  out.str("two");
  EXPECT_EQ(Arrived<std::runtime_error>(from_bytes(out.bytes())).what, "theirs::Special: text");
}

TEST(RemoteException, BytesThatLieAreDecodeErrors) {
  const std::vector<std::exception_ptr> some = {std::make_exception_ptr(std::out_of_range("text")),
                                                std::make_exception_ptr(Refused(300, "ada")),
                                                std::make_exception_ptr(brood::BufferTooShort("b", {std::byte{1}})),
                                                std::make_exception_ptr(brood::PeerGone("p", 3, -9)),
                                                std::make_exception_ptr(brood::NoSpace("s")),
                                                std::make_exception_ptr(7),
                                                std::make_exception_ptr(brood::OwnerDied("o", 5)),
                                                chain(4)};
  for (const auto& error : some) {
    const std::vector<std::byte> whole = bytes_of(error);
    for (std::size_t size = 0; size < whole.size(); ++size)
      EXPECT_THROW((void)from_bytes(std::span(whole).first(size)), brood::DecodeError) << size;
    // Each byte changed in many ways: an exception of some kind, or a DecodeError; nothing else, and no crash.
    for (std::size_t at = 0; at < whole.size(); ++at) {
      for (const int value : {0x00, 0x7f, 0x80, 0x9f, 0xa0, 0xc0, 0xc1, 0xc6, 0xcf, 0xd3, 0xdb, 0xdd, 0xdf, 0xff}) {
        std::vector<std::byte> bytes = whole;
        bytes[at] = static_cast<std::byte>(value);
        try {
          EXPECT_TRUE(from_bytes(bytes));
        } catch (const brood::DecodeError&) {
          continue;
        }
      }
    }
  }
}

TEST(RemoteException, DescriptionsNameTheWholeChain) {
  EXPECT_EQ(brood::detail::describe_exception(cross(Unregistered("row")), " <- "), "exception_test::Unregistered: row");
  EXPECT_EQ(brood::detail::describe_exception(std::make_exception_ptr(7), " <- "), "int");
  const std::string text = brood::detail::describe_exception(chain(2), " <- ");
  EXPECT_NE(text.find("0 <- std::out_of_range: 1"), std::string::npos) << text;
}

}  // namespace
