// Events, conditions and barriers against the peers.
#include <algorithm>
#include <array>
#include <thread>

#include "peers_wake.hpp"
#include "topics.hpp"

namespace bench {
namespace {

constexpr int kMostWaiters = 64;

/// Microseconds from set() until the last of `waiters` processes, all asleep in wait(), runs.
template <class E>
Samples broadcast_cell(int waiters, int repetitions) {
  struct Area {
    typename E::Place place;
    Gate created, turn;
    std::atomic<std::uint32_t> entering, done;
    std::array<std::uint64_t, kMostWaiters> woken_at;
  };
  auto& area = shared<Area>();
  std::vector<pid_t> pids;
  for (int who = 0; who < waiters; ++who) {
    pids.push_back(fork_party([&area, repetitions, who] {
      area.created.await(1);
      E event(area.place, false);
      for (int i = 0; i < repetitions; ++i) {
        area.turn.await(static_cast<std::uint32_t>(i) + 1);
        area.entering.fetch_add(1);
        event.wait();
        area.woken_at[static_cast<std::size_t>(who)] = now_ns();
        area.done.fetch_add(1);
      }
    }));
  }
  E event(area.place, true);
  area.created.add();
  // Looked at now and then: a wake-up for each of the woken would be part of what is measured.
  const auto await = [](const std::atomic<std::uint32_t>& count, std::uint32_t wanted) {
    while (count.load() != wanted) std::this_thread::sleep_for(std::chrono::microseconds(200));
  };
  Samples samples;
  for (int i = 0; i < repetitions; ++i) {
    const std::uint32_t all = (static_cast<std::uint32_t>(i) + 1) * static_cast<std::uint32_t>(waiters);
    area.turn.add();
    await(area.entering, all);
    await_all_asleep(pids);
    const std::uint64_t set_at = now_ns();
    event.set();
    await(area.done, all);
    const std::uint64_t last = *std::max_element(area.woken_at.begin(), area.woken_at.begin() + waiters);
    samples.push_back(static_cast<double>(last - set_at) / 1e3);
    event.clear();
  }
  for (const pid_t pid : pids) join_party(pid);
  return samples;
}

/// Two processes pass a turn to and fro under a condition: microseconds a round trip.
template <class C>
Samples ping_cell(int batches) {
  constexpr int kTrips = 100;
  struct Area {
    typename C::Place place;
    Gate created;
    int turn;  // guarded by the condition's lock
  };
  auto& area = shared<Area>();
  const auto play = [&area](C& condition, int me) {
    condition.await([&] { return area.turn == me; });
    condition.change([&] { area.turn = 1 - me; });
  };
  const pid_t other = fork_party([&] {
    pin(1);
    area.created.await(1);
    C condition(area.place, false);
    for (int i = 0; i < batches * kTrips; ++i) play(condition, 1);
  });
  pin(0);
  C condition(area.place, true);
  area.created.add();
  Samples samples;
  for (int batch = 0; batch < batches; ++batch) {
    const std::uint64_t from = now_ns();
    for (int i = 0; i < kTrips; ++i) play(condition, 0);
    samples.push_back(static_cast<double>(now_ns() - from) / kTrips / 1e3);
  }
  join_party(other);
  return samples;
}

/// Microseconds from one pass of a barrier to the next.
template <class B>
Samples barrier_cell(int parties, int batches) {
  constexpr int kPasses = 20;
  struct Area {
    typename B::Place place;
    Gate created;
  };
  auto& area = shared<Area>();
  std::vector<pid_t> pids;
  const auto count = static_cast<unsigned>(parties);
  for (int who = 1; who < parties; ++who) {
    pids.push_back(fork_party([&area, parties, count, batches, who] {
      if (parties == 2) pin(who);
      area.created.await(1);
      B barrier(area.place, false, count);
      for (int i = 0; i < 1 + batches * kPasses; ++i) barrier.wait();
    }));
  }
  if (parties == 2) pin(0);
  B barrier(area.place, true, count);
  area.created.add();
  barrier.wait();
  Samples samples;
  for (int batch = 0; batch < batches; ++batch) {
    const std::uint64_t from = now_ns();
    for (int i = 0; i < kPasses; ++i) barrier.wait();
    samples.push_back(static_cast<double>(now_ns() - from) / kPasses / 1e3);
  }
  for (const pid_t pid : pids) join_party(pid);
  return samples;
}

}  // namespace

void wake_cases(Report& report, const Settings& settings) {
  for (const int waiters : {1, 8, 64}) {
    const int repetitions = settings.count(waiters == 64 ? 40 : 100, 3);
    std::vector<Contender> peers = {
        {"pthread-cond", [=] { return broadcast_cell<EventOf<PthreadCondition>>(waiters, repetitions); }},
        {"boost-interprocess_condition", [=] { return broadcast_cell<EventOf<BoostCondition>>(waiters, repetitions); }},
    };
    const std::string arguments =
        "event_broadcast " + std::to_string(waiters) + " " + std::to_string(settings.count(20, 2));
    for (const Contender& c : python_peer(settings, "python-Event", arguments)) peers.push_back(c);
    report.measure({.topic = "sync",
                    .figures = {{"event.broadcast" + std::to_string(waiters)}},
                    .unit = "µs",
                    .ours = [=] { return broadcast_cell<BroodEvent>(waiters, repetitions); },
                    .peers = peers});
  }

  const int pings = settings.count(100, 3);
  report.measure({.topic = "sync",
                  .figures = {{"condition.ping"}},
                  .unit = "µs",
                  .ours = [=] { return ping_cell<BroodCondition>(pings); },
                  .peers = {
                      {"pthread-cond", [=] { return ping_cell<PthreadCondition>(pings); }},
                      {"boost-interprocess_condition", [=] { return ping_cell<BoostCondition>(pings); }},
                  }});

  const int passes = settings.count(100, 3);
  for (const int parties : {2, 8}) {
    report.measure({.topic = "sync",
                    .figures = {{"barrier.cycle" + std::to_string(parties)}},
                    .unit = "µs",
                    .ours = [=] { return barrier_cell<BroodBarrier>(parties, passes); },
                    .peers = {{"pthread-barrier", [=] { return barrier_cell<PthreadBarrier>(parties, passes); }}}});
  }
}

}  // namespace bench
