// Cost against the number of objects, by kind of object, and against the depth of a queue.
#include <chrono>

#include "brood/barrier.hpp"
#include "brood/condition.hpp"
#include "brood/event.hpp"
#include "brood/lock.hpp"
#include "brood/queue.hpp"
#include "brood/rlock.hpp"
#include "brood/semaphore.hpp"
#include "brood/value.hpp"
#include "peers_locks.hpp"
#include "topics.hpp"

namespace bench {
namespace {

/// {one of them again and again, each in turn}: ns a pair while `count` locks are open.
Samples many_locks_cell(int count, int batches) {
  pin(0);
  std::vector<brood::Lock> locks(static_cast<std::size_t>(count));
  const Samples one = time_batches(batches, [&] {
    locks.front().lock();
    locks.front().unlock();
  });
  std::size_t next = 0;
  const Samples each = time_batches(batches, [&] {
    locks[next].lock();
    locks[next].unlock();
    if (++next == locks.size()) next = 0;
  });
  return {median(one), median(each)};
}

/// {create and free, open in another process and close}: µs.
template <class Make, class Open>
Samples object_cell(int count, Make make, Open open) {
  constexpr int kHandles = 64;
  struct Area {
    Gate made, over;
    HandlePlace handles[kHandles];
  };
  auto& area = shared<Area>();
  const pid_t maker = fork_party([&] {
    std::vector<decltype(make())> objects;
    for (HandlePlace& place : area.handles) {
      objects.push_back(make());
      place.put(objects.back().handle());
    }
    area.made.add();
    area.over.await(1);
  });
  area.made.await(1);
  pin(0);
  Samples opening, creating;
  (void)make();  // this process joins the domain
  for (int i = 0; i < count; ++i) {
    std::uint64_t from = now_ns();
    (void)make();
    creating.push_back(static_cast<double>(now_ns() - from) / 1e3);
    const char* handle = area.handles[i % kHandles].text;
    from = now_ns();
    (void)open(handle);
    opening.push_back(static_cast<double>(now_ns() - from) / 1e3);
  }
  area.over.add();
  join_party(maker);
  return {median(creating), median(opening)};
}

/// Nanoseconds for a put and a get while so many items lie in between.
Samples depth_cell(int depth, int batches) {
  pin(0);
  brood::Queue<int> queue;
  for (int i = 0; i < depth; ++i) queue.put(i);
  return time_batches(batches, [&] {
    queue.put(1);
    (void)queue.get();
  });
}

/// Milliseconds from the start of a process's first use of brood until it has a lock.
Samples join_cell(int times) {
  struct Area {
    std::uint64_t took;
  };
  auto& area = shared<Area>();
  Samples samples;
  for (int i = 0; i < times; ++i) {
    join_party(fork_party([&] {
      const std::uint64_t from = now_ns();
      brood::Lock lock;
      lock.lock();
      area.took = now_ns() - from;
      lock.unlock();
    }));
    samples.push_back(static_cast<double>(area.took) / 1e6);
  }
  return samples;
}

}  // namespace

void sync_curves(Report& report, const Settings& settings) {
  const int batches = settings.count(100, 3);
  for (const int count : {1, 10, 100, 1000, 10000}) {
    if (settings.quick && count > 100) continue;
    const Samples pair = run_cell("many locks", [=] { return many_locks_cell(count, batches); });
    report.curve("locks open: ns a lock+unlock pair of one of them; of each in turn", std::to_string(count),
                 digits(pair[0]) + "; " + digits(pair[1]));
  }

  const int times = settings.count(300, 5);
  const auto object = [&](const char* name, auto make, auto open) {
    const Samples cost = run_cell(name, [=] { return object_cell(times, make, open); });
    report.curve("objects: µs to create and free; to open another process's and close", name,
                 digits(cost[0]) + "; " + digits(cost[1]) + "; together " + digits(cost[0] + cost[1]));
  };
  using namespace brood;
  object(
      "Lock", [] { return Lock(); }, [](const char* handle) { return Lock::open(handle); });
  object(
      "RLock", [] { return RLock(); }, [](const char* handle) { return RLock::open(handle); });
  object(
      "Semaphore", [] { return Semaphore(); }, [](const char* handle) { return Semaphore::open(handle); });
  object(
      "BoundedSemaphore", [] { return BoundedSemaphore(); },
      [](const char* handle) { return BoundedSemaphore::open(handle); });
  object(
      "Event", [] { return Event(); }, [](const char* handle) { return Event::open(handle); });
  object(
      "Condition", [] { return Condition(); }, [](const char* handle) { return Condition::open(handle); });
  object(
      "Barrier", [] { return Barrier(2); }, [](const char* handle) { return Barrier::open(handle); });
  object(
      "Value<int>", [] { return Value<int>(); }, [](const char* handle) { return Value<int>::open(handle); });
  object(
      "Queue<int>", [] { return Queue<int>(); }, [](const char* handle) { return Queue<int>::open(handle); });

  const Samples join = run_cell("first use", [=] { return join_cell(settings.count(50, 2)); });
  report.curve("first use of brood in a process, until it holds a new lock: ms", "p50; p99",
               digits(median(join)) + "; " + digits(quantile(join, 0.99)));

  for (const int depth : {0, 1000, 100000}) {
    if (settings.quick && depth > 1000) continue;
    const Samples pair = run_cell("queue depth", [=] { return depth_cell(depth, batches); });
    report.curve("Queue<int>, one process: ns for put+get while so many items wait", std::to_string(depth),
                 digits(median(pair)));
  }
}

}  // namespace bench
