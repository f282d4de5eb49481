// Hostile bytes against what reads sockets: the handshake of either side, the frames of messages, and addresses as text.
// The first byte of the input picks which, and how the rest is cut into pieces.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "brood/address.hpp"
#include "brood/error.hpp"
#include "fuzz/replay.hpp"
#include "net/frame.hpp"
#include "net/greeting.hpp"

namespace {

namespace net = brood::net;

[[noreturn]] void fault(const char* what) {
  std::fprintf(stderr, "net_fuzz: %s\n", what);
  std::abort();
}

/// A stream that holds the input, gives it away in pieces, and forgets what it is told.
class Scripted final : public net::Stream {
 public:
  Scripted(std::span<const std::byte> bytes, std::size_t piece)
      : Stream(brood::base::UniqueFd()), bytes_(bytes), piece_(piece) {}
  net::Io write(std::span<const iovec> pieces, std::span<const int>) override {
    std::size_t size = 0;
    for (const iovec& each : pieces) size += each.iov_len;
    said_ += size;
    if (said_ > 4096) fault("a long answer to a short word");
    return {.bytes = size};
  }
  net::Io read(std::span<const iovec> places, net::Luggage&) override {
    if (bytes_.empty()) return {.is = net::Io::Is::end};
    std::size_t left = std::min(piece_, bytes_.size());
    net::Io io;
    for (const iovec& place : places) {
      const std::size_t size = std::min(left, place.iov_len);
      if (size != 0) std::memcpy(place.iov_base, bytes_.data(), size);
      bytes_ = bytes_.subspan(size);
      left -= size;
      io.bytes += size;
    }
    if (io.bytes == 0) fault("it wants nothing");
    return io;
  }
  net::Io look() override { return {}; }
  bool carries_descriptors() const noexcept override { return false; }
  bool is_tls() const noexcept override { return false; }

 private:
  std::span<const std::byte> bytes_;
  std::size_t piece_;
  std::size_t said_ = 0;
};

void greet(std::span<const std::byte> bytes, std::size_t piece, net::Role role, bool key) {
  Scripted stream(bytes, piece);
  net::Terms terms;
  if (key) terms.key = "key";
  terms.messages = {{0x1122334455667788, "int"}, 1000};
  try {
    net::Greeting greeting(stream, terms, role, "fuzz");
    if (greeting.step().is != net::Io::Is::done) fault("it waits for what is there");
    if (key) fault("somebody without the key came in");
  } catch (const brood::DecodeError&) {
  } catch (const brood::AuthenticationError&) {
  } catch (const brood::TypeMismatch&) {
  } catch (const brood::EndOfFile&) {}
}

void read_messages(std::span<const std::byte> bytes, std::size_t piece, bool passengers) {
  Scripted stream(bytes, piece);
  net::Incoming in({.max_message = 1 << 20, .passengers = passengers});
  std::size_t received = 0;
  try {
    for (;;) {
      const net::Io io = stream.read(in.places(), in.luggage());
      if (io.is == net::Io::Is::end) return;
      in.came(io.bytes);
      if (in.is_note()) {
        if (in.note().size() > net::kLongestNote) fault("a long note");
        in.note_read();
      }
      if (!in.is_whole()) continue;
      brood::detail::Received message;
      in.take(message);
      received += message.bytes().size();
      if (received > bytes.size()) fault("more came out than went in");
    }
  } catch (const brood::DecodeError&) {
  } catch (const brood::MessageTooLong&) {}
}

void read_address(std::span<const std::byte> bytes) {
  const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  try {
    const brood::Address address(text);
    const std::string printed = address.str();
    if (!(brood::Address(printed) == address)) fault("another address comes back");
    if (std::ranges::any_of(printed, [](char c) { return static_cast<unsigned char>(c) <= 0x20; }))
      fault("printed text with blanks");
  } catch (const brood::UsageError&) {}
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto bytes = std::as_bytes(std::span(data, size)).subspan(1);
  const std::size_t piece = (data[0] & 8) != 0 ? 1 : (data[0] & 16) != 0 ? 7 : 1 << 20;
  switch (data[0] % 8) {
    case 0: greet(bytes, piece, net::Role::listener, false); break;
    case 1: greet(bytes, piece, net::Role::listener, true); break;
    case 2: greet(bytes, piece, net::Role::client, true); break;
    case 3:
    case 4: read_messages(bytes, piece, false); break;
    case 5: read_messages(bytes, piece, true); break;
    default: read_address(bytes); break;
  }
  return 0;
}
