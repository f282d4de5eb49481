// What the kernel offers between processes, and the floors: what the hardware and a bare wake-up cost.
#include <fcntl.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <system_error>

#include "channel_shapes.hpp"
#include "os/futex.hpp"

namespace bench {
namespace {

[[noreturn]] void fail(const char* call) { throw std::system_error(errno, std::generic_category(), call); }

/// After a call that returned -1: again, or an exception.
void again_or_fail(const char* call) {
  if (errno == EAGAIN) brood::os::cpu_relax();
  else if (errno != EINTR) fail(call);
}

// --- pipes
// -------------------------------------------------------------------------------------------------------------

/// Messages of one size need no frame, which flatters the pipe. Spinning: O_NONBLOCK, asked again and again.
template <bool Spin>
class Pipe {
 public:
  static constexpr bool kMesh = false;
  struct Link {
    int ends[2];
    explicit Link(const Workload& /*workload*/) {
      if (::pipe2(ends, O_CLOEXEC | (Spin ? O_NONBLOCK : 0)) != 0) fail("pipe2");
    }
  };
  class Receiver {
   public:
    Receiver(const Link& link, const Workload& w, int /*which*/) : fd_(link.ends[0]), buffer_(w) {}
    std::uint64_t receive() {
      for (std::size_t done = 0; done < buffer_.size();) {
        const ssize_t got = ::read(fd_, buffer_.data() + done, buffer_.size() - done);
        if (got == 0) throw std::runtime_error("read: end of file");
        if (got < 0) again_or_fail("read");
        else done += static_cast<std::size_t>(got);
      }
      return buffer_.number(buffer_.size());
    }

   private:
    int fd_;
    Buffer buffer_;
  };
  class Sender {
   public:
    Sender(const Link& link, const Workload& w, int /*which*/) : fd_(link.ends[1]), buffer_(w) {}
    void send(std::uint64_t number) {
      buffer_.stamp(number);
      for (std::size_t done = 0; done < buffer_.size();) {
        const ssize_t put = ::write(fd_, buffer_.data() + done, buffer_.size() - done);
        if (put < 0) again_or_fail("write");
        else done += static_cast<std::size_t>(put);
      }
    }

   private:
    int fd_;
    Buffer buffer_;
  };
};

Fit fit_of_pipe(const Workload& w) {
  if (w.one_to_one() || w.size_bytes <= PIPE_BUF) return kFits;
  return cannot("messages of more than PIPE_BUF bytes mingle where several write");
}
Fit fit_of_spinning_pipe(const Workload& w) {
  return w.shape != Shape::asleep && w.one_to_one() ? fit_of_pipe(w) : kNotMeant;
}

// --- sockets
// -----------------------------------------------------------------------------------------------------------

class SeqPacket {
 public:
  static constexpr bool kMesh = false;
  struct Link {
    int ends[2];
    explicit Link(const Workload& /*workload*/) {
      if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) fail("socketpair");
      // Room for four of the largest messages where we may, else as much as anybody gets.
      const int wanted = 4 << 20;
      for (const int end : ends) {
        if (::setsockopt(end, SOL_SOCKET, SO_SNDBUFFORCE, &wanted, sizeof wanted) != 0 &&
            ::setsockopt(end, SOL_SOCKET, SO_SNDBUF, &wanted, sizeof wanted) != 0)
          fail("setsockopt");
      }
    }
  };
  class Receiver {
   public:
    Receiver(const Link& link, const Workload& w, int /*which*/) : fd_(link.ends[0]), buffer_(w) {}
    std::uint64_t receive() {
      ssize_t got = 0;
      while ((got = ::recv(fd_, buffer_.data(), buffer_.size(), 0)) < 0) again_or_fail("recv");
      return buffer_.number(static_cast<std::size_t>(got));
    }

   private:
    int fd_;
    Buffer buffer_;
  };
  class Sender {
   public:
    Sender(const Link& link, const Workload& w, int /*which*/) : fd_(link.ends[1]), buffer_(w) {}
    void send(std::uint64_t number) {
      buffer_.stamp(number);
      while (::send(fd_, buffer_.data(), buffer_.size(), MSG_NOSIGNAL) < 0) again_or_fail("send");
    }

