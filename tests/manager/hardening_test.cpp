// Managers in bad company, once more: clients that are killed in their sleep or in a repair, forks at any time, too few descriptors,
// a journal that is looked at while it is busy.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/unique_fd.hpp"
#include "brood/serve_class.hpp"
#include "brood/shared_proxies.hpp"
#include "manager/manager_support.hpp"
#include "os/not_in_forks.hpp"
#include "support/child.hpp"
#include "support/sanitizers.hpp"

namespace {

using namespace manager_test;
using namespace process_test;

void kill_server(brood::Manager& manager) {
  ::kill(static_cast<pid_t>(*manager.pid()), SIGKILL);
  manager.join();
}

/// The exit code, or minus the signal.
int wait_for(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

// --- killed asleep -------------------------------------------------------------------------------------------------------

void sleep_in(const brood::QueueProxy<int>& queue) { (void)queue.get(); }
void sleep_in(const brood::PriorityQueueProxy<int>& queue) { (void)queue.get(); }
void sleep_in(const brood::JoinableQueueProxy<int>& queue) { (void)queue.get(); }
void sleep_in(const brood::SemaphoreProxy& semaphore) { semaphore.acquire(); }
void sleep_in(const brood::BoundedSemaphoreProxy& semaphore) { semaphore.acquire(); }
void sleep_in(const brood::LockProxy& lock) { lock.lock(); }
void sleep_in(const brood::RLockProxy& lock) { lock.lock(); }
void sleep_in(const brood::BarrierProxy& barrier) { (void)barrier.wait(); }

template <class Object>
void tell_and_sleep(const Object& object, const brood::EventProxy& told) {
  told.set();  // and has a conversation from now on, which is idle
  sleep_in(object);
}

/// Returns when the client waits for an answer, and the server has nothing to do: so it has the request and sleeps for it.
void await_sleep(brood::Manager& manager, brood::Process& client) {
  until([&] {
    return (support::is_asleep(static_cast<pid_t>(*client.pid())) &&
            support::is_asleep(static_cast<pid_t>(*manager.pid()))) ||
           client.exitcode();
  });
}

class KilledAsleep : public ManagedOnce {
 protected:
  static constexpr int kRounds = 10;

  /// A client that sleeps in its call, or will in a moment.
  template <class Object>
  brood::Process sleeper_in(const Object& object) {
    auto told = manager.event();
    brood::Process sleeper(tell_and_sleep<Object>, object, told);
    sleeper.start();
    told.wait();
    await_sleep(manager, sleeper);
    return sleeper;
  }
  template <class Object>
  void kill_one_asleep_in(const Object& object) {
    brood::Process victim = sleeper_in(object);
    victim.kill();
    victim.join();
    EXPECT_EQ(victim.exitcode(), -SIGKILL);
  }
  /// Items go past those who were killed in get().
  template <class Queue>
  void expect_no_item_lost(const Queue& queue) {
    for (int i = 0; i < kRounds; ++i) {
      SCOPED_TRACE(i);
      kill_one_asleep_in(queue);
      queue.put(i);
      EXPECT_EQ(queue.get(), i);
    }
    EXPECT_EQ(queue.qsize(), 0U);
  }
  template <class Semaphore>
  void expect_no_permit_lost(const Semaphore& semaphore) {
    for (int i = 0; i < kRounds; ++i) {
      SCOPED_TRACE(i);
      kill_one_asleep_in(semaphore);
      semaphore.release();
      semaphore.acquire();
    }
    EXPECT_EQ(semaphore.get_value(), 0);
  }
  /// Who never held it left nothing to repair.
  template <class Lock>
  void expect_no_owner_died(const Lock& lock) {
    lock.lock();
    for (int i = 0; i < kRounds; ++i) {
      SCOPED_TRACE(i);
      kill_one_asleep_in(lock);
      lock.unlock();
      ASSERT_NO_THROW(lock.lock());
    }
    EXPECT_FALSE(lock.recover([] { FAIL() << "there is nothing to repair"; }));
    lock.unlock();
  }
};

TEST_F(KilledAsleep, InGetOfAQueueTheItemIsForTheNext) { expect_no_item_lost(manager.queue<int>()); }
TEST_F(KilledAsleep, InGetOfAPriorityQueueTheItemIsForTheNext) { expect_no_item_lost(manager.priority_queue<int>()); }
TEST_F(KilledAsleep, InGetOfAJoinableQueueTheItemIsForTheNext) {
  auto queue = manager.joinable_queue<int>();
  expect_no_item_lost(queue);
  EXPECT_EQ(queue.unfinished(), static_cast<std::size_t>(kRounds)) << "each was taken once";
}

TEST_F(KilledAsleep, InGetTheItemIsForWhoSleepsBehind) {
  auto queue = manager.queue<int>();
  auto got = manager.queue<int>();
  for (int i = 0; i < kRounds; ++i) {
    brood::Process victim = sleeper_in(queue);
    brood::Process behind(
        [](const brood::QueueProxy<int>& from, const brood::QueueProxy<int>& to) { to.put(from.get()); }, queue, got);
    behind.start();
    await_sleep(manager, behind);
    victim.kill();
    victim.join();
    queue.put(i);
    EXPECT_EQ(got.get(), i);
    behind.join();
  }
}

TEST_F(KilledAsleep, InAcquireThePermitIsForTheNext) { expect_no_permit_lost(manager.semaphore(0)); }
TEST_F(KilledAsleep, InAcquireOfABoundedSemaphoreThePermitIsForTheNext) {
  auto semaphore = manager.bounded_semaphore(1);
  semaphore.acquire();
  expect_no_permit_lost(semaphore);
}

TEST_F(KilledAsleep, InLockNobodyIsToldOfADeadOwner) { expect_no_owner_died(manager.lock()); }
TEST_F(KilledAsleep, InLockOfAnRLockNobodyIsToldOfADeadOwner) { expect_no_owner_died(manager.rlock()); }

TEST_F(KilledAsleep, InWaitOfABarrierTheSurvivorIsTold) {
  for (int i = 0; i < kRounds; ++i) {
    auto barrier = manager.barrier(2);
    brood::Process victim(tell_and_sleep<brood::BarrierProxy>, barrier, manager.event());
    victim.start();
    until([&] { return barrier.n_waiting() == 1; });
    victim.kill();
    victim.join();
    EXPECT_THROW((void)barrier.wait(), brood::BrokenBarrier) << i;
  }
}

// --- killed in a repair --------------------------------------------------------------------------------------------------

template <class Lock>
void die_holding(const Lock& lock) {
  lock.lock();
  ::kill(::getpid(), SIGKILL);
}
template <class Lock>
void repair_for_ever(const Lock& lock, const brood::EventProxy& repairs) {
  (void)lock.recover([&] {
    repairs.set();
    brood::Event().wait();
  });
}
template <class Lock>
void repair_next(const Lock& lock, const brood::EventProxy& comes) {
  comes.set();
  SCENARIO_CHECK(lock.recover([] {}));
  lock.lock();
  lock.unlock();
}

template <class Lock>
void expect_the_next_repairs(brood::Manager& manager, const Lock& lock) {
  brood::Process owner(die_holding<Lock>, lock);
  owner.start();
  owner.join();
  EXPECT_THROW(lock.lock(), brood::OwnerDied);
  auto repairs = manager.event();
  auto comes = manager.event();
  brood::Process first(repair_for_ever<Lock>, lock, repairs);
  first.start();
  repairs.wait();
  brood::Process second(repair_next<Lock>, lock, comes);
  second.start();
  comes.wait();
  await_sleep(manager, second);
  first.kill();
  first.join();
  second.join();
  EXPECT_EQ(second.exitcode(), 0);
  EXPECT_TRUE(lock.try_lock());
  lock.unlock();
}

TEST_F(ManagedOnce, WhoIsKilledInItsRepairOfALockLeavesItToTheNext) {
  expect_the_next_repairs(manager, manager.lock());
}
TEST_F(ManagedOnce, WhoIsKilledInItsRepairOfAnRLockLeavesItToTheNext) {
  expect_the_next_repairs(manager, manager.rlock());
}
TEST_F(ManagedOnce, WhoIsKilledInItsRepairOfAConditionLeavesItToTheNext) {
  expect_the_next_repairs(manager, manager.condition());
}

// --- forks ---------------------------------------------------------------------------------------------------------------

#if !SUPPORT_SANITIZED  // their allocators may be locked for ever in the forked child
TEST_F(ManagedOnce, AForkWhileOtherThreadsCallHasConversationsOfItsOwn) {
  auto list = manager.list<int>({1});
  std::atomic<bool> is_over = false;
  std::vector<std::thread> callers;
  for (int i = 0; i < 3; ++i) {
    callers.emplace_back([&] {
      while (!is_over) EXPECT_EQ(list.size(), 1U);
    });
  }
  for (int i = 0; i < 50; ++i) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(list.size() == 1 ? 0 : 1);
    EXPECT_EQ(wait_for(child), 0) << i;
  }
  is_over = true;
  for (auto& it : callers) it.join();
}
#endif

struct stat status_of(int descriptor) {
  struct stat found {};
  SCENARIO_CHECK(::fstat(descriptor, &found) == 0);
  return found;
}
bool is_same_file(const struct stat& one, const struct stat& other) {
  return one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}
bool is_nothing(int descriptor) {
  const struct stat found = status_of(descriptor);
  return S_ISCHR(found.st_mode) && found.st_rdev == ::makedev(1, 3);  // /dev/null, which is no other on Linux
}
brood::base::UniqueFd memory_file(const char* name) {
  brood::base::UniqueFd fd(::memfd_create(name, MFD_CLOEXEC));
  EXPECT_TRUE(static_cast<bool>(fd));
  return fd;
}
/// The exit code of a child that does this.
template <class F>
int in_a_fork(F body) {
  const pid_t child = ::fork();
  if (child == 0) {
    body();
    ::_exit(0);
  }
  return wait_for(child);
}

class NotInForks : public Processes {
 protected:
  const brood::base::UniqueFd file_ = memory_file("kept");
  const brood::base::UniqueFd other_ = memory_file("other");
};

TEST_F(NotInForks, AChildHasNothingInItsPlaceAndTheParentKeepsIt) {
  const struct stat before = status_of(file_.get());
  {
    const brood::os::NotInForks kept(file_.get());
    EXPECT_EQ(in_a_fork([&] {
                SCENARIO_CHECK(is_nothing(file_.get()));
                SCENARIO_CHECK((::fcntl(file_.get(), F_GETFD) & FD_CLOEXEC) != 0);
                SCENARIO_CHECK(!is_nothing(other_.get()));
                SCENARIO_CHECK(in_a_fork([&] { SCENARIO_CHECK(is_nothing(file_.get())); }) == 0);
              }),
              0);
    EXPECT_TRUE(is_same_file(status_of(file_.get()), before));
  }
  EXPECT_EQ(in_a_fork([&] { SCENARIO_CHECK(is_same_file(status_of(file_.get()), before)); }), 0) << "it is over";
}

TEST_F(NotInForks, AGrandchildKeepsWhatTheChildHasUnderThatNumber) {
  const brood::os::NotInForks kept(file_.get());
  const struct stat wanted = status_of(other_.get());
  EXPECT_EQ(in_a_fork([&] {
              SCENARIO_CHECK(::close(file_.get()) == 0);
              SCENARIO_CHECK(::dup2(other_.get(), file_.get()) == file_.get());
              SCENARIO_CHECK(in_a_fork([&] { SCENARIO_CHECK(is_same_file(status_of(file_.get()), wanted)); }) == 0);
            }),
            0);
}

TEST_F(NotInForks, AChildMayHaveSomeOfItsOwn) {
  const brood::os::NotInForks kept(file_.get());
  EXPECT_EQ(in_a_fork([&] {
              const brood::os::NotInForks of_the_child(other_.get());
              SCENARIO_CHECK(!is_nothing(other_.get()));
              SCENARIO_CHECK(in_a_fork([&] { SCENARIO_CHECK(is_nothing(other_.get())); }) == 0);
            }),
            0);
}

#if !SUPPORT_SANITIZED  // as above
/// Set in one process alone, which forks while it is there.
std::optional<brood::ManagerServer> g_server;

class CopiesOfAServer : public Processes, public ::testing::WithParamInterface<const char*> {};
INSTANTIATE_TEST_SUITE_P(Ends, CopiesOfAServer, ::testing::Values("exit_static", "exit_on_heap", "destroy", "stop"),
                         [](const auto& which) { return std::string(which.param); });

TEST_P(CopiesOfAServer, EndWithoutHarm) {
  expect_scenario(
      [](const std::string& how) {
        std::unique_ptr<brood::ManagerServer> on_heap;
        const bool is_static = how == "exit_static";
        if (is_static) g_server.emplace(brood::ManagerOptions{.authkey = "key"});
        else on_heap = std::make_unique<brood::ManagerServer>(brood::ManagerOptions{.authkey = "key"});
        brood::ManagerServer& server = is_static ? *g_server : *on_heap;
        std::thread serving([&] { server.serve_forever(); });
        {
          brood::ManagerClient client(server.address(), {.authkey = "key"});
          auto list = client.list<int>({1});
          for (int i = 0; i < 10; ++i) {
            const pid_t child = ::fork();
            if (child == 0) {
              if (how == "stop") {
                server.stop();
                ::_exit(7);
              }
              if (how == "destroy") {
                on_heap.reset();
                ::_exit(7);
              }
              std::exit(7);
            }
            SCENARIO_CHECK(wait_for(child) == 7);
            SCENARIO_CHECK(list.size() == 1);
            brood::ManagerClient another(server.address(), {.authkey = "key"});
            SCENARIO_CHECK(another.list<int>({1, 2}).size() == 2);
          }
        }
        server.stop();
        serving.join();
        g_server.reset();
      },
      GetParam());
}
#endif

// --- at the beginning ----------------------------------------------------------------------------------------------------

class TooShortMessages : public Processes, public ::testing::WithParamInterface<std::uint64_t> {};
INSTANTIATE_TEST_SUITE_P(Bytes, TooShortMessages, ::testing::Values(0, 1, 40), ::testing::PrintToStringParamName());

TEST_P(TooShortMessages, AreRefusedByAManager) {
  EXPECT_THROW(brood::Manager({.max_message = GetParam()}), brood::UsageError);
}
TEST_P(TooShortMessages, AreRefusedByAServerInThisProcess) {
  EXPECT_THROW(brood::ManagerServer({.authkey = "key", .max_message = GetParam()}), brood::UsageError);
}

#if !SUPPORT_SANITIZED  // the checker of undefined behaviour looks at objects through a pipe, which needs descriptors
class FewDescriptors : public EveryMethod {};
INSTANTIATE_FOR_EVERY_METHOD(FewDescriptors);

TEST_P(FewDescriptors, AManagerStartsOrSaysWhyNot) {
  for (int limit = 5; limit <= 16; ++limit) {
    SCOPED_TRACE(limit);
    expect_scenario(
        [](const std::string& argument) {
          const std::size_t space = argument.find(' ');
          rlimit files{};
          SCENARIO_CHECK(::getrlimit(RLIMIT_NOFILE, &files) == 0);
          const rlim_t before = std::exchange(files.rlim_cur, std::stoul(argument.substr(0, space)));
          const std::map<std::string, brood::StartMethod> methods = {{"fork", brood::StartMethod::fork},
                                                                     {"spawn", brood::StartMethod::spawn},
                                                                     {"forkserver", brood::StartMethod::forkserver}};
          brood::ManagerOptions options{.process = {.start_method = methods.at(argument.substr(space + 1))}};
          SCENARIO_CHECK(::setrlimit(RLIMIT_NOFILE, &files) == 0);
          try {
            brood::Manager manager(options);
            SCENARIO_CHECK(manager.list<int>({1}).size() == 1);
          } catch (const brood::Error& error) {
            SCENARIO_CHECK(!std::string(error.what()).empty());
          }
          files.rlim_cur = before;
          SCENARIO_CHECK(::setrlimit(RLIMIT_NOFILE, &files) == 0);
          brood::Manager manager(options);
          SCENARIO_CHECK(manager.list<int>({1}).size() == 1);
        },
        std::to_string(limit) + " " + std::string(to_string(GetParam())));
  }
}
#endif

// --- journals ------------------------------------------------------------------------------------------------------------

template <class Base>
class WithJournal : public Base {
 protected:
  WithJournal() { std::filesystem::create_directory(directory_); }
  ~WithJournal() override { std::filesystem::remove_all(directory_); }
  [[nodiscard]] std::string path() const { return directory_ / "journal"; }

