#include "process/conversation.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "brood/detail/codec.hpp"
#include "brood/error.hpp"
#include "brood/serialize.hpp"
#include "os/process_identity.hpp"
#include "os/reap.hpp"
#include "os/socket.hpp"
#include "process/light_words.hpp"

namespace brood::inline v1::process {
namespace {

/// Bumped with every change of the conversation. A program whose library was replaced while it ran is told so.
constexpr std::uint32_t kProtocol = 6;
constexpr std::uint32_t kOrderMagic = 0x64726f62;  // "bord"
constexpr char kPassengerMark = 1;                 // a packet needs a byte
constexpr std::size_t kFirstBytes = 4UL * 1024;
constexpr std::size_t kPacketBytes = 64UL * 1024;
static_assert(kSaidFailed == static_cast<std::uint32_t>(Said::failed));

/// In front of an order. What fits goes with it in the first packet, the rest in packets of their own.
struct Head {
  std::uint32_t magic;
  std::uint32_t protocol;
  std::uint64_t size_bytes;
};

std::vector<std::byte> encode_order(const Order& order) {
  Encoder out;
  out.array_header(13);
  out.uint(static_cast<std::uint64_t>(order.kind));
  out.str(order.identity.name);
  out.str(order.identity.path);
  out.boolean(order.identity.daemon);
  out.sint(order.identity.parent_pid);
  out.str(order.identity.parent_name);
  out.bin(std::as_bytes(std::span(order.authkey)));
  detail::encode(out, order.start_method);
  out.str(order.domain);
  detail::encode(out, order.settings);
  out.array_header(order.legacies.size());
  for (const Legacy& legacy : order.legacies) {
    out.array_header(2);
    out.str(legacy.name);
    out.bin(legacy.bytes);
  }
  if (order.kind == Order::Kind::forkserver) detail::encode(out, order.preload);
  else out.nil();
  out.bin(order.call);
  return out.take_bytes();
}

Order decode_order(std::span<const std::byte> bytes) {
  Decoder in(bytes);
  Order order;
  in.expect_array(13, "an order of the process room");
  order.kind = static_cast<Order::Kind>(in.integer<std::uint8_t>());
  order.identity.name = in.str();
  order.identity.path = in.str();
  order.identity.daemon = in.boolean();
  order.identity.parent_pid = in.sint();
  order.identity.parent_name = in.str();
  const auto key = in.bin();
  order.authkey.assign(reinterpret_cast<const char*>(key.data()), key.size());
  order.start_method = detail::decode<std::optional<StartMethod>>(in);
  order.domain = in.str();
  order.settings = detail::decode<std::optional<Settings>>(in);
  for (std::size_t left = in.array_header(); left > 0; --left) {
    in.expect_array(2, "what a parent leaves to its children");
    Legacy& legacy = order.legacies.emplace_back();
    legacy.name = in.str();
    const auto left_bytes = in.bin();
    legacy.bytes.assign(left_bytes.begin(), left_bytes.end());
  }
  if (!in.try_nil()) order.preload = detail::decode<Preload>(in);
  const auto call = in.bin();
  order.call.assign(call.begin(), call.end());
  in.finish();
  if (order.kind != Order::Kind::child && order.kind != Order::Kind::forkserver)
    in.fail("a kind of process", "another number");
  if (order.start_method && *order.start_method > kLastStartMethod) in.fail("a start method", "another number");
  return order;
}

/// Sends one packet, sleeping while the socket is full and the process is there. False: it is gone.
bool send_all(int socket, int pidfd, const void* data, std::size_t size_bytes, int passenger) {
  for (;;) {
    const int error = os::send_packet(socket, data, size_bytes, passenger, os::Wait::no);
    if (error == 0) return true;
    if (error == -EPIPE || error == -ECONNRESET) return false;
    if (error != -EAGAIN && error != -ENOBUFS) throw OsError(-error, "cannot send a child its order");
    if (os::wait_ready(socket, POLLOUT, pidfd, Deadline::never()).ended) return false;
  }
}

}  // namespace

int say(int socket, Said what, std::int32_t number, int passenger) noexcept {
  const Wire wire{static_cast<std::uint32_t>(what), number};
  return -os::send_packet(socket, &wire, sizeof wire, passenger, os::Wait::no);
}

void say_failed(int socket, const std::string& why) noexcept {
  std::array<char, sizeof(Wire) + kTextBytes> packet{};
  const Wire wire{kSaidFailed, 0};
  const std::size_t length = std::min(why.size(), kTextBytes);
  std::memcpy(packet.data(), &wire, sizeof wire);
  std::memcpy(packet.data() + sizeof wire, why.data(), length);
  (void)os::send_packet(socket, packet.data(), sizeof wire + length, -1, os::Wait::no);
}

Message hear(int socket) noexcept {
  std::array<char, sizeof(Wire) + kTextBytes> bytes;
  os::Packet packet = os::receive_packet(socket, bytes.data(), bytes.size(), os::Wait::no);
  Message out;
  if (packet.size == -EAGAIN) return out;
  if (packet.size < static_cast<ssize_t>(sizeof(Wire))) {
    out.said = Said::end;
    return out;
  }
  Wire wire{};
  std::memcpy(&wire, bytes.data(), sizeof wire);
  out.said = static_cast<Said>(wire.said);
  out.number = wire.number;
  out.text.assign(bytes.data() + sizeof wire, static_cast<std::size_t>(packet.size) - sizeof wire);
  out.passenger = std::move(packet.passenger);
  return out;
}

bool send_order(int socket, int pidfd, const Order& order, std::span<const int> passengers) {
  const auto bytes = encode_order(order);
  const Head head{kOrderMagic, kProtocol, bytes.size()};
  std::array<std::byte, kFirstBytes> first;
  std::memcpy(first.data(), &head, sizeof head);
  std::size_t at = std::min(bytes.size(), first.size() - sizeof head);
  if (at != 0) std::memcpy(first.data() + sizeof head, bytes.data(), at);
  // Our own pidfd: by it the child sees our end, whoever its parent is and however often pids are reused. A child
  // without one (no descriptor was free) opens it itself.
  const base::UniqueFd self(os::pidfd_open(::getpid()));
  if (!send_all(socket, pidfd, first.data(), sizeof head + at, self.get())) return false;
  while (at < bytes.size()) {
    const std::size_t part = std::min(bytes.size() - at, kPacketBytes);
    if (!send_all(socket, pidfd, bytes.data() + at, part, -1)) return false;
    at += part;
  }
  for (const int passenger : passengers) {
    if (!send_all(socket, pidfd, &kPassengerMark, sizeof kPassengerMark, passenger)) return false;
  }
  return true;
}

namespace {

/// Exchanges the numbers of the passengers for descriptors. False: the parent is gone.
bool receive_passengers(int socket, Received& it) {
  if (!it.order.settings) return true;
  for (std::int32_t& stream : it.order.settings->streams) {
    if (stream < 0) continue;
    char mark = 0;
    os::Packet packet = os::receive_packet(socket, &mark, sizeof mark);
    if (packet.size == 0) return false;
    if (packet.size < 0) throw OsError(static_cast<int>(-packet.size), "cannot receive a stream of the parent process");
    if (!packet.passenger)
      throw OsError(EMFILE, "no descriptor is free for a stream of the parent process (ulimit -n)");
    stream = packet.passenger.get();
    it.passengers.push_back(std::move(packet.passenger));
  }
  return true;
}

}  // namespace

std::optional<Received> receive_order(int socket) {
  std::array<std::byte, kFirstBytes> begin;
  os::Packet first = os::receive_packet(socket, begin.data(), begin.size());
  if (first.size == 0) return std::nullopt;
  if (first.size < 0) throw OsError(static_cast<int>(-first.size), "cannot receive the order of the parent process");
  Head head{};
  const auto size = static_cast<std::size_t>(first.size);
  if (size >= sizeof head) std::memcpy(&head, begin.data(), sizeof head);
  if (head.magic != kOrderMagic) throw DecodeError("what came over the parent's socket is no order of brood");
  if (head.protocol != kProtocol) {
    throw DecodeError("the parent process speaks version " + std::to_string(head.protocol) +
                      " of the protocol between processes, this one speaks " + std::to_string(kProtocol) +
                      ": brood's library was replaced while the parent ran; restart the parent");
  }
  Received out;
  out.parent_pidfd = std::move(first.passenger);
  // Grows with what arrives: a size alone allocates nothing.
  std::vector<std::byte> bytes(begin.data() + sizeof head, begin.data() + size);
  while (bytes.size() < head.size_bytes) {
    const std::size_t have = bytes.size();
    bytes.resize(have + std::min<std::uint64_t>(head.size_bytes - have, kPacketBytes));
    const os::Packet part = os::receive_packet(socket, bytes.data() + have, bytes.size() - have);
    if (part.size == 0) return std::nullopt;
    if (part.size < 0) throw OsError(static_cast<int>(-part.size), "cannot receive the order of the parent process");
    bytes.resize(have + static_cast<std::size_t>(part.size));
  }
  out.order = decode_order(bytes);
  if (!receive_passengers(socket, out)) return std::nullopt;
  return out;
}

}  // namespace brood::inline v1::process
