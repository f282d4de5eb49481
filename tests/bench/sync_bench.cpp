// Locks and semaphores against the peers.
#include <signal.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <stdexcept>
#include <thread>

#include "peers_locks.hpp"
#include "topics.hpp"

namespace bench {
namespace {

/// Another thread that only exists: glibc's private mutexes are cheaper in programs that never had one, which is no
/// comparison for anything that works between processes.
class IdleThread {
 public:
  IdleThread()
      : thread_([this] {
          std::unique_lock guard(mutex_);
          over_changed_.wait(guard, [this] { return over_; });
        }) {}
  ~IdleThread() {
    {
      const std::scoped_lock guard(mutex_);
      over_ = true;
    }
    over_changed_.notify_one();
    thread_.join();
  }
  IdleThread(const IdleThread&) = delete;
  IdleThread& operator=(const IdleThread&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable over_changed_;
  bool over_ = false;
  std::thread thread_;
};

/// The second user of a lock: a process, or a thread for what works between threads only.
template <class L>
class Party {
 public:
  explicit Party(const std::function<void()>& body) {
    if constexpr (L::kThreads) {
      thread_ = std::thread(body);
    } else {
      pid_ = fork_party(body);
    }
  }
  void join() {
    if constexpr (L::kThreads) {
      thread_.join();
    } else {
      join_party(pid_);
    }
  }

