// Pairs of packet sockets between parent and child, with descriptors as passengers.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "base/unique_fd.hpp"

namespace brood::inline v1::os {

struct SocketPair {
  int error = 0;  ///< 0 or a negative errno
  base::UniqueFd ours;
  base::UniqueFd theirs;
};
/// Connected AF_UNIX SOCK_SEQPACKET ends, close-on-exec, neither of them a standard stream even if those are closed.
[[nodiscard]] SocketPair packet_socket_pair() noexcept;

enum class Wait : bool { no, yes };

/// Sends one packet, with a copy of `passenger` if that is a descriptor. 0 or a negative errno; never SIGPIPE. With
/// Wait::no -EAGAIN means that there is no room now.
[[nodiscard]] int send_packet(int socket, const void* data, std::size_t size_bytes, int passenger = -1,
                              Wait wait = Wait::yes) noexcept;

struct Packet {
  ssize_t size = 0;  ///< bytes received; 0 = the other end is closed; else a negative errno (-EAGAIN: nothing there)
  base::UniqueFd passenger;  ///< close-on-exec, and no standard stream even if those are closed
  bool truncated = false;    ///< the packet was longer, or its descriptor did not fit into this process's table
};
[[nodiscard]] Packet receive_packet(int socket, void* data, std::size_t size_bytes, Wait wait = Wait::yes) noexcept;

/// Tells this socket from any other that is open; 0 if the descriptor is no socket.
[[nodiscard]] std::uint64_t socket_inode(int socket) noexcept;

/// Who made the pair that this descriptor belongs to; nothing if it is no Unix packet socket.
struct Peer {
  pid_t pid = 0;
  uid_t uid = 0;
};
[[nodiscard]] std::optional<Peer> peer_of(int socket) noexcept;

}  // namespace brood::inline v1::os
