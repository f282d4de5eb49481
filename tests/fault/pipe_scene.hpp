// PipeScene: what the scenes of a Connection have in common. The victim and its rivals use end `a`, everybody else `b`.
#pragma once

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "brood/connection.hpp"
#include "brood/error.hpp"
#include "fault/parcels.hpp"

namespace fault {

using brood::Connection;

/// The smallest ring: 512 units; and memory for two messages in place.
inline constexpr std::size_t kPipeLoans = 2;
inline const brood::PipeOptions kSmallPipe{.ring_bytes = 4096, .loan_budget = kPipeLoans * 4096};

/// What one attempt to receive came to: a key, kNone if nothing was there, kTorn, or one of these.
inline constexpr Key kBroken = -2;
inline constexpr Key kEnd = -3;

template <class I>
Key key_received(Connection<I>& end) {
  try {
    const auto got = end.try_recv();
    return got ? ItemOf<I>::key(*got) : kNone;
  } catch (const brood::BrokenMessage&) {
    return kBroken;
  } catch (const brood::EndOfFile&) {
    return kEnd;
  }
}

/// All that can be received now. A broken message is an entry, the end is not.
template <class I>
std::vector<Key> drained(Connection<I>& end) {
  std::vector<Key> found;
  for (Key key = key_received(end); key != kNone && key != kEnd; key = key_received(end)) found.push_back(key);
  return found;
}

/// Messages that an empty pipe takes before it is full.
template <class I>
int filled(Connection<I>& sender) {
  int count = 0;
  while (sender.try_send(ItemOf<I>::make(kJudges + count))) ++count;
  return count;
}

/// An empty pipe takes as much as on its first day and gives it back in order.
template <class I>
void must_work(Connection<I>& sender, Connection<I>& receiver) {
  must(!receiver.poll(), "an emptied pipe can be polled");
  auto [fresh, other] = brood::pipe<I>(kSmallPipe);
  const int most = filled(fresh);
  const int count = filled(sender);
  must(count == most, "room for " + std::to_string(count) + " messages, not for " + std::to_string(most));
  must(drained(receiver) == keys_from(kJudges, kJudges + count - 1), "a filled pipe gave back something else");
}

/// Sends its messages one after the other; its value 0 is how many are sent.
template <class I>
Actor sender(Connection<I>& end, std::vector<Key> keys) {
  return Actor([&end, keys = std::move(keys)](Self& self) {
    self.mark(1);
    std::int64_t done = 0;
    for (const Key key : keys) {
      end.send(ItemOf<I>::make(key));
      self.set(0, ++done);
    }
  });
}

/// Receives `count` messages; its values 0, 1, … are their keys. Broken ones count.
template <class I>
Actor receiver(Connection<I>& end, int count = 1) {
  return Actor([&end, count](Self& self) {
    self.mark(1);
    for (int i = 0; i < count; ++i) {
      try {
        self.set(i, ItemOf<I>::key(end.recv()));
      } catch (const brood::BrokenMessage&) {
        self.set(i, kBroken);
      } catch (const brood::EndOfFile&) {
        self.set(i, kEnd);
      }
    }
  });
}

template <class I>
struct PipeScene : Scene {
  explicit PipeScene(bool favourite = false) : PipeScene(brood::pipe<I>(kSmallPipe), favourite) {}
  Connection<I> a;
  Connection<I> b;
  bool favourite_;
  Ledger& ledger = renewed<Ledger>();
  I item = ItemOf<I>::make(kVictims + 1);

  /// The victim sends `from` … `to` through `end`.
  static void fill(Connection<I>& end, Key from, Key to) {
    for (Key n = from; n <= to; ++n) end.send(ItemOf<I>::make(kVictims + n));
  }
  /// Runs once through the code that the operation is going to use, and holds `a`.
  void ready() override {
    using namespace std::chrono_literals;
    settle_in();
    auto [one, other] = brood::pipe<I>(kSmallPipe);
    // Not 32, since every 32nd wait tries the full spin again.
    for (int i = 0; i < 24; ++i) (void)one.try_recv_for(1ns);
    (void)one.try_recv_for(1ms);
    (void)filled(one);
    for (int i = 0; i < 24; ++i) (void)one.try_send_for(item, 1ns);
    (void)one.try_send_for(item, 1ms);
    (void)other.poll();
    (void)drained(other);
    (void)a.handle();
    // So often that it needs no lock any more.
    if (favourite_) {
      for (int i = 0; i < 40; ++i) {
        a.send(item);
        (void)b.recv();
        b.send(item);
        (void)a.recv();
      }
    }
  }
  /// A fresh process finds one of these in end `to`, and both directions work.
  void judge_contents(Findings& findings, Connection<I>& from, Connection<I>& to, const Outcomes& right) {
    findings.fresh("a fresh process", [&](Self&) {
      auto in = Connection<I>::open(to.handle());
      auto out = Connection<I>::open(from.handle());
      must_be_one_of(drained(in), right);
      must_work(out, in);
      must_work(in, out);
    });
  }
  [[nodiscard]] Outcomes with_or_without(const std::vector<Key>& before, Key victims) const {
    if (ledger.returned != 0) return {before + victims};
    return {before, before + victims};
  }

 private:
  PipeScene(std::pair<Connection<I>, Connection<I>> ends, bool favourite)
      : a(std::move(ends.first)), b(std::move(ends.second)), favourite_(favourite) {}
};

}  // namespace fault
