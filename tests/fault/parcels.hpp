// Parcels: items that show who put them and whether they are whole, and the ledger of what a victim got done.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "brood/queue.hpp"
#include "fault/scene.hpp"
#include "fault/warm.hpp"

namespace fault {

/// Who put an item (hundreds) and its number in the order of that producer (from 1).
using Key = std::int64_t;
inline constexpr Key kNone = 0;
inline constexpr Key kTorn = -1;
inline constexpr Key kVictims = 100;  ///< 101, 102, … were put by the victim
inline constexpr Key kOthers = 200;   ///< by a process that was there beside it
inline constexpr Key kJudges = 300;   ///< by a process that came after its death

/// Plain data of kBytes whose every word depends on the key: mixed with anything else it is not whole.
template <std::size_t kBytes>
struct Parcel {
  std::array<std::uint64_t, kBytes / 8> words{};
};

constexpr std::uint64_t word_of(Key key, std::size_t index) noexcept {
  return (static_cast<std::uint64_t>(key) + (index << 32)) * 0x9e3779b97f4a7c15ULL;
}

template <class I>
struct ItemOf;

template <std::size_t kBytes>
struct ItemOf<Parcel<kBytes>> {
  static Parcel<kBytes> make(Key key) {
    Parcel<kBytes> out;
    out.words[0] = static_cast<std::uint64_t>(key);
    for (std::size_t i = 1; i < out.words.size(); ++i) out.words[i] = word_of(key, i);
    return out;
  }
  /// kTorn if it is not whole.
  static Key key(const Parcel<kBytes>& item) {
    const auto key = static_cast<Key>(item.words[0]);
    for (std::size_t i = 1; i < item.words.size(); ++i) {
      if (item.words[i] != word_of(key, i)) return kTorn;
    }
    return key;
  }
  static constexpr std::size_t kPayload = kBytes;
};

template <>
struct ItemOf<std::string> {
  static std::string make(Key key) {
    return std::to_string(key) + ':' + std::string(67, static_cast<char>('0' + key % 77));
  }
  static Key key(const std::string& item) {
    const Key key = std::atol(item.c_str());
    return item == make(key) ? key : kTorn;
  }
  static constexpr std::size_t kPayload = 73;  // two bytes of MessagePack, four of the key, 67 characters
};

/// What the victim writes down. It may be killed before it can, never after it did.
struct Ledger {
  std::atomic<int> returned{0};  ///< the operation came back
  std::atomic<int> said{0};      ///< its answer, if it has one
  std::atomic<Key> took{kNone};
};

/// The same shared memory for every killing, as new.
template <class T>
T& renewed() {
  static T& it = shared<T>();
  return *new (&it) T{};
}

template <class I>
std::vector<Key> drain(brood::Queue<I>& queue) {
  std::vector<Key> found;
  while (const auto item = queue.try_get()) found.push_back(ItemOf<I>::key(*item));
  return found;
}

inline std::string listed(const std::vector<Key>& keys) {
  std::string out = "[";
  for (const Key key : keys) out += (out.size() > 1 ? " " : "") + std::to_string(key);
  return out + "]";
}

/// from, from+1, … to.
inline std::vector<Key> keys_from(Key from, Key to) {
  std::vector<Key> out;
  for (Key key = from; key <= to; ++key) out.push_back(key);
  return out;
}
inline std::vector<Key> operator+(std::vector<Key> list, Key last) {
  list.push_back(last);
  return list;
}

/// Contents that are right; which of them is for the death to decide.
using Outcomes = std::vector<std::vector<Key>>;

inline void must_be_one_of(const std::vector<Key>& found, const Outcomes& right) {
  if (std::find(right.begin(), right.end(), found) != right.end()) return;
  std::string expected;
  for (const auto& one : right) expected += " " + listed(one);
  must(false, "in the queue is " + listed(found) + ", right were" + expected);
}

inline constexpr std::chrono::seconds kComesBack{10};

/// An empty queue takes as many items as it did on its first day, says how many it has, and hands them out in order: a
/// count that is off by one or a unit of the ring that is lost for ever shows here.
template <class I>
void must_work(brood::Queue<I>& queue) {
  // A record takes a header and the payload in whole units of 8 bytes; the header behind the last one takes one more.
  const std::size_t units = 1 + (ItemOf<I>::kPayload + 7) / 8;
  constexpr std::size_t kPage = 4096;
  constexpr std::size_t kPages = (ItemOf<I>::kPayload + kPage - 1) / kPage;
  const bool in_chunks = ItemOf<I>::kPayload >= brood::detail::QueueCore::kChunkFrom;
  const std::size_t most = queue.capacity() != 0 ? queue.capacity()
                           : in_chunks           ? queue.byte_budget() / kPage / kPages
                                                 : (queue.byte_budget() / 8 - 1) / units;
  must(queue.empty() && queue.qsize() == 0, "an emptied queue says that it is not empty");
  const auto key = [](std::size_t i) { return kJudges + static_cast<Key>(i); };
  for (std::size_t i = 1; i <= most; ++i) {
    // Memory that a dead process held comes back when its death is known; that is waited for.
    if (!queue.try_put_for(ItemOf<I>::make(key(i)), kComesBack))
      must(false, "room for " + std::to_string(i - 1) + " items, not for " + std::to_string(most));
  }
  must(queue.qsize() == most && !queue.empty(), "a filled queue says that it has " + std::to_string(queue.qsize()));
  must(!queue.try_put(ItemOf<I>::make(key(most + 1))), "more fits in than before");
  must(drain(queue) == keys_from(key(1), key(most)), "a filled queue gave back something else");
  must(queue.empty() && queue.qsize() == 0 && !queue.full(), "the queue does not work any more");
}

/// A fresh process opens the queue, finds one of the right contents in it, and the queue works.
template <class I>
void judge_contents(Findings& findings, const brood::Handle& handle, const Outcomes& right) {
  findings.fresh("a fresh process", [&](Self&) {
    auto queue = brood::Queue<I>::open(handle);
    const std::size_t said = queue.qsize();
    const auto found = drain(queue);
    must_be_one_of(found, right);
    must(said == found.size(), "qsize() said " + std::to_string(said) + ", in it were " + listed(found));
    must_work(queue);
  });
}

/// Puts its items one after the other; its value 0 is how many it has put.
template <class I>
Actor putter(brood::Queue<I>& queue, std::vector<Key> keys) {
  return Actor([&queue, keys = std::move(keys)](Self& self) {
    self.mark(1);
    std::int64_t done = 0;
    for (const Key key : keys) {
      queue.put(ItemOf<I>::make(key));
      self.set(0, ++done);
    }
  });
}

/// Takes `count` items; its values 0, 1, … are their keys.
template <class I>
Actor taker(brood::Queue<I>& queue, int count = 1) {
  return Actor([&queue, count](Self& self) {
    self.mark(1);
    for (int i = 0; i < count; ++i) self.set(i, ItemOf<I>::key(queue.get()));
  });
}

template <class I>
struct QueueScene : Scene {
  explicit QueueScene(const brood::QueueOptions& options) : queue(options) {}
  brood::Queue<I> queue;
  Ledger& ledger = renewed<Ledger>();
  I item{};  ///< what the victim is going to put

