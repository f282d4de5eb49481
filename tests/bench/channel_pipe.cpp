// brood::pipe under the shapes: a one-way pipe for each direction.
#include <array>
#include <optional>
#include <utility>

#include "brood/connection.hpp"
#include "channel_shapes.hpp"
#include "handle_place.hpp"

namespace bench {
namespace {

/// T: plain data of the message's size. `in_place`: loans and views instead of values.
template <class T, bool in_place>
class BroodPipe {
 public:
  static constexpr bool kMesh = false;
  struct Link {
    HandlePlace& place = shared<HandlePlace>();
    explicit Link(const Workload& /*workload*/) {}
  };
  class Receiver {
   public:
    Receiver(const Link& link, const Workload& /*workload*/, int /*which*/)
        : ends_(brood::pipe<T>({.duplex = false, .ring_bytes = std::size_t{1} << 20})) {
      link.place.put(ends_.second.handle());  // held here until the sender has opened it, and longer
    }
    std::uint64_t receive() {
      if constexpr (in_place) {
        const auto message = ends_.first.recv_view();
        return front_of(std::as_bytes(std::span(*message)));
      } else {
        const T message = ends_.first.recv();
        return number_in(std::as_bytes(std::span(message)));
      }
    }

   private:
    std::pair<brood::Connection<T>, brood::Connection<T>> ends_;
  };
  class Sender {
   public:
    Sender(const Link& link, const Workload& /*workload*/, int /*which*/)
        : end_(brood::Connection<T>::open(link.place.text)), message_() {}
    void send(std::uint64_t number) {
      if constexpr (in_place) {
        auto message = end_.loan();
        stamp_front(std::as_writable_bytes(std::span(*message)), number);
        end_.send(std::move(message));
      } else {
        stamp(std::as_writable_bytes(std::span(message_)), number);
        end_.send(message_);
      }
    }

   private:
    brood::Connection<T> end_;
    alignas(64) T message_;
  };
};

template <std::size_t Size>
using Plain = std::array<std::byte, Size>;

}  // namespace

Samples run_pipe(const Workload& w) {
  switch (w.size_bytes) {
    case 8: return run_channel<BroodPipe<Plain<8>, false>>(w);
    case 64: return run_channel<BroodPipe<Plain<64>, false>>(w);
    case 1024: return run_channel<BroodPipe<Plain<1024>, false>>(w);
    case 1 << 16: return run_channel<BroodPipe<Plain<1 << 16>, false>>(w);
    case 1 << 20: return run_channel<BroodPipe<Plain<1 << 20>, false>>(w);
    default: throw std::logic_error("no pipe of plain data of that size");
  }
}

Samples run_pipe_in_place(const Workload& w) {
  if (w.size_bytes != 1 << 20) throw std::logic_error("no pipe in place of that size");
  return run_channel<BroodPipe<Plain<1 << 20>, true>>(w);
}

}  // namespace bench