  const std::filesystem::path directory_ =
      std::filesystem::temp_directory_path() / ("brood-hardening-" + std::to_string(::getpid()));
};
class JournalOfAParent : public WithJournal<EveryMethod> {
 protected:
  [[nodiscard]] brood::ManagerOptions options() const {
    return {.journal = path(), .process = {.start_method = GetParam()}};
  }
};
INSTANTIATE_FOR_EVERY_METHOD(JournalOfAParent);
class JournalInUse : public WithJournal<Processes> {};

/// What a test says at its end, however that comes.
struct LetsGo {
  ~LetsGo() { gate.let_go(); }
  Pipe& gate;
};

brood::ListProxy<int> list_of(brood::Manager& manager) { return manager.find<brood::ListProxy<int>>("list").value(); }

/// Leaves a child behind that has copies of everything.
struct Forker {
  void leave_child(const std::string& said, const std::string& gate) const {
    if (::fork() != 0) return;
    tell(said, "lives on");
    await(gate);
    std::_Exit(0);
  }
};

TEST_P(JournalOfAParent, IsForTheNextServerThoughAChildOfTheFirstLivesOn) {
  Pipe said;
  Pipe gate;
  const LetsGo at_the_end{gate};
  brood::Manager first(options());
  auto list = first.list<int>({1, 2});
  first.publish("list", list);
  first.make<Forker>().call<&Forker::leave_child>(said.writer(), gate.reader());
  EXPECT_EQ(said.line(), "lives on");
  list.append(3);
  kill_server(first);
  brood::Manager second(options());
  EXPECT_EQ(list_of(second).snapshot(), (std::vector{1, 2, 3}));
}

#if !SUPPORT_TSAN  // as for INSTANTIATE_FOR_EVERY_METHOD_IN_THREADS
int own_pid(int /*any*/) { return ::getpid(); }
void work_on(const std::string& said, const std::string& gate) {
  tell(said, "works");
  await(gate);
}

TEST_P(JournalOfAParent, IsForTheNextServerThoughItHadForkedWorkers) {
  for (int i = 0; i < 5; ++i) {
    SCOPED_TRACE(i);
    Pipe said;
    Pipe gate;
    const LetsGo one_at_the_end{gate};
    const LetsGo the_other_too{gate};
    std::filesystem::remove(path());
    brood::Manager first(options());
    auto pool = first.pool(2, {.start_method = brood::StartMethod::fork});
    for (int worker = 0; worker < 2; ++worker) {
      (void)pool.submit(work_on, said.writer(), gate.reader());
      EXPECT_EQ(said.line(), "works");
    }
    auto list = first.list<int>({1, 2});
    kill_server(first);
    brood::Manager second(options());
    EXPECT_EQ(list.snapshot(), (std::vector{1, 2}));
    EXPECT_NE(pool.apply(own_pid, 1), *second.pid()) << "with new workers";
  }
}
#endif

TEST_P(JournalOfAParent, ServesTheProxiesOfWhoStartedTheFirst) {
  auto manager = std::make_unique<brood::Manager>(options());
  auto list = manager->list<int>();
  auto value = manager->value<long>(7);
  for (int i = 0; i < 5; ++i) {
    SCOPED_TRACE(i);
    list.append(i);
    kill_server(*manager);
    manager.reset();
    manager = std::make_unique<brood::Manager>(options());
    EXPECT_EQ(list.size(), static_cast<std::size_t>(i + 1));
    EXPECT_EQ(list.at(i), i);
    EXPECT_EQ(value.get(), 7);
  }
}

/// A doorkeeper who does not hurry.
class Doorkeeper {
 public:
  long let_in(const std::string& gate, const std::string& said) {
    tell(said, "inside");
    await(gate);
    return ++guests_;
  }
  [[nodiscard]] long guests() const { return guests_; }
  template <class Archive>
  void serialize(Archive& archive) {
    archive(guests_);
  }

