// ZeroMQ, PUSH to PULL over its Unix sockets, blocking. usage: as from_arguments() in channel.hpp.
#include <zmq.h>

#include "channel_shapes.hpp"

namespace {

using bench::Buffer;
using bench::Workload;

[[noreturn]] void fail(const char* call) { throw std::runtime_error(std::string(call) + ": " + zmq_strerror(errno)); }

class Socket {
 public:
  Socket(int type, int limit_option, const Workload& w) : context_(zmq_ctx_new()), socket_(zmq_socket(context_, type)) {
    if (socket_ == nullptr) fail("zmq_socket");
    set(limit_option, static_cast<int>(w.depth()));
    set(ZMQ_LINGER, 0);  // what was sent has been received when we close
  }
  ~Socket() {
    zmq_close(socket_);
    zmq_ctx_term(context_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  [[nodiscard]] void* get() const { return socket_; }

 private:
  void set(int option, int value) {
    if (zmq_setsockopt(socket_, option, &value, sizeof value) != 0) fail("zmq_setsockopt");
  }
  void* context_;
  void* socket_;
};

class PushPull {
 public:
  static constexpr bool kMesh = true;
  struct Link {
    std::string name;  // @: abstract, so no file is left
    explicit Link(const Workload& /*workload*/) {
      static int made = 0;
      name = "ipc://@brood-bench-" + std::to_string(::getpid()) + "-" + std::to_string(made++) + "-";
    }
  };
  class Receiver {
   public:
    Receiver(const Link& link, const Workload& w, int which) : socket_(ZMQ_PULL, ZMQ_RCVHWM, w), buffer_(w) {
      if (zmq_bind(socket_.get(), (link.name + std::to_string(which)).c_str()) != 0) fail("zmq_bind");
    }
    std::uint64_t receive() {
      int got = 0;
      while ((got = zmq_recv(socket_.get(), buffer_.data(), buffer_.size(), 0)) < 0) {
        if (errno != EINTR) fail("zmq_recv");
      }
      return buffer_.number(static_cast<std::size_t>(got));
    }

   private:
    Socket socket_;
    Buffer buffer_;
  };
  class Sender {
   public:
    Sender(const Link& link, const Workload& w, int /*which*/) : socket_(ZMQ_PUSH, ZMQ_SNDHWM, w), buffer_(w) {
      for (int to = 0; to < w.consumers; ++to) {
        if (zmq_connect(socket_.get(), (link.name + std::to_string(to)).c_str()) != 0) fail("zmq_connect");
      }
    }
    void send(std::uint64_t number) {
      buffer_.stamp(number);
      while (zmq_send(socket_.get(), buffer_.data(), buffer_.size(), 0) < 0) {
        if (errno != EINTR) fail("zmq_send");
      }
    }
    void try_send(std::uint64_t number) {
      buffer_.stamp(number);
      if (zmq_send(socket_.get(), buffer_.data(), buffer_.size(), ZMQ_DONTWAIT) < 0 && errno != EAGAIN &&
          errno != EINTR)
        fail("zmq_send");
    }

   private:
    Socket socket_;
    Buffer buffer_;
  };
};

}  // namespace

int main(int argc, char** argv) {
  return bench::run_as_program([&] { return bench::run_channel<PushPull>(bench::from_arguments(argc, argv)); });
}