  /// The victim puts its items `from` … `to`.
  void fill(Key from, Key to) {
    for (Key n = from; n <= to; ++n) queue.put(ItemOf<I>::make(kVictims + n));
  }
  /// Moves head and tail on by `items` records.
  void turn(int items) {
    for (int i = 0; i < items; ++i) {
      queue.put(ItemOf<I>::make(kVictims));
      (void)queue.get();
    }
  }
  /// Runs once through code of put and get that the operation is going to use.
  void ready() override {
    settle_in();
    brood::Queue<I> scratch(brood::QueueOptions{.capacity = 2, .byte_budget = queue.byte_budget()});
    scratch.put(ItemOf<I>::make(1));
    (void)scratch.try_put(ItemOf<I>::make(2));
    (void)ItemOf<I>::key(scratch.get());
    (void)scratch.try_get();
  }
  void put() {
    queue.put(item);
    ledger.returned = 1;
  }
  void get() { ledger.took = ItemOf<I>::key(queue.get()); }

  void judge_contents(Findings& findings, const Outcomes& right) {
    fault::judge_contents<I>(findings, queue.handle(), right);
  }
  /// Without or, unless the victim's put has returned, with its item at the end.
  [[nodiscard]] Outcomes with_or_without(const std::vector<Key>& before, Key victims) const {
    if (ledger.returned != 0) return {before + victims};
    return {before, before + victims};
  }
};

}  // namespace fault
