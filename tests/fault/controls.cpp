// Negative controls: a lock without owner and a ring without repair. A sweep that finds nothing wrong with them is
// broken.
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>

#include "fault/scene.hpp"

namespace fault {
namespace {

/// The textbook futex lock: 0 free, 1 held, 2 held and somebody sleeps. It does not know its owner.
class PlainLock {
 public:
  void lock() {
    std::uint32_t seen = 0;
    if (word_.compare_exchange_strong(seen, 1)) return;
    if (seen != 2) seen = word_.exchange(2);
    while (seen != 0) {
      ::syscall(SYS_futex, &word_, FUTEX_WAIT, 2, nullptr, nullptr, 0);
      seen = word_.exchange(2);
    }
  }
  void unlock() {
    if (word_.exchange(0) == 2) ::syscall(SYS_futex, &word_, FUTEX_WAKE, 1, nullptr, nullptr, 0);
  }

 private:
  std::atomic<std::uint32_t> word_{0};
};

/// A ring that counts what it holds, and is never repaired.
struct PlainRing {
  std::array<std::uint32_t, 64> items{};
  std::atomic<std::uint32_t> tail{0};
  std::atomic<std::uint32_t> count{0};
  std::atomic<std::uint32_t> sum{0};
  void put(std::uint32_t item) {
    items[tail % items.size()] = item;
    tail = tail + 1;
    count = count + 1;
    sum = sum + item;
  }
  [[nodiscard]] bool is_whole() const {
    std::uint32_t expected = 0;
    for (std::uint32_t i = 0; i < tail; ++i) expected += items[i % items.size()];
    return count == tail && sum == expected;
  }
};

struct PlainLockScene : Scene {
  PlainLock& lock = reset<PlainLock>();

  template <class T>
  static T& reset() {
    static T& it = shared<T>();
    return *new (&it) T;
  }
  void operate() override {
    lock.lock();
    lock.unlock();
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    const Actor taker([this](Self&) {
      lock.lock();
      lock.unlock();
    });
    findings.check(taker.await_done(Milliseconds(100)), "the lock is never free again");
  }
};

struct PlainRingScene : Scene {
  PlainRing& ring = PlainLockScene::reset<PlainRing>();
  void operate() override { ring.put(5); }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    findings.check(ring.is_whole(), "the ring is torn");
  }
};

}  // namespace

void add_controls(Operations& all) {
  add<PlainLockScene>(all, "control: futex lock without owner, lock+unlock");
  add<PlainRingScene>(all, "control: ring without repair, put");
  for (auto& operation : all) operation.control = true;
}

}  // namespace fault
