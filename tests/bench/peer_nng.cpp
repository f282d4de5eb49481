// nng, push to pull over its Unix sockets, blocking. usage: as from_arguments() in channel.hpp.
#include <nng/nng.h>
#include <nng/protocol/pipeline0/pull.h>
#include <nng/protocol/pipeline0/push.h>

#include "channel_shapes.hpp"

namespace {

using bench::Buffer;
using bench::Workload;

void check(int error, const char* call) {
  if (error != 0) [[unlikely]]
    throw std::runtime_error(std::string(call) + ": " + nng_strerror(error));
}

class Socket {
 public:
  explicit Socket(int (*open)(nng_socket*)) { check(open(&socket_), "nng_open"); }
  // Never closed: nng_close() of 1.5.2 sometimes waits for ever after large messages. The process ends anyway.
  ~Socket() = default;
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  [[nodiscard]] nng_socket get() const { return socket_; }

 private:
  nng_socket socket_;
};

class PushPull {
 public:
  static constexpr bool kMesh = true;
  struct Link {
    std::string name;  // abstract: no file is left
    explicit Link(const Workload& /*workload*/) {
      static int made = 0;
      name = "abstract://brood-bench-" + std::to_string(::getpid()) + "-" + std::to_string(made++) + "-";
    }
  };
  class Receiver {
   public:
    Receiver(const Link& link, const Workload& w, int which) : socket_(nng_pull0_open), buffer_(w) {
      check(nng_socket_set_size(socket_.get(), NNG_OPT_RECVMAXSZ, 0), "NNG_OPT_RECVMAXSZ");  // 0: any
      check(nng_listen(socket_.get(), (link.name + std::to_string(which)).c_str(), nullptr, 0), "nng_listen");
    }
    std::uint64_t receive() {
      std::size_t got = buffer_.size();
      check(nng_recv(socket_.get(), buffer_.data(), &got, 0), "nng_recv");
      return buffer_.number(got);
    }

   private:
    Socket socket_;
    Buffer buffer_;
  };
  class Sender {
   public:
    Sender(const Link& link, const Workload& w, int /*which*/) : socket_(nng_push0_open), buffer_(w) {
      check(nng_socket_set_int(socket_.get(), NNG_OPT_SENDBUF, static_cast<int>(w.depth())), "NNG_OPT_SENDBUF");
      for (int to = 0; to < w.consumers; ++to)
        check(nng_dial(socket_.get(), (link.name + std::to_string(to)).c_str(), nullptr, 0), "nng_dial");
    }
    void send(std::uint64_t number) {
      buffer_.stamp(number);
      check(nng_send(socket_.get(), buffer_.data(), buffer_.size(), 0), "nng_send");
    }
    void try_send(std::uint64_t number) {
      buffer_.stamp(number);
      const int error = nng_send(socket_.get(), buffer_.data(), buffer_.size(), NNG_FLAG_NONBLOCK);
      if (error != NNG_EAGAIN) check(error, "nng_send");
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
