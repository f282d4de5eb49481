// Greeting: what two ends say to each other before the first message. README.md has the picture.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "brood/detail/connection_core.hpp"
#include "brood/listener.hpp"
#include "net/frame.hpp"
#include "net/stream.hpp"

namespace brood::inline v1::net {

enum class Role : std::uint8_t { listener, client };

/// What one end wants of the other.
struct Messages {
  detail::ConnectionCore::Type type;
  std::uint64_t max_message = 0;
};
struct Terms {
  std::optional<std::string> key;
  Digest digest = Digest::sha256;
  Messages messages;
};

/// The other end's note about its messages. Errors: TypeMismatch, AuthenticationError (a refusal), DecodeError.
struct PeerTerms {
  std::uint64_t max_message = 0;
  [[nodiscard]] static PeerTerms read(std::span<const std::byte> note, const Messages& ours, const std::string& label);
};

/// One end's part, step by step and without sleeping, so that a listener can talk with several clients at once.
class Greeting {
 public:
  /// All of them must live as long as this. `label`: what the connection is called in messages.
  Greeting(Stream& stream, const Terms& terms, Role role, std::string label);

  /// Goes on as far as it can. `done`: it is over. `wait`: poll for the events and come again.
  /// Errors: AuthenticationError, TypeMismatch, DecodeError, EndOfFile (the other end has gone), OsError. If this end
  /// refuses the other, the other has been told.
  [[nodiscard]] Io step();

  /// Nothing for a client without key and TLS: the listener's answer comes with its first message, so that a client may
  /// write and leave before anybody accepts it.
  [[nodiscard]] const std::optional<PeerTerms>& peer() const noexcept { return peer_; }
  /// What such a client's listener has to say in front of its first message; empty otherwise. Not at once: if the client
  /// has left already, saying it would make TCP throw away what the client sent.
  [[nodiscard]] std::vector<std::byte> late_note() const;

 private:
  enum class Expects : std::uint8_t { prepare, hello, challenge, answer, welcome, type, nothing };
  void begin();
  void say(std::uint8_t kind, std::string_view body);
  void say_type() { say_raw(type_note()); }
  void say_raw(const std::vector<std::byte>& frame) { out_.insert(out_.end(), frame.begin(), frame.end()); }
  [[nodiscard]] std::vector<std::byte> type_note() const;
  void hear(std::span<const std::byte> note);
  void hear_hello(std::string_view body);
  void challenge();
  void hear_challenge(std::string_view body);
  void hear_answer(std::string_view body);
  void hear_welcome();
  void hear_type(std::span<const std::byte> note);
  /// Tells the other end why, if it can be told at once.
  void refuse(char why) noexcept;
  [[nodiscard]] Io flush();
  [[nodiscard]] bool answers_late() const noexcept { return !terms_.key && !stream_.is_tls(); }

  Stream& stream_;
  const Terms& terms_;
  const Role role_;
  const std::string label_;
  Expects expects_ = Expects::prepare;
  Incoming in_;
  std::vector<std::byte> out_;
  std::string challenge_;
  std::optional<PeerTerms> peer_;
};

}  // namespace brood::inline v1::net
