// brood::Queue under the shapes.
#include <array>
#include <optional>

#include "brood/queue.hpp"
#include "channel_shapes.hpp"
#include "handle_place.hpp"

namespace bench {
namespace {

using Bytes = std::vector<std::byte>;

/// T: plain data of the message's size, or Bytes.
template <class T>
class BroodQueue {
 public:
  static constexpr bool kMesh = false;
  struct Link {
    HandlePlace& place = shared<HandlePlace>();
    explicit Link(const Workload& /*workload*/) {}
  };
  class Receiver {
   public:
    Receiver(const Link& link, const Workload& w, int which)
        : queue_(which == 0 ? brood::Queue<T>(options(w)) : brood::Queue<T>::open(link.place.text)),
          size_(w.size_bytes) {
      if (which == 0) link.place.put(queue_.handle());
    }
    std::uint64_t receive() {
      const T message = queue_.get();
      const auto bytes = std::as_bytes(std::span(message));
      if (bytes.size() != size_) [[unlikely]]
        throw std::runtime_error("a message arrived with another size");
      return number_in(bytes);
    }

   private:
    brood::Queue<T> queue_;
    std::size_t size_;
  };
  class Sender {
   public:
    Sender(const Link& link, const Workload& w, int /*which*/)
        : queue_(brood::Queue<T>::open(link.place.text)), message_() {
      if constexpr (std::is_same_v<T, Bytes>) message_.resize(w.size_bytes);
    }
    void send(std::uint64_t number) {
      stamp(std::as_writable_bytes(std::span(message_)), number);
      queue_.put(message_);
    }

   private:
    brood::Queue<T> queue_;
    alignas(64) T message_;
  };

 private:
  /// A mebibyte, or what a socket of 4 MiB really takes: seven of the largest messages.
  static brood::QueueOptions options(const Workload& w) {
    return {.byte_budget = std::max(std::size_t{1} << 20, 8 * w.size_bytes)};
  }
};

template <std::size_t Size>
using Plain = std::array<std::byte, Size>;

struct Sample {
  std::uint64_t number;
  double value;
  std::uint32_t channel;
  std::uint32_t flags;
};
static_assert(sizeof(Sample) == 24);

[[noreturn]] void fail_typed() { throw std::runtime_error("the queue gave back another sample than was put in"); }

}  // namespace

Samples run_queue(const Workload& w) {
  switch (w.size_bytes) {
    case 8: return run_channel<BroodQueue<Plain<8>>>(w);
    case 64: return run_channel<BroodQueue<Plain<64>>>(w);
    case 1024: return run_channel<BroodQueue<Plain<1024>>>(w);
    case 1 << 16: return run_channel<BroodQueue<Plain<1 << 16>>>(w);
    case 1 << 20: return run_channel<BroodQueue<Plain<1 << 20>>>(w);
    default: throw std::logic_error("no queue of plain data of that size");
  }
}

Samples run_queue_of_bytes(const Workload& w) { return run_channel<BroodQueue<Bytes>>(w); }

Samples queue_typed(int batches) {
  pin(0);
  brood::Queue<Sample> queue;
  std::uint64_t number = 0;
  return time_batches(batches, [&] {
    ++number;
    queue.put({number, 0.5, 1, 2});
    const Sample got = queue.get();
    if (got.number != number || got.flags != 2) fail_typed();
  });
}

Samples queue_raw_bytes(int batches) {
  pin(0);
  brood::detail::QueueCore queue = brood::detail::QueueCore::create({}, {});
  std::uint64_t number = 0;
  return time_batches(batches, [&] {
    std::array<std::byte, sizeof(Sample)> message{};
    stamp(message, ++number);
    queue.put(message, {}, brood::Deadline::never());
    std::array<std::byte, sizeof(Sample)> got;
    (void)queue.get_raw(got, brood::Deadline::never());
    if (number_in(got) != number) fail_typed();
  });
}

}  // namespace bench
