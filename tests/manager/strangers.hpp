// Clients of a manager that do what they like, behind a handshake that is as it should be.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "brood/detail/socket_core.hpp"
#include "brood/remote_error.hpp"
#include "brood/serialize.hpp"
#include "manager/server.hpp"

namespace manager_test {

/// Says what it wants over one conversation, with nothing of the library in between.
class Stranger {
 public:
  /// Through the door, and no word more.
  Stranger(const brood::Address& address, const std::optional<std::string>& key)
      : connection_(brood::detail::connect(address, {.authkey = key},
                                           brood::detail::kPayloadType<brood::manager::ManagerMessage>)) {}
  /// The whole greeting. `by_pipe`: as a client of this domain, through shared memory; else as one from elsewhere.
  Stranger(const brood::Address& address, const std::optional<std::string>& key, bool by_pipe)
      : Stranger(address, key) {
    brood::Encoder hello;
    hello.array_header(5);
    hello.uint(brood::manager::kProtocol);
    hello.str("a stranger");
    hello.sint(::getpid());
    hello.str(by_pipe ? brood::manager::domain_key() : "elsewhere");
    hello.uint(std::uint64_t{1} << 30);
    say(hello);
    brood::detail::Received answer;
    (void)connection_.receive(answer, brood::Deadline::never());
    if (!by_pipe) return;
    brood::Decoder in(answer.bytes());
    (void)in.array_header();
    for (int i = 0; i < 3; ++i) in.skip();
    auto pipe = brood::detail::ConnectionCore::open(brood::Handle(in.str()),
                                                    brood::detail::kPayloadType<brood::manager::ManagerMessage>);
    brood::Encoder opened;
    opened.boolean(true);
    say(opened);
    connection_ = std::move(pipe);
  }

  void say(const brood::Encoder& message) {
    (void)connection_.send(message.bytes(), message.handles(), brood::Deadline::never());
  }
  void say(std::string_view bytes) {
    (void)connection_.send(std::as_bytes(std::span(bytes)), {}, brood::Deadline::never());
  }
  /// False if it could not be sent in that time.
  bool try_say(const brood::Encoder& message, std::chrono::milliseconds timeout) {
    return connection_.send(message.bytes(), message.handles(), brood::Deadline::after(timeout));
  }
  /// Reads until the end; true if it came without anything before it.
  bool sees_the_end() {
    brood::detail::Received message;
    try {
      (void)connection_.receive(message, brood::Deadline::never());
    } catch (const brood::EndOfFile&) {
      return true;
    }
    return false;
  }
  /// The next answer. Errors: what it says was thrown.
  void hear_answer() {
    brood::detail::Received message;
    (void)connection_.receive(message, brood::Deadline::never());
    brood::Decoder in(message.bytes());
    (void)in.array_header();
    const auto word = in.uint();
    (void)in.uint();
    if (word == 3) std::rethrow_exception(brood::detail::decode_exception(in));
  }

  /// [1, id, object, 0, method, arguments]
  template <class Arguments>
  static brood::Encoder request(std::uint64_t id, std::uint64_t object, std::string_view method, Arguments arguments) {
    brood::Encoder out;
    out.array_header(6);
    out.uint(1);
    out.uint(id);
    out.uint(object);
    out.uint(0);
    out.str(method);
    arguments(out);
    return out;
  }

 private:
  brood::detail::ConnectionCore connection_;
};

inline void nothing(brood::Encoder& out) { out.array_header(0); }

}  // namespace manager_test
