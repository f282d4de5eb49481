// Clients that are killed at random moments, whatever they hold or wait for; and the server. Nobody hangs, nothing is torn.
#include <csignal>
#include <map>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "manager/manager_support.hpp"
#include "support/sanitizers.hpp"

namespace {

using namespace manager_test;
using namespace process_test;

/// What the clients quarrel about.
struct World {
  brood::LockProxy lock;
  brood::ValueProxy<long> left;  ///< under the lock the same as the next
  brood::ValueProxy<long> right;
  brood::RLockProxy healing;
  brood::BoundedSemaphoreProxy semaphore;
  brood::ConditionProxy condition;
  brood::BarrierProxy barrier;
  brood::JoinableQueueProxy<int> jobs;
  brood::DictProxy<std::string, brood::ListProxy<int>> lists;
  brood::EventProxy end;
};
constexpr std::uint32_t kPermits = 2;
constexpr int kJobs = 20;

void use_lock(const World& world) {
  const auto repair = [&] { world.right.set(world.left.get()); };
  try {
    world.lock.lock();
  } catch (const brood::OwnerDied&) {
    (void)world.lock.recover(repair);
    return;
  }
  SCENARIO_CHECK(world.left.get() == world.right.get());
  (void)world.left.update<[](long& n) { return ++n; }>();
  (void)world.right.update<[](long& n) { return ++n; }>();
  world.lock.unlock();
}
void use_healing_lock(const World& world) {
  world.healing.lock();
  world.healing.lock();
  world.healing.unlock();
  world.healing.unlock();
}
void use_semaphore(const World& world) {
  world.semaphore.acquire();
  SCENARIO_CHECK(world.semaphore.get_value() < kPermits);
  world.semaphore.release();
}
void use_condition(const World& world, bool waits) {
  world.condition.lock();
  if (waits) world.condition.wait();
  else world.condition.notify_all();
  world.condition.unlock();
}
void use_barrier(const World& world) {
  try {
    (void)world.barrier.wait();
  } catch (const brood::BrokenBarrier&) {
    if (!world.end.is_set()) world.barrier.reset();
  }
}
void use_queue(const World& world) {
  const int job = world.jobs.get();
  if (job < 0) return world.jobs.task_done();  // it is the end
  world.jobs.put(job);
  world.jobs.task_done();
}
void use_lists(const World& world, std::mt19937& random) {
  const std::string key = std::to_string(random() % 5);
  if (auto list = world.lists.get(key)) {
    list->append(1);
    SCENARIO_CHECK(list->size() > 0);
  }
  world.lists.erase(key);
}

/// A client: does this and that until it is the end, or the server's.
void live(const World& world, unsigned seed) {
  std::mt19937 random(seed);
  try {
    while (!world.end.is_set()) {
      switch (random() % 8) {
        case 0: use_lock(world); break;
        case 1: use_healing_lock(world); break;
        case 2: use_semaphore(world); break;
        case 3: use_condition(world, true); break;
        case 4: use_condition(world, false); break;
        case 5: use_barrier(world); break;
        case 6: use_queue(world); break;
        default: use_lists(world, random); break;
      }
    }
    world.barrier.leave();
  } catch (const brood::ManagerDied&) {
    return;
  }
}

class Chaos : public Processes {
 protected:
  Chaos() {
    for (int i = 0; i < kJobs; ++i) world.jobs.put(i);
    for (int i = 0; i < kClients; ++i) clients.push_back(client());
  }
  std::unique_ptr<brood::Process> client() {
    auto made = std::make_unique<brood::Process>(live, world, static_cast<unsigned>(random()));
    made->start();
    return made;
  }
  /// A list that only the dict refers to.
  void feed_lists() {
    for (int i = 0; i < 5; ++i) world.lists.set(std::to_string(i), manager.list<int>());
  }
  static constexpr int kClients = 6;
  static constexpr int kKills = SUPPORT_SANITIZED ? 15 : 60;

  std::random_device device;
  const unsigned seed = device();
  std::mt19937 random{seed};
  brood::Manager manager;
  World world{.lock = manager.lock(),
              .left = manager.value<long>(),
              .right = manager.value<long>(),
              .healing = manager.rlock(brood::OwnerDeath::heal),
              .semaphore = manager.bounded_semaphore(kPermits),
              .condition = manager.condition(brood::OwnerDeath::heal),
              .barrier = manager.barrier(2),
              .jobs = manager.joinable_queue<int>(),
              .lists = manager.dict<std::string, brood::ListProxy<int>>(),
              .end = manager.event()};
  std::vector<std::unique_ptr<brood::Process>> clients;
};

TEST_F(Chaos, ClientsAreKilledWhereverTheyAre) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  for (int kill = 0; kill < kKills; ++kill) {
    feed_lists();
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 20'000));
    auto& victim = clients[random() % clients.size()];
    victim->kill();
    victim->join();
    ASSERT_EQ(victim->exitcode(), -SIGKILL) << "it had ended before";
    victim = client();
  }
  // Those who wait are told, until the last has left.
  world.end.set();
  for (auto& it : clients) {
    while (!it->join_for(1ms)) {
      use_condition(world, false);
      world.barrier.abort();
      world.jobs.put(-1);
    }
    EXPECT_EQ(it->exitcode(), 0);
  }
  // All that the dead had is back, and what they were in the middle of has been repaired.
  try {
    world.lock.lock();
    world.lock.unlock();
  } catch (const brood::OwnerDied&) {
    EXPECT_TRUE(world.lock.recover([&] { world.right.set(world.left.get()); }));
  }
  EXPECT_EQ(world.left.get(), world.right.get());
  until([&] { return world.semaphore.get_value() == kPermits; });
  use_healing_lock(world);
  use_condition(world, false);
  // No job was lost; one may be there twice, whose worker died between put() and task_done().
  std::set<int> jobs;
  until([&] { return world.jobs.unfinished() == world.jobs.qsize(); });
  while (const auto job = world.jobs.try_get()) {
    if (*job >= 0) jobs.insert(*job);
    world.jobs.task_done();
  }
  EXPECT_EQ(jobs.size(), static_cast<std::size_t>(kJobs));
  world.jobs.join();
  // References of the dead have gone with them.
  world.lists.clear();
  until([&] { return manager.object_count() == 10; });
}

TEST_F(Chaos, TheServerIsKilledAndEverybodyIsTold) {
  for (int i = 0; i < 10; ++i) feed_lists();
  until([&] {
    use_condition(world, false);  // all of them may wait for each other
    world.barrier.abort();
    return world.left.get() > 3;
  });
  ::kill(static_cast<pid_t>(*manager.pid()), SIGKILL);
  for (auto& it : clients) {
    it->join();
    EXPECT_EQ(it->exitcode(), 0);
  }
  EXPECT_THROW(world.lock.lock(), brood::ManagerDied);
}

}  // namespace
