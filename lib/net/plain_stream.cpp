#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "brood/error.hpp"
#include "brood/serialize.hpp"
#include "net/stream.hpp"

namespace brood::inline v1::net {
namespace {

constexpr std::size_t kMost = detail::kMostDescriptors;

/// Ends that mean "the other side, or the way to it, is no more".
Io gone(int error) { return {.is = error == EPIPE ? Io::Is::end : Io::Is::reset, .error = error}; }
[[nodiscard]] bool is_gone(int error) noexcept {
  switch (error) {
    case EPIPE:
    case ECONNRESET:
    case ECONNABORTED:
    case ETIMEDOUT:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
    case ENETRESET:
    case ENOTCONN: return true;
    default: return false;
  }
}

class PlainStream final : public Stream {
 public:
  explicit PlainStream(base::UniqueFd socket) : Stream(std::move(socket)) {
    int domain = 0;
    socklen_t size = sizeof domain;
    is_unix_ = ::getsockopt(this->socket(), SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX;
  }

  Io write(std::span<const iovec> pieces, std::span<const int> descriptors) override {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(pieces.data());
    message.msg_iovlen = pieces.size();
    alignas(cmsghdr) char control[CMSG_SPACE(kMost * sizeof(int))];
    if (!descriptors.empty()) {
      const std::size_t bytes = descriptors.size_bytes();
      std::memset(control, 0, CMSG_SPACE(bytes));
      message.msg_control = control;
      message.msg_controllen = CMSG_SPACE(bytes);
      cmsghdr* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(bytes);
      std::memcpy(CMSG_DATA(header), descriptors.data(), bytes);
    }
    for (;;) {
      const ssize_t sent = ::sendmsg(socket(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent >= 0) return {.bytes = static_cast<std::size_t>(sent)};
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return {.is = Io::Is::wait, .events = POLLOUT};
      if (is_gone(errno)) return gone(errno);
      if (errno == ETOOMANYREFS)
        throw OsError(errno,
                      "cannot send descriptors: this user has as many on the way as one process may have open; let the "
                      "receivers take theirs, or raise `ulimit -n`");
      throw OsError(errno, "sendmsg");
    }
  }

  Io read(std::span<const iovec> places, Luggage& luggage) override {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(places.data());
    message.msg_iovlen = places.size();
    alignas(cmsghdr) char control[CMSG_SPACE(kMost * sizeof(int))];
    if (is_unix_) {
      message.msg_control = control;
      message.msg_controllen = sizeof control;
    }
    for (;;) {
      const ssize_t got = ::recvmsg(socket(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
      if (got < 0) {
        if (errno == EINTR) continue;
        if (errno == EAGAIN) return {.is = Io::Is::wait, .events = POLLIN};
        if (is_gone(errno)) return gone(errno);
        throw OsError(errno, "recvmsg");
      }
      if (is_unix_) collect(message, luggage);
      if (got == 0) return {.is = Io::Is::end};
      return {.bytes = static_cast<std::size_t>(got)};
    }
  }

  Io look() override {
    pollfd one{socket(), POLLIN, 0};
    int ready = 0;
    do {
      ready = ::poll(&one, 1, 0);
    } while (ready < 0 && errno == EINTR);
    if (ready < 0) throw OsError(errno, "poll");
    if (ready > 0) return {};
    return {.is = Io::Is::wait, .events = POLLIN};
  }

  bool carries_descriptors() const noexcept override { return is_unix_; }
  bool is_tls() const noexcept override { return false; }

 private:
  static void collect(msghdr& message, Luggage& luggage) {
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
      if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
      const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      int files[kMost];
      std::memcpy(files, CMSG_DATA(header), count * sizeof(int));
      // All are owned before anything can throw.
      base::UniqueFd owned[kMost];
      for (std::size_t i = 0; i < count; ++i) owned[i].reset(files[i]);
      for (std::size_t i = 0; i < count; ++i) luggage.files.push_back(std::move(owned[i]));
    }
    if ((message.msg_flags & MSG_CTRUNC) != 0) luggage.lost = true;
  }

  bool is_unix_ = false;
};

}  // namespace

std::unique_ptr<Stream> plain_stream(base::UniqueFd socket) { return std::make_unique<PlainStream>(std::move(socket)); }

bool wait_until_ready(int descriptor, short events, Deadline deadline) {
  for (;;) {
    timespec left{};
    if (!deadline.is_never() && !deadline.is_poll()) {
      const std::int64_t ns = deadline.at_ns() - Deadline::clock_ns();
      if (ns > 0) left = {static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
    }
    pollfd one{descriptor, events, 0};
    const int ready = ::ppoll(&one, 1, deadline.is_never() ? nullptr : &left, nullptr);
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) throw OsError(errno, "ppoll");
    if (deadline.passed()) return false;
  }
}

}  // namespace brood::inline v1::net
