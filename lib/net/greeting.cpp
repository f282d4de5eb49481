#include "net/greeting.hpp"

#include <algorithm>
#include <cstring>

#include "brood/error.hpp"
#include "net/challenge.hpp"

namespace brood::inline v1::net {
namespace {

// The first byte of a note.
constexpr std::uint8_t kHello = 1;
constexpr std::uint8_t kChallenge = 2;
constexpr std::uint8_t kAnswer = 3;
constexpr std::uint8_t kWelcome = 4;
constexpr std::uint8_t kType = 5;
constexpr std::uint8_t kRefusal = 6;

// Why.
constexpr char kKeyNeeded = 'n';
constexpr char kNoKeyHere = 'u';
constexpr char kWrongKey = 'w';
constexpr char kOtherVersion = 'v';

constexpr std::string_view kMagic{"brood\0", 6};
constexpr std::size_t kHelloBytes = kMagic.size() + 3;
constexpr std::size_t kLongestTypeName = 200;
constexpr std::size_t kTypeNumbers = 16;

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::vector<std::byte> frame_of(std::uint8_t kind, std::string_view body) {
  const auto header = FrameHeader{static_cast<std::uint32_t>(body.size() + 1), FrameHeader::kNote}.packed();
  std::vector<std::byte> out(header.begin(), header.end());
  out.push_back(static_cast<std::byte>(kind));
  const auto bytes = std::as_bytes(std::span(body));
  out.insert(out.end(), bytes.begin(), bytes.end());
  return out;
}

/// Of a type's name that somebody else sent: nothing that a terminal would obey.
std::string printable(std::string_view name) {
  std::string out(name);
  std::ranges::replace_if(
      out, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  return out;
}

[[noreturn]] void throw_refusal(std::string_view body, const std::string& label) {
  switch (body.empty() ? '?' : body.front()) {
    case kKeyNeeded: throw AuthenticationError(label + ": the listener asks for a key, this end has none (authkey)");
    case kNoKeyHere: throw AuthenticationError(label + ": this end has a key, the listener has none (authkey)");
    case kWrongKey: throw AuthenticationError(label + ": the other end says that this one does not have the key");
    case kOtherVersion:
      throw TypeMismatch(label + ": the other end does not speak version " + std::to_string(kWireVersion) +
                         " of the protocol; use the same release of brood on both sides");
    default: throw DecodeError(label + ": the other end refused the connection and did not say why");
  }
}

}  // namespace

PeerTerms PeerTerms::read(std::span<const std::byte> note, const Messages& ours, const std::string& label) {
  const std::string_view body = text_of(note.subspan(std::min<std::size_t>(1, note.size())));
  if (!note.empty() && note[0] == std::byte{kRefusal}) throw_refusal(body, label);
  if (note.empty() || note[0] != std::byte{kType} || body.size() < kTypeNumbers ||
      body.size() > kTypeNumbers + kLongestTypeName) {
    throw DecodeError(label + ": the other end does not say what messages it speaks");
  }
  const auto* const numbers = reinterpret_cast<const std::byte*>(body.data());
  const auto fingerprint = get_number<std::uint64_t>(numbers);
  if (fingerprint != ours.type.fingerprint) {
    const std::string name = printable(body.substr(kTypeNumbers));
    throw TypeMismatch(label + ": this end has messages of type '" + ours.type.name() + "', the other end of type '" +
                       name + "'" +
                       (name == ours.type.name() ? " with another structure; build both from the same source"
                                                 : "; both ends must be made for the same type"));
  }
  return {get_number<std::uint64_t>(numbers + 8)};
}

Greeting::Greeting(Stream& stream, const Terms& terms, Role role, std::string label)
    : stream_(stream),
      terms_(terms),
      role_(role),
      label_(std::move(label)),
      in_({.max_message = 0, .passengers = false}) {}

std::vector<std::byte> Greeting::type_note() const {
  std::string body(kTypeNumbers, '\0');
  auto* const numbers = reinterpret_cast<std::byte*>(body.data());
  put_number(numbers, terms_.messages.type.fingerprint);
  put_number(numbers + 8, terms_.messages.max_message);
  body += std::string_view(terms_.messages.type.name()).substr(0, kLongestTypeName);
  return frame_of(kType, body);
}

std::vector<std::byte> Greeting::late_note() const {
  return role_ == Role::listener && answers_late() ? type_note() : std::vector<std::byte>();
}

void Greeting::say(std::uint8_t kind, std::string_view body) { say_raw(frame_of(kind, body)); }

void Greeting::begin() {
  if (role_ == Role::listener) {
    expects_ = Expects::hello;
    return;
  }
  std::string hello(kMagic);
  hello += static_cast<char>(kWireVersion & 0xff);
  hello += static_cast<char>(kWireVersion >> 8);
  hello += terms_.key ? '\1' : '\0';
  say(kHello, hello);
  if (terms_.key) {
    expects_ = Expects::challenge;
  } else {
    say_type();
    expects_ = answers_late() ? Expects::nothing : Expects::type;
  }
}

Io Greeting::flush() {
  while (!out_.empty()) {
    const iovec all{out_.data(), out_.size()};
    Io io = stream_.write({&all, 1}, {});
    if (io.is != Io::Is::done) return io;
    out_.erase(out_.begin(), out_.begin() + static_cast<std::ptrdiff_t>(io.bytes));
  }
  return stream_.flush();
}

void Greeting::refuse(char why) noexcept {
  try {
    say(kRefusal, std::string_view(&why, 1));
    (void)flush();
  } catch (const OsError&) {
    return;  // it will see the end of the connection instead
  }
}

Io Greeting::step() {
  if (expects_ == Expects::prepare) {
    try {
      Io io = stream_.prepare();
      if (io.is != Io::Is::done) return io;
    } catch (const AuthenticationError& error) {
      throw AuthenticationError(label_ + ": " + error.what());
    }
    begin();
  }
  for (;;) {
    Io out = flush();
    if (out.is == Io::Is::wait) return out;
    // A client that has left cannot hear us, but what it wrote before is there.
    const bool is_heard = out.is == Io::Is::done;
    if (expects_ == Expects::nothing) {
      if (!is_heard && role_ == Role::client) throw EndOfFile(label_ + ": the other end closed the connection at once");
      return {};
    }
    if (in_.is_note()) {
      hear(in_.note());
      in_.note_read();
      continue;
    }
    Io io = stream_.read(in_.places(), in_.luggage());
    if (!in_.luggage().files.empty()) throw DecodeError(label_ + ": descriptors came with the handshake");
    switch (io.is) {
      case Io::Is::wait: return io;
      case Io::Is::end:
      case Io::Is::reset: throw EndOfFile(label_ + ": the other end closed the connection during the handshake");
      case Io::Is::failed: throw AuthenticationError(label_ + ": the other end broke off the TLS handshake: " + io.why);
      case Io::Is::done: break;
    }
    try {
      in_.came(io.bytes);
    } catch (const DecodeError& error) {
      throw DecodeError(label_ + ": no handshake of this library: " + error.what());
    } catch (const MessageTooLong&) {
      throw DecodeError(label_ + ": a message came before the handshake");
    }
    if (in_.is_whole()) throw DecodeError(label_ + ": a message came before the handshake");
  }
}

void Greeting::hear(std::span<const std::byte> note) {
  const std::string_view text = text_of(note);
  const std::string_view body = text.substr(std::min<std::size_t>(1, text.size()));
  const int kind = text.empty() ? 0 : static_cast<unsigned char>(text.front());
  if (kind == kRefusal && expects_ != Expects::hello) throw_refusal(body, label_);
  if (kind == kHello && expects_ == Expects::hello) return hear_hello(body);
  if (kind == kChallenge && expects_ == Expects::challenge) return hear_challenge(body);
  if (kind == kAnswer && expects_ == Expects::answer) return hear_answer(body);
  if (kind == kWelcome && expects_ == Expects::welcome) return hear_welcome();
  if (kind == kType && expects_ == Expects::type) return hear_type(note);
  if (kind == kType && expects_ == Expects::challenge) {
    // A listener without key would have refused us.
    throw AuthenticationError(label_ + ": the other end does not show that it has the key");
  }
  throw DecodeError(label_ + ": no handshake of this library (note " + std::to_string(kind) + " out of turn)");
}

void Greeting::hear_hello(std::string_view body) {
  if (body.size() != kHelloBytes || !body.starts_with(kMagic))
    throw DecodeError(label_ + ": the other end does not speak this library's protocol");
  const auto version = get_number<std::uint16_t>(reinterpret_cast<const std::byte*>(body.data()) + kMagic.size());
  const bool has_key = body.back() != '\0';
  if (version != kWireVersion) {
    refuse(kOtherVersion);
    throw TypeMismatch(label_ + ": the other end speaks version " + std::to_string(version) +
                       " of the protocol, this one version " + std::to_string(kWireVersion) +
                       "; use the same release of brood on both sides");
  }
  if (has_key != terms_.key.has_value()) {
    refuse(has_key ? kNoKeyHere : kKeyNeeded);
    throw AuthenticationError(label_ + (has_key ? ": the client has a key, this listener has none"
                                                : ": the client has no key, this listener asks for one"));
  }
  if (terms_.key) challenge();
  else expects_ = Expects::type;
}

void Greeting::challenge() {
  challenge_ = make_challenge(terms_.digest);
  say(kChallenge, challenge_);
  expects_ = Expects::answer;
}

/// The listener asks first; so it answers only who has shown the key already.
void Greeting::hear_challenge(std::string_view body) {
  const Asked asked = role_ == Role::listener ? Asked::by_client : Asked::by_listener;
  if (body == challenge_) throw AuthenticationError(label_ + ": the other end returns our own challenge");
  say(kAnswer, answer_to(body, *terms_.key, asked, stream_.binding()));
  expects_ = Expects::welcome;
}

void Greeting::hear_answer(std::string_view body) {
  const Asked asked = role_ == Role::listener ? Asked::by_listener : Asked::by_client;
  if (!is_answer(body, challenge_, *terms_.key, asked, stream_.binding())) {
    refuse(kWrongKey);
    throw AuthenticationError(label_ + ": the other end does not have the key");
  }
  say(kWelcome, {});
  if (role_ == Role::listener) {
    expects_ = Expects::challenge;
  } else {
    say_type();
    expects_ = Expects::type;
  }
}

void Greeting::hear_welcome() {
  if (role_ == Role::client) challenge();
  else expects_ = Expects::type;
}

void Greeting::hear_type(std::span<const std::byte> note) {
  try {
    peer_ = PeerTerms::read(note, terms_.messages, label_);
  } catch (const TypeMismatch&) {
    // Our own type is the refusal: the other end compares it, and says the same to its caller.
    if (role_ == Role::listener) {
      say_type();
      try {
        (void)flush();
      } catch (const OsError&) {
        out_.clear();  // it will see the end of the connection instead
      }
    }
    throw;
  }
  if (role_ == Role::listener && !answers_late()) say_type();
  expects_ = Expects::nothing;
}

}  // namespace brood::inline v1::net
