#include "os/socket.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

#include "os/above_standard.hpp"

namespace brood::inline v1::os {
std::uint64_t socket_inode(int socket) noexcept {
  struct stat st {};
  return ::fstat(socket, &st) == 0 && S_ISSOCK(st.st_mode) ? st.st_ino : 0;
}

SocketPair packet_socket_pair() noexcept {
  SocketPair out;
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    out.error = -errno;
    return out;
  }
  for (int& end : ends) {
    end = above_standard(end);
    if (end < 0) out.error = end;
  }
  out.ours.reset(ends[0]);
  out.theirs.reset(ends[1]);
  return out;
}

int send_packet(int socket, const void* data, std::size_t size_bytes, int passenger, Wait wait) noexcept {
  iovec bytes{const_cast<void*>(data), size_bytes};
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  if (passenger >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &passenger, sizeof passenger);
  }
  for (;;) {
    if (::sendmsg(socket, &message, MSG_NOSIGNAL | (wait == Wait::no ? MSG_DONTWAIT : 0)) >= 0) return 0;
    if (errno != EINTR) return -errno;
  }
}

Packet receive_packet(int socket, void* data, std::size_t size_bytes, Wait wait) noexcept {
  iovec bytes{data, size_bytes};
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  Packet out;
  do {
    out.size = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC | (wait == Wait::no ? MSG_DONTWAIT : 0));
  } while (out.size < 0 && errno == EINTR);
  if (out.size < 0) {
    out.size = -errno;
    // The other end was closed with something of ours unread: it is gone, as in an orderly end.
    if (out.size == -ECONNRESET) out.size = 0;
    return out;
  }
  out.truncated = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
    out.passenger.reset(above_standard(fd));
    if (!out.passenger) out.truncated = true;
  }
  return out;
}

std::optional<Peer> peer_of(int socket) noexcept {
  int domain = 0;
  int type = 0;
  socklen_t size = sizeof domain;
  if (::getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 || domain != AF_UNIX) return std::nullopt;
  size = sizeof type;
  if (::getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_SEQPACKET) return std::nullopt;
  ucred credentials{};
  size = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return std::nullopt;
  return Peer{credentials.pid, credentials.uid};
}

}  // namespace brood::inline v1::os