 private:
  std::thread thread_;
  pid_t pid_ = -1;
};

// --- uncontended
// -------------------------------------------------------------------------------------------------------

template <class L>
Samples pair_cell(int batches) {
  const IdleThread idle;
  auto& place = shared<typename L::Place>();
  L lock(place, true);
  pin(0);
  return time_batches(batches, [&] {
    lock.lock();
    lock.unlock();
  });
}

// --- hand-over to a sleeper
// --------------------------------------------------------------------------------------------

template <class L>
Samples handover_cell(int repetitions) {
  struct Area {
    typename L::Place place;
    Gate created, turn, done;
    std::atomic<std::uint32_t> entering;
    std::atomic<pid_t> pid, tid;
    std::atomic<std::uint64_t> taken_at;
  };
  auto& area = shared<Area>();
  Party<L> sleeper([&] {
    pin(1);
    area.created.await(1);
    L lock(area.place, false);
    area.pid = ::getpid();
    area.tid = this_thread();
    for (int i = 0; i < repetitions; ++i) {
      area.turn.await(static_cast<std::uint32_t>(i) + 1);
      area.entering.fetch_add(1);
      lock.lock();
      area.taken_at = now_ns();
      lock.unlock();
      area.done.add();
    }
  });
  pin(0);
  Samples samples;
  {
    L lock(area.place, true);
    area.created.add();
    for (int i = 0; i < repetitions; ++i) {
      const auto turn = static_cast<std::uint32_t>(i) + 1;
      lock.lock();
      area.turn.add();
      while (area.entering.load() != turn) std::this_thread::yield();
      await_asleep(area.pid, area.tid);
      const std::uint64_t released_at = now_ns();
      lock.unlock();
      area.done.await(turn);
      samples.push_back(static_cast<double>(area.taken_at - released_at) / 1e3);
    }
    sleeper.join();
  }
  return samples;
}

// --- two at once
// -------------------------------------------------------------------------------------------------------

/// Acquisitions a second of two processes together; `body` steps inside the lock and three times as many outside.
template <class L>
Samples contended_cell(int milliseconds, int body) {
  struct Area {
    typename L::Place place;
    Gate created, ready, go;
    std::atomic<bool> stop;
    alignas(64) volatile std::uint64_t guarded;
    struct alignas(64) Count {
      std::uint64_t taken;
    } counts[2];
  };
  auto& area = shared<Area>();
  const auto compete = [&area, body](int who) {
    pin(who);
    area.created.await(1);
    L lock(area.place, false);
    area.ready.add();
    area.go.await(1);
    std::uint64_t taken = 0;
    while (!area.stop.load(std::memory_order_relaxed)) {
      lock.lock();
      area.guarded = area.guarded + 1;
      work(body);
      lock.unlock();
      ++taken;
      work(3 * body);
    }
    area.counts[who].taken = taken;
  };
  Party<L> first([&] { compete(0); });
  Party<L> second([&] { compete(1); });
  L lock(area.place, true);
  area.created.add();
  area.ready.await(2);
  const std::uint64_t from = now_ns();
  area.go.add();
  const timespec pause{milliseconds / 1000, milliseconds % 1000 * 1'000'000L};
  ::nanosleep(&pause, nullptr);
  area.stop = true;
  const double seconds = static_cast<double>(now_ns() - from) / 1e9;
  first.join();
  second.join();
  const std::uint64_t taken = area.counts[0].taken + area.counts[1].taken;
  if (area.guarded != taken) throw std::runtime_error("the lock does not exclude: updates were lost");
  return {static_cast<double>(taken) / seconds};
}

// --- the holder is killed
// ----------------------------------------------------------------------------------------------

struct Recovery {
  int kills = 0;
  int waiters = 1;
  std::size_t holder_megabytes = 0;
};

/// Milliseconds from kill(holder, SIGKILL) until the first of the waiters, all asleep in lock(), holds the lock.
template <class L>
Samples recovery_cell(const Recovery& recovery) {
  struct Area {
    typename L::Place place;
    Gate created, opened, turn, done, held;
    std::atomic<std::uint32_t> entering;
    std::atomic<std::uint64_t> taken_at;
  };
  auto& area = shared<Area>();
  // This process only forks, so it uses no lock: the first waiter makes it.
  std::vector<pid_t> waiters;
  for (int who = 0; who < recovery.waiters; ++who) {
    waiters.push_back(fork_party([&area, &recovery, who] {
      if (who != 0) area.created.await(1);
      L lock(area.place, who == 0);
      if (who == 0) area.created.add();
      area.opened.add();
      for (int i = 0; i < recovery.kills; ++i) {
        area.turn.await(static_cast<std::uint32_t>(i) + 1);
        area.entering.fetch_add(1);
        lock.lock_after_death([&area] {
          std::uint64_t nobody = 0;
          area.taken_at.compare_exchange_strong(nobody, now_ns());
        });
        area.done.add();
      }
    }));
  }
  const auto parties = static_cast<std::uint32_t>(recovery.waiters);
  area.opened.await(parties);
  Samples samples;
  for (int i = 0; i < recovery.kills; ++i) {
    const auto turn = static_cast<std::uint32_t>(i) + 1;
    const pid_t holder = fork_party([&] {
      if (recovery.holder_megabytes != 0) touch_ballast(recovery.holder_megabytes);
      L lock(area.place, false);
      lock.lock();
      area.held.add();
      for (;;) ::pause();
    });
    area.held.await(turn);
    area.turn.add();
    while (area.entering.load() != turn * parties) std::this_thread::yield();
    await_all_asleep(waiters);
    area.taken_at = 0;
    const std::uint64_t killed_at = now_ns();
    ::kill(holder, SIGKILL);
    area.done.await(turn * parties);
    samples.push_back(static_cast<double>(area.taken_at - killed_at) / 1e6);
    kill_party(holder);  // it is dead already: reaps
  }
  for (const pid_t pid : waiters) join_party(pid);
  return samples;
}

}  // namespace

void lock_cases(Report& report, const Settings& settings) {
  const int batches = settings.count(200, 5);
  report.measure({.topic = "sync",
                  .figures = {{"lock.pair"}},
                  .unit = "ns",
                  .ours = [=] { return pair_cell<BroodLock<>>(batches); },
                  .peers =
                      [&] {
                        std::vector<Contender> peers = {
                            {"pthread-robust", [=] { return pair_cell<PthreadMutex<true>>(batches); }},
                            {"boost-interprocess_mutex", [=] { return pair_cell<BoostMutex>(batches); }},
                            {"pthread-pshared", [=] { return pair_cell<PthreadMutex<false>>(batches); }},
                            {"sem_t", [=] { return pair_cell<PosixSemaphore>(batches); }},
                            {"boost-named_mutex", [=] { return pair_cell<BoostNamedMutex>(batches); }},
                            {"std-mutex", [=] { return pair_cell<StdMutex>(batches); }},
                        };
                        for (const Contender& c : python_peer(settings, "python-Lock",
                                                              "lock_pair " + std::to_string(settings.count(100, 3))))
                          peers.push_back(c);
                        return peers;
                      }()});

  const int handovers = settings.count(200, 10);
  report.measure({.topic = "sync",
                  .figures = {{"lock.handover"}},
                  .unit = "µs",
                  .ours = [=] { return handover_cell<BroodLock<>>(handovers); },
                  .peers = {
                      {"pthread-pshared", [=] { return handover_cell<PthreadMutex<false>>(handovers); }},
                      {"pthread-robust", [=] { return handover_cell<PthreadMutex<true>>(handovers); }},
                      {"sem_t", [=] { return handover_cell<PosixSemaphore>(handovers); }},
                      {"boost-interprocess_mutex", [=] { return handover_cell<BoostMutex>(handovers); }},
                      {"boost-named_mutex", [=] { return handover_cell<BoostNamedMutex>(handovers); }},
                      {"std-mutex", [=] { return handover_cell<StdMutex>(handovers); }},
                  }});

  const int milliseconds = settings.count(200, 20);
  for (const auto& [name, body] : {std::pair{"lock.contended2", 0}, std::pair{"lock.contended2.body", 100}}) {
    const int steps = body;  // a structured binding cannot be captured
    report.measure({.topic = "sync",
                    .figures = {{name}},
                    .unit = "1/s",
                    .lower_is_better = false,
                    .ours = [=] { return contended_cell<BroodLock<>>(milliseconds, steps); },
                    .peers = {
                        {"pthread-robust", [=] { return contended_cell<PthreadMutex<true>>(milliseconds, steps); }},
                        {"pthread-pshared", [=] { return contended_cell<PthreadMutex<false>>(milliseconds, steps); }},
                        {"sem_t", [=] { return contended_cell<PosixSemaphore>(milliseconds, steps); }},
                        {"boost-interprocess_mutex", [=] { return contended_cell<BoostMutex>(milliseconds, steps); }},
                        {"boost-named_mutex", [=] { return contended_cell<BoostNamedMutex>(milliseconds, steps); }},
                        {"std-mutex", [=] { return contended_cell<StdMutex>(milliseconds, steps); }},
                    }});
  }

  constexpr double kQ99 = 0.99;
  const auto recovery = [&](const std::string& name, const Recovery& how) {
    report.measure({.topic = "sync",
                    .figures = {{name, kQ99}, {name + ".p50"}},
                    .unit = "ms",
                    .ours = [=] { return recovery_cell<BroodLock<>>(how); },
                    .peers = {{"pthread-robust", [=] { return recovery_cell<PthreadMutex<true>>(how); }}},
                    .constants = {{"limit-5ms", 5.0}}});
  };
  recovery("lock.recovery", {.kills = settings.count(100, 3)});
  recovery("lock.recovery.waiters5", {.kills = settings.count(50, 2), .waiters = 5});
  recovery("lock.recovery.1g",
           {.kills = settings.count(5, 1), .holder_megabytes = static_cast<std::size_t>(settings.count(1024, 16))});
  const Recovery heal = {.kills = settings.count(100, 3)};
  report.measure({.topic = "sync",
                  .figures = {{"lock.recovery.heal", kQ99}, {"lock.recovery.heal.p50"}},
                  .unit = "ms",
                  .ours = [=] { return recovery_cell<BroodLock<brood::OwnerDeath::heal>>(heal); },
                  .peers = {},
                  .constants = {{"limit-5ms", 5.0}}});

  report.measure({.topic = "sync",
                  .figures = {{"semaphore.pair"}},
                  .unit = "ns",
                  .ours = [=] { return pair_cell<BroodSemaphore<brood::Semaphore>>(batches); },
                  .peers = {{"sem_t", [=] { return pair_cell<PosixSemaphore>(batches); }}}});
  report.measure({.topic = "sync",
                  .figures = {{"bounded_semaphore.pair"}},
                  .unit = "ns",
                  .ours = [=] { return pair_cell<BroodSemaphore<brood::BoundedSemaphore>>(batches); },
                  .peers = {{"sem_t", [=] { return pair_cell<PosixSemaphore>(batches); }}}});
}

}  // namespace bench