 private:
  long guests_ = 0;
};
const auto kDoorkeeper = brood::ServeClass<Doorkeeper>("Doorkeeper")
                             .constructor<>()
                             .method<&Doorkeeper::let_in>("let_in")
                             .method<&Doorkeeper::guests>("guests")
                             .kept();

TEST_F(JournalInUse, IsWrittenAnewBesideASlowMethodAndTheDoorIsOpen) {
  Pipe gate;
  Pipe said;
  {
    brood::Manager manager({.authkey = "key", .journal = path(), .journal_spare_bytes = 500});
    auto keeper = manager.make_named("Doorkeeper");
    auto list = manager.list<int>({0});
    manager.publish("keeper", keeper);
    manager.publish("list", list);
    brood::Process guest(
        {.daemon = true},
        [](const brood::NamedProxy& who, const std::string& to_wait_for, const std::string& to_tell) {
          SCENARIO_CHECK(who.call<long>("let_in", to_wait_for, to_tell) == 1);
        },
        keeper, gate.reader(), said.writer());
    guest.start();
    EXPECT_EQ(said.line(), "inside");
    for (int i = 0; i <= 200; ++i) list.set(0, i);
    for (int i = 0; i < 3; ++i) {
      brood::ManagerClient client(manager.address(), {.authkey = "key"});
      EXPECT_EQ(client.find<brood::ListProxy<int>>("list")->at(0), 200);
    }
    brood::Process child([](const brood::ListProxy<int>& there) { there.append(1); }, list);
    child.start();
    child.join();
    EXPECT_EQ(child.exitcode(), 0);
    gate.let_go();
    guest.join();
    EXPECT_EQ(guest.exitcode(), 0);
    kill_server(manager);
  }
  brood::Manager second({.journal = path()});
  EXPECT_EQ(list_of(second).snapshot(), (std::vector{200, 1}));
  EXPECT_EQ(second.find<brood::NamedProxy>("keeper").value().call<long>("guests"), 1);
}

TEST_F(JournalInUse, StaysWhereASymbolicLinkPointsTo) {
  const std::string link = directory_ / "link";
  std::filesystem::create_symlink("journal", link);
  {
    brood::Manager first({.journal = link, .journal_spare_bytes = 100});
    auto list = first.list<int>({0});
    first.publish("list", list);
    for (int i = 0; i <= 300; ++i) list.set(0, i);
    EXPECT_THROW(brood::Manager({.journal = path()}), brood::AddressInUse) << "the same file by its other name";
    kill_server(first);
  }
  EXPECT_TRUE(std::filesystem::is_symlink(link));
  EXPECT_EQ(std::filesystem::canonical(link), std::filesystem::canonical(path()));
  {
    brood::Manager second({.journal = path()});
    EXPECT_EQ(list_of(second).at(0), 300);
    list_of(second).append(1);
  }
  brood::Manager third({.journal = link});
  EXPECT_EQ(list_of(third).snapshot(), (std::vector{300, 1}));
}

// --- what was moved away -------------------------------------------------------------------------------------------------

TEST_F(ManagedOnce, AMovedFromSharedDictRefusesEveryCall) {
  auto gone = manager.shared_dict<std::string, int>();
  auto dict = std::move(gone);
  // NOLINTBEGIN(bugprone-use-after-move): that is the point
  EXPECT_THROW((void)gone.container(), brood::UsageError);
  EXPECT_THROW((void)gone.size(), brood::UsageError);
  EXPECT_THROW((void)gone.empty(), brood::UsageError);
  EXPECT_THROW(gone.clear(), brood::UsageError);
  EXPECT_THROW((void)gone.snapshot(), brood::UsageError);
  EXPECT_THROW((void)gone.get("a"), brood::UsageError);
  EXPECT_THROW((void)gone.at("a"), brood::UsageError);
  EXPECT_THROW(gone.set("a", 1), brood::UsageError);
  EXPECT_THROW((void)gone.insert("a", 1), brood::UsageError);
  EXPECT_THROW((void)gone.contains("a"), brood::UsageError);
  EXPECT_THROW((void)gone.erase("a"), brood::UsageError);
  EXPECT_THROW((void)gone.pop("a"), brood::UsageError);
  EXPECT_THROW((void)gone.update("a", [](int& n) { return ++n; }), brood::UsageError);
  EXPECT_THROW((void)gone.items(), brood::UsageError);
  // NOLINTEND(bugprone-use-after-move)
  dict.set("a", 1);
  EXPECT_EQ(dict.at("a"), 1);
}

TEST_F(ManagedOnce, AMovedFromSharedListRefusesEveryCall) {
  auto gone = manager.shared_list<int>();
  auto list = std::move(gone);
  // NOLINTBEGIN(bugprone-use-after-move): that is the point
  EXPECT_THROW((void)gone.container(), brood::UsageError);
  EXPECT_THROW((void)gone.size(), brood::UsageError);
  EXPECT_THROW((void)gone.empty(), brood::UsageError);
  EXPECT_THROW(gone.clear(), brood::UsageError);
  EXPECT_THROW((void)gone.snapshot(), brood::UsageError);
  EXPECT_THROW((void)gone.at(0), brood::UsageError);
  EXPECT_THROW(gone.set(0, 1), brood::UsageError);
  EXPECT_THROW(gone.push_back(1), brood::UsageError);
  EXPECT_THROW(gone.append(1), brood::UsageError);
  EXPECT_THROW((void)gone.pop(), brood::UsageError);
  EXPECT_THROW((void)gone.update(0, [](int& n) { return ++n; }), brood::UsageError);
  // NOLINTEND(bugprone-use-after-move)
  list.append(1);
  EXPECT_EQ(list.at(0), 1);
}

}  // namespace
