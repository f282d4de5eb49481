// Boost.Interprocess's message queue. A file of its own, since its headers take long to compile.
#include <unistd.h>

#include <boost/interprocess/ipc/message_queue.hpp>
#include <memory>

#include "channel_shapes.hpp"

namespace bench {
namespace {

namespace bip = boost::interprocess;

class BoostQueue {
 public:
  static constexpr bool kMesh = false;
  struct Link {
    std::unique_ptr<bip::message_queue> queue;
    explicit Link(const Workload& w) {
      static int made = 0;
      const std::string name = "brood-bench-mq-" + std::to_string(::getpid()) + "-" + std::to_string(made++);
      bip::message_queue::remove(name.c_str());
      queue = std::make_unique<bip::message_queue>(bip::create_only, name.c_str(), w.depth(), w.size_bytes);
      bip::message_queue::remove(name.c_str());  // the mapping is inherited
    }
  };
  class Receiver {
   public:
    Receiver(const Link& link, const Workload& w, int /*which*/) : queue_(*link.queue), buffer_(w) {}
    std::uint64_t receive() {
      bip::message_queue::size_type received = 0;
      unsigned priority = 0;
      queue_.receive(buffer_.data(), buffer_.size(), received, priority);
      return buffer_.number(received);
    }

   private:
    bip::message_queue& queue_;
    Buffer buffer_;
  };
  class Sender {
   public:
    Sender(const Link& link, const Workload& w, int /*which*/) : queue_(*link.queue), buffer_(w) {}
    void send(std::uint64_t number) {
      buffer_.stamp(number);
      queue_.send(buffer_.data(), buffer_.size(), 0);
    }

   private:
    bip::message_queue& queue_;
    Buffer buffer_;
  };
};

}  // namespace

std::vector<Peer> boost_peers() {
  return {{"boost-message_queue", [](const Workload& /*any*/) { return kFits; }, run_channel<BoostQueue>}};
}

}  // namespace bench