   private:
    int fd_;
    Buffer buffer_;
  };
};

Fit fit_of_seqpacket(const Workload& w) {
  const SeqPacket::Link link(w);
  // Not from the heap: freeing so much changes how malloc works for all cells that are forked later.
  void* message = shared_bytes(w.size_bytes);
  const bool too_long = ::send(link.ends[0], message, w.size_bytes, MSG_DONTWAIT) < 0 && errno == EMSGSIZE;
  ::munmap(message, w.size_bytes);
  for (const int end : link.ends) ::close(end);
  return too_long ? cannot("its buffer may not be that large (net.core.wmem_max)") : kFits;
}

// --- POSIX message queues
// ----------------------------------------------------------------------------------------------

/// Unprivileged, a queue has at most 10 messages (fs.mqueue.msg_max).
class PosixMq {
 public:
  static constexpr bool kMesh = false;
  struct Link {
    mqd_t queue;
    explicit Link(const Workload& w) {
      static int made = 0;
      const std::string name = "/brood-bench-" + std::to_string(::getpid()) + "-" + std::to_string(made++);
      mq_attr attributes{};
      attributes.mq_maxmsg = 10;
      attributes.mq_msgsize = static_cast<long>(w.size_bytes);
      queue = ::mq_open(name.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600, &attributes);
      if (queue == static_cast<mqd_t>(-1)) fail("mq_open");
      ::mq_unlink(name.c_str());  // the descriptor is inherited
    }
  };
  class Receiver {
   public:
    Receiver(const Link& link, const Workload& w, int /*which*/) : queue_(link.queue), buffer_(w) {}
    std::uint64_t receive() {
      ssize_t got = 0;
      while ((got = ::mq_receive(queue_, reinterpret_cast<char*>(buffer_.data()), buffer_.size(), nullptr)) < 0)
        again_or_fail("mq_receive");
      return buffer_.number(static_cast<std::size_t>(got));
    }

   private:
    mqd_t queue_;
    Buffer buffer_;
  };
  class Sender {
   public:
    Sender(const Link& link, const Workload& w, int /*which*/) : queue_(link.queue), buffer_(w) {}
    void send(std::uint64_t number) {
      buffer_.stamp(number);
      while (::mq_send(queue_, reinterpret_cast<const char*>(buffer_.data()), buffer_.size(), 0) < 0)
        again_or_fail("mq_send");
    }

   private:
    mqd_t queue_;
    Buffer buffer_;
  };
};

Fit fit_of_posix_mq(const Workload& w) {
  try {
    const PosixMq::Link link(w);
    ::mq_close(link.queue);
    return kFits;
  } catch (const std::system_error& error) {
    return cannot(error.code().value() == EINVAL ? "its messages may not be that large (fs.mqueue.msgsize_max)"
                                                 : error.what());
  }
}

// --- floors: no channels, they hold one message
// ------------------------------------------------------------------------

/// A word in a cache line that the other side watches.
class CacheLine {
 public:
  static constexpr bool kMesh = false;
  struct Link {
    struct alignas(64) Line {
      std::atomic<std::uint64_t> number;
    };
    Line& line = shared<Line>();
    explicit Link(const Workload& /*workload*/) {}
  };
  class Receiver {
   public:
    Receiver(const Link& link, const Workload& /*workload*/, int /*which*/) : line_(link.line) {}
    std::uint64_t receive() {
      std::uint64_t number = 0;
      while ((number = line_.number.load(std::memory_order_acquire)) == seen_) brood::os::cpu_relax();
      return seen_ = number;
    }

   private:
    Link::Line& line_;
    std::uint64_t seen_ = 0;
  };
  class Sender {
   public:
    Sender(const Link& link, const Workload& /*workload*/, int /*which*/) : line_(link.line) {}
    void send(std::uint64_t number) { line_.number.store(number, std::memory_order_release); }

   private:
    Link::Line& line_;
  };
};

/// The same, but the other side sleeps.
class FutexWake {
 public:
  static constexpr bool kMesh = false;
  struct Link {
    struct alignas(64) Line {
      std::atomic<std::uint32_t> count;
      std::atomic<std::uint64_t> number;
    };
    Line& line = shared<Line>();
    explicit Link(const Workload& /*workload*/) {}
  };
  class Receiver {
   public:
    Receiver(const Link& link, const Workload& /*workload*/, int /*which*/) : line_(link.line) {}
    std::uint64_t receive() {
      std::uint32_t count = 0;
      while ((count = line_.count.load()) == seen_)
        ::syscall(SYS_futex, &line_.count, FUTEX_WAIT, count, nullptr, nullptr, 0);
      seen_ = count;
      return line_.number.load();
    }

   private:
    Link::Line& line_;
    std::uint32_t seen_ = 0;
  };
  class Sender {
   public:
    Sender(const Link& link, const Workload& /*workload*/, int /*which*/) : line_(link.line) {}
    void send(std::uint64_t number) {
      line_.number.store(number);
      line_.count.fetch_add(1);
      ::syscall(SYS_futex, &line_.count, FUTEX_WAKE, 1, nullptr, nullptr, 0);
    }

   private:
    Link::Line& line_;
  };
};

}  // namespace

std::vector<Peer> kernel_peers() {
  const auto only = [](Shape shape) {
    return [shape](const Workload& w) { return w.shape == shape ? kFits : kNotMeant; };
  };
  return {
      {"kernel-pipe", fit_of_pipe, run_channel<Pipe<false>>},
      {"kernel-pipe-spin", fit_of_spinning_pipe, run_channel<Pipe<true>>},
      {"unix-seqpacket", fit_of_seqpacket, run_channel<SeqPacket>},
      {"posix-mq", fit_of_posix_mq, run_channel<PosixMq>},
      {"cache-line", only(Shape::round_trip), run_channel<CacheLine>},
      {"futex-wake", only(Shape::asleep), run_channel<FutexWake>},
  };
}

}  // namespace bench
