// The shapes of channel.hpp, for any channel C:
//
//   C::Link      what both ends know; made before the parties are forked
//   C::Receiver  (link, workload, which): one in each consumer, made one after the other and before any sender
//                receive(): the number of the next message
//   C::Sender    (link, workload, which): one in each producer
//                send(number): a message of workload.size_bytes that carries the number at both ends
//   C::kMesh     true: a line of its own from each sender to each receiver, so that order holds along each of them
//                only. Then try_send(number) sends nothing where it would have to wait.
//
// Numbers: end of the stream (1 bit) | producer (15) | sequence from 1 (48). A consumer sees each producer's messages
// in order, a lone one without a gap, and together they must get what was sent: who loses, doubles, swaps or tears
// messages fails its cell.
#pragma once

#include <sched.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <span>
#include <stdexcept>

#include "channel.hpp"

namespace bench {

// --- messages
// ----------------------------------------------------------------------------------------------------------

inline constexpr std::uint64_t kEnd = 1ULL << 63;
inline constexpr unsigned kSequenceBits = 48;
inline constexpr std::uint64_t numbered(std::size_t producer, std::uint64_t sequence) {
  return static_cast<std::uint64_t>(producer) << kSequenceBits | sequence;
}
inline constexpr std::size_t producer_of(std::uint64_t number) { return (number & ~kEnd) >> kSequenceBits; }
inline constexpr std::uint64_t sequence_of(std::uint64_t number) { return number & ((1ULL << kSequenceBits) - 1); }

inline void stamp(std::span<std::byte> message, std::uint64_t number) {
  std::memcpy(message.data(), &number, sizeof number);
  if (message.size() >= 2 * sizeof number)
    std::memcpy(message.data() + message.size() - sizeof number, &number, sizeof number);
}
/// In place no more than this is touched.
inline void stamp_front(std::span<std::byte> message, std::uint64_t number) {
  std::memcpy(message.data(), &number, sizeof number);
}
inline std::uint64_t front_of(std::span<const std::byte> message) {
  std::uint64_t front = 0;
  std::memcpy(&front, message.data(), sizeof front);
  return front;
}
/// Errors: std::runtime_error if the two ends differ.
inline std::uint64_t number_in(std::span<const std::byte> message) {
  std::uint64_t front = 0;
  std::uint64_t back = 0;
  std::memcpy(&front, message.data(), sizeof front);
  std::memcpy(&back, message.data() + message.size() - sizeof back, sizeof back);
  if (front != back) [[unlikely]]
    throw std::runtime_error("a message arrived torn");
  return front;
}

/// A message for channels that take bytes. It begins with a page: copies of some processors (rep movsb of AMD's Zen 3) are
/// twenty times slower where the target is a little further into its page than the source, and kernels copy from pages.
class Buffer {
 public:
  explicit Buffer(const Workload& workload)
      : pages_((workload.size_bytes + kPage - 1) / kPage), size_(workload.size_bytes) {}
  void stamp(std::uint64_t number) { bench::stamp({data(), size_}, number); }
  /// After so many bytes have been received into it. Errors: std::runtime_error.
  [[nodiscard]] std::uint64_t number(std::size_t received) const {
    if (received != size_) [[unlikely]]
      throw std::runtime_error("a message arrived with another size");
    return number_in({reinterpret_cast<const std::byte*>(pages_.data()), size_});
  }
  [[nodiscard]] std::byte* data() { return reinterpret_cast<std::byte*>(pages_.data()); }
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  static constexpr std::size_t kPage = 4096;
  struct alignas(kPage) Page {
    std::array<std::byte, kPage> bytes{};
  };
  std::vector<Page> pages_;
  std::size_t size_;
};

// --- to and fro
// --------------------------------------------------------------------------------------------------------

inline constexpr std::size_t kMostTrips = std::size_t{1} << 16;

/// What the measuring party hands to the process of the cell.
struct Trips {
  std::uint64_t count;
  std::array<double, kMostTrips> samples;
  /// Evenly fewer where they are too many.
  void put(const Samples& all) {
    const std::size_t step = all.size() / kMostTrips + 1;
    for (std::size_t i = 0; i < all.size(); i += step) samples[count++] = all[i];
  }
  [[nodiscard]] Samples get() const { return {samples.begin(), samples.begin() + static_cast<std::ptrdiff_t>(count)}; }
};

/// Runs one party with the near ends of `there` and `back`, and one with the far ends, each on its own processor.
/// What a party sends last must have arrived before its ends close: `near` returns only then, `far` is waited for.
template <class C, class Near, class Far>
void run_pair(const Workload& w, Near near, Far far) {
  struct Area {
    Gate opened, over;
  };
  auto& area = shared<Area>();
  typename C::Link there(w);
  typename C::Link back(w);
  const pid_t answering = fork_party([&] {
    typename C::Receiver receiver(there, w, 0);
    area.opened.add();
    area.opened.await(2);
    typename C::Sender sender(back, w, 0);
    pin(w.one_core ? 0 : 1);
    far(sender, receiver);
    area.over.await(1);
  });
  const pid_t asking = fork_party([&] {
    area.opened.await(1);
    typename C::Receiver receiver(back, w, 0);
    area.opened.add();
    typename C::Sender sender(there, w, 0);
    pin(0);
    near(sender, receiver);
    area.over.add();
  });
  join_parties({answering, asking});
}

template <class C>
Samples round_trips(const Workload& w) {
  auto& trips = shared<Trips>();
  const auto ask = [&](auto& sender, auto& receiver) {
    constexpr std::uint64_t kWarmUpNs = 20'000'000;
    constexpr std::size_t kMost = std::size_t{1} << 20;
    Samples samples(kMost);  // touched before the clock runs
    std::size_t count = 0;
    std::uint64_t number = 0;
    std::uint64_t from = now_ns();
    const std::uint64_t begin = from + std::min(kWarmUpNs, static_cast<std::uint64_t>(w.milliseconds) * 1'000'000);
    const std::uint64_t end = begin + static_cast<std::uint64_t>(w.milliseconds) * 1'000'000;
    while ((from < end || count == 0) && count < kMost) {
      sender.send(++number);
      if (receiver.receive() != number) throw std::runtime_error("another message came back than was sent");
      const std::uint64_t now = now_ns();
      if (from >= begin) samples[count++] = static_cast<double>(now - from) / 1e3;
      from = now;
    }
    sender.send(kEnd);
    if (receiver.receive() != kEnd) throw std::runtime_error("another message came back than was sent");
    samples.resize(count);
    trips.put(samples);
  };
  const auto answer = [](auto& sender, auto& receiver) {
    for (std::uint64_t number = 0; number != kEnd;) sender.send(number = receiver.receive());
  };
  run_pair<C>(w, ask, answer);
  return trips.get();
}

/// A trip is the sum of its two ways: what lies between them is the watching for the other side to fall asleep.
template <class C>
Samples trips_asleep(const Workload& w) {
  struct Area {
    Trips trips;
    Gate known, end_seen;
    std::array<std::atomic<pid_t>, 2> pids;
    std::atomic<std::uint64_t> arrived_at, answered_at;
  };
  auto& area = shared<Area>();
  const auto introduce = [&area](std::size_t me) {
    area.pids[me] = ::getpid();
    area.known.add();
    area.known.await(2);
  };
  const auto await_other = [&area](std::size_t other) { await_asleep(area.pids[other], area.pids[other]); };
  const auto ask = [&](auto& sender, auto& receiver) {
    introduce(0);
    Samples samples;
    const std::uint64_t end = now_ns() + static_cast<std::uint64_t>(w.milliseconds) * 1'000'000;
    std::uint64_t number = 0;
    do {
      await_other(1);
      const std::uint64_t sent_at = now_ns();
      sender.send(++number);
      const std::uint64_t answer = receiver.receive();
      const std::uint64_t back_at = now_ns();
      if (answer != number) throw std::runtime_error("another message came back than was sent");
      samples.push_back(static_cast<double>(area.arrived_at - sent_at + back_at - area.answered_at) / 1e3);
    } while (now_ns() < end);
    sender.send(kEnd);
    area.end_seen.await(1);
    area.trips.put(samples);
  };
  const auto answer = [&](auto& sender, auto& receiver) {
    introduce(1);
    for (;;) {
      const std::uint64_t number = receiver.receive();
      const std::uint64_t arrived_at = now_ns();
      if (number == kEnd) break;
      await_other(0);
      area.arrived_at = arrived_at;
      area.answered_at = now_ns();
      sender.send(number);
    }
    area.end_seen.add();
  };
  run_pair<C>(w, ask, answer);
  return area.trips.get();
}

// --- rates
// -------------------------------------------------------------------------------------------------------------

inline constexpr std::size_t kMostParties = 8;

/// Which messages of one producer were sent, or came.
struct Tally {
  std::uint64_t count, sum, last;
  void add(std::uint64_t sequence) {
    ++count;
    sum += sequence;
    last = sequence;
  }
};
using Tallies = std::array<Tally, kMostParties>;

struct RateArea {
  struct alignas(64) Consumer {
    std::atomic<std::uint64_t> taken;  ///< written by its consumer alone, so a plain store does
    alignas(64) Tallies tallies;
    std::array<std::atomic<bool>, kMostParties> ended;  ///< whose end it has seen
  };
  Gate opened, ready, go, finished;
  alignas(64) std::atomic<bool> stop;
  alignas(64) std::atomic<int> producers_done;
  std::array<Consumer, kMostParties> consumers;
  Tallies sent;
  double rate;
};

/// Takes until it has seen the end of all that can still come to it.
template <class C>
void consume(const Workload& w, RateArea& area, std::size_t me, typename C::Receiver& receiver) {
  RateArea::Consumer& mine = area.consumers[me];
  Tallies tallies{};
  std::uint64_t taken = 0;
  for (int ends = C::kMesh ? w.producers : 1; ends != 0;) {
    const std::uint64_t number = receiver.receive();
    const std::size_t producer = producer_of(number);
    if (producer >= kMostParties) throw std::runtime_error("a message that nobody sent");
    if ((number & kEnd) != 0) {
      if (!mine.ended[producer].exchange(true)) --ends;
      continue;
    }
    const std::uint64_t sequence = sequence_of(number);
    Tally& tally = tallies[producer];
    if (w.consumers == 1 ? sequence != tally.last + 1 : sequence <= tally.last)
      throw std::runtime_error("messages of one producer are lost, doubled or out of order");
    tally.add(sequence);
    mine.taken.store(++taken, std::memory_order_relaxed);
  }
  mine.tallies = tallies;
}

template <class C>
void produce(const Workload& w, RateArea& area, std::size_t me, typename C::Sender& sender) {
  std::uint64_t sequence = 0;
  while (!area.stop.load(std::memory_order_relaxed)) sender.send(numbered(me, ++sequence));
  area.sent[me] = {sequence, sequence * (sequence + 1) / 2, sequence};
  const auto consumers = static_cast<std::size_t>(w.consumers);
  if constexpr (C::kMesh) {
    // Along each line the end comes after all else; which line a message takes is not ours to say.
    const auto seen_by_all = [&] {
      return std::all_of(area.consumers.begin(), area.consumers.begin() + w.consumers,
                         [me](const RateArea::Consumer& consumer) { return consumer.ended[me].load(); });
    };
    while (!seen_by_all()) {
      sender.try_send(kEnd | numbered(me, 0));
      ::sched_yield();
    }
  } else if (area.producers_done.fetch_add(1) + 1 == w.producers) {
    // Behind everything that anybody sent: one end for each consumer.
    for (std::size_t i = 0; i < consumers; ++i) sender.send(kEnd | numbered(me, 0));
  }
}

/// Messages that all consumers have taken between two looks at their counters, in a window well inside the run.
inline void watch(const Workload& w, RateArea& area) {
  constexpr int kWarmUp = 25;
  const auto sleep = [](int milliseconds) {
    const timespec pause{milliseconds / 1000, milliseconds % 1000 * 1'000'000L};
    ::nanosleep(&pause, nullptr);
  };
  struct Look {
    std::uint64_t taken = 0;
    std::uint64_t at = 0;
  };
  const auto look = [&] {
    Look seen;
    for (const RateArea::Consumer& consumer : area.consumers) seen.taken += consumer.taken.load();
    seen.at = now_ns();
    return seen;
  };
  area.opened.await(static_cast<std::uint32_t>(w.consumers));
  area.ready.await(static_cast<std::uint32_t>(w.producers));
  area.go.add();
  sleep(std::min(kWarmUp, w.milliseconds));
  const Look first = look();
  Look last;
  do {
    sleep(w.milliseconds);
    last = look();
  } while (last.taken == first.taken);  // on a busy machine the shortest windows may be too short
  area.stop = true;
  area.rate = static_cast<double>(last.taken - first.taken) / (static_cast<double>(last.at - first.at) / 1e9);
}

template <class C>
Samples rate(const Workload& w) {
  if (static_cast<std::size_t>(std::max(w.producers, w.consumers)) > kMostParties)
    throw std::logic_error("more parties than there is room for");
  auto& area = shared<RateArea>();
  typename C::Link link(w);
  const auto all_consumers = static_cast<std::uint32_t>(w.consumers);
  std::vector<pid_t> parties;
  for (int who = 0; who < w.consumers; ++who) {
    parties.push_back(fork_party([&, who] {
      area.opened.await(static_cast<std::uint32_t>(who));
      typename C::Receiver receiver(link, w, who);
      area.opened.add();
      if (w.one_to_one()) pin(1);
      consume<C>(w, area, static_cast<std::size_t>(who), receiver);
      area.finished.add();
      area.finished.await(all_consumers);
    }));
  }
  for (int who = 0; who < w.producers; ++who) {
    parties.push_back(fork_party([&, who] {
      area.opened.await(all_consumers);
      typename C::Sender sender(link, w, who);
      if (w.one_to_one()) pin(0);
      area.ready.add();
      area.go.await(1);
      produce<C>(w, area, static_cast<std::size_t>(who), sender);
      area.finished.await(all_consumers);  // what was sent last is lost where the sender closes too early
    }));
  }
  parties.push_back(fork_party([&] { watch(w, area); }));
  join_parties(parties);

  for (std::size_t producer = 0; producer < kMostParties; ++producer) {
    std::uint64_t count = 0;
    std::uint64_t sum = 0;
    for (const RateArea::Consumer& consumer : area.consumers) {
      count += consumer.tallies[producer].count;
      sum += consumer.tallies[producer].sum;
    }
    if (count != area.sent[producer].count || sum != area.sent[producer].sum)
      throw std::runtime_error("messages were lost or doubled");
  }
  return {area.rate};
}

/// The whole cell. Processes and helper threads stay on two processors; two parties get one each.
template <class C>
Samples run_channel(const Workload& w) {
  pin_to_two();
  switch (w.shape) {
    case Shape::round_trip: return round_trips<C>(w);
    case Shape::asleep: return trips_asleep<C>(w);
    case Shape::rate: return rate<C>(w);
  }
  throw std::logic_error("no such shape");
}

}  // namespace bench
