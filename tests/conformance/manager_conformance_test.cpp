// CPython's _TestMyManager, _TestRemoteManager, _TestManagerRestart, the containers of TestSyncManagerTypes, and the MGR rows.
#include "brood/manager.hpp"

#include <csignal>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "brood/brood.hpp"
#include "brood/serve_class.hpp"
#include "conformance/bodies.hpp"
#include "conformance/process_fixture.hpp"

namespace conformance {
namespace {

class ManagerConformance : public Bodies {
 protected:
  brood::Manager manager;
};
BROOD_BODIES(ManagerConformance);
class ManagerConformanceMethods : public EveryMethod {};
BROOD_METHODS(ManagerConformanceMethods);
using ManagerConformanceOnce = Once;

/// Python's FooBar: two methods that clients may call, one that they may not.
class FooBar {
 public:
  std::string f() { return "f()"; }
  void g() { throw std::invalid_argument("g()"); }
  std::string hidden() { return "_h()"; }
};
const auto kFooBar = brood::ServeClass<FooBar>("FooBar").method<&FooBar::f>("f").method<&FooBar::g>("g");

void expect_foo_bar(brood::Manager& manager) {
  auto foo = manager.make_named("FooBar");
  EXPECT_EQ(foo.call<std::string>("f"), "f()");
  EXPECT_THROW(foo.call("g"), std::invalid_argument);
  EXPECT_THROW(foo.call<std::string>("hidden"), brood::UsageError);
  EXPECT_THROW((void)manager.make_named("Baz"), brood::UsageError);
  auto in_program = manager.make<FooBar>();
  EXPECT_EQ(in_program.call<&FooBar::hidden>(), "_h()");
}

// _TestMyManager.test_mymanager, MGR-06
TEST_P(ManagerConformanceMethods, ExposedMethodsAreServedAndHiddenOnesAreNot) {
  brood::Manager manager(brood::not_yet, {.process = with()});
  manager.start();
  expect_foo_bar(manager);
  manager.shutdown();
  EXPECT_EQ(manager.exitcode(), 0);
}

// _TestMyManager.test_mymanager_context, test_mymanager_context_prestarted, MGR-01, MGR-05
TEST_P(ManagerConformanceMethods, AScopeStartsAndShutsDown) {
  std::optional<brood::ListProxy<int>> left;
  {
    brood::Manager manager({.process = with()});
    expect_foo_bar(manager);
    left = manager.list<int>({1});
  }
  EXPECT_THROW((void)left->size(), brood::ManagerDied);
  brood::Manager manager(brood::not_yet, {.process = with()});
  manager.start();
  {
    struct Scope {
      brood::Manager& manager;
      ~Scope() { manager.shutdown(); }
    } const scope{manager};
    expect_foo_bar(manager);
  }
  EXPECT_EQ(manager.exitcode(), 0);
}

void put_greeting(const std::string& address, const std::string& key) {
  brood::ManagerClient manager(brood::Address(address), {.authkey = key});
  auto queue = manager.find<brood::QueueProxy<std::vector<std::string>>>("queue");
  require(queue.has_value(), "the published queue");
  queue->put({"hello world", "and more"});
}

// _TestRemoteManager.test_remote, MGR-04
TEST_P(ManagerConformance, AnotherProcessFindsWhatWasPublishedByAddressAndKey) {
  const std::string key = "a key of its own";
  brood::Manager there({.address = brood::TcpAddress{"localhost", 0}, .authkey = key});
  auto queue = there.queue<std::vector<std::string>>();
  there.publish("queue", queue);
  worker(put_greeting, there.address().str(), key).join();
  EXPECT_EQ(queue.get(), (std::vector<std::string>{"hello world", "and more"}));
  EXPECT_THROW(brood::ManagerClient(there.address(), {.authkey = "wrong"}), brood::AuthenticationError);
  EXPECT_THROW(brood::ManagerClient("unix:/nonexistent/socket"), brood::ManagerDied);
}

// _TestManagerRestart.test_rapid_restart
TEST_P(ManagerConformanceMethods, AnAddressCanBeUsedAgainRightAfterShutdown) {
  std::optional<brood::Address> address;
  for (int i = 0; i < 3; ++i) {
    brood::Manager manager({.address = address.value_or(brood::TcpAddress{"localhost", 0}), .process = with()});
    address = manager.address();
    auto queue = manager.queue<std::string>();
    queue.put("hello world");
    EXPECT_EQ(queue.get(), "hello world");
  }
}

// TestInitializers.test_manager_initializer, MGR-02
TEST_P(ManagerConformanceMethods, AnInitializerRunsOnceBeforeItServes) {
  brood::Value<int> times(0);
  brood::Manager manager(brood::not_yet, {.process = with()});
  manager.start([](brood::Value<int>& count) { *count.lock() += 1; }, times);
  EXPECT_EQ(times.get(), 1);
  EXPECT_THROW(manager.start(), brood::UsageError);
  brood::Manager failing(brood::not_yet, {.process = with()});
  EXPECT_THROW(failing.start([] { throw std::range_error("no"); }), std::range_error);
}

// MGR-03
TEST_F(ManagerConformanceOnce, AServerMayBeInThisProcess) {
  brood::ManagerServer server({.authkey = "key"});
  std::thread serving([&] { server.serve_forever(); });
  {
    brood::ManagerClient client(server.address(), {.authkey = "key"});
    EXPECT_EQ(client.list<int>({1}).size(), 1U);
  }
  server.stop();
  serving.join();
}

// MGR-05
TEST_F(ManagerConformanceOnce, ShutdownIsFinalAndMayBeRepeated) {
  brood::Manager manager(brood::not_yet);
  EXPECT_THROW(manager.shutdown(), brood::UsageError);
  EXPECT_THROW((void)manager.list<int>(), brood::UsageError);
  manager.start();
  auto list = manager.list<int>();
  manager.shutdown();
  manager.shutdown();
  EXPECT_TRUE(manager.join_for(0s));
  EXPECT_THROW((void)manager.list<int>(), brood::UsageError);
  EXPECT_THROW(manager.start(), brood::UsageError);
  EXPECT_THROW((void)list.size(), brood::ManagerDied);
  std::thread([&] { EXPECT_THROW((void)list.size(), brood::ManagerDied); }).join();
}

class NotEnough : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
const brood::RegisterException<NotEnough> kNotEnough;
class Account {
 public:
  explicit Account(long balance) : balance_(balance) {}
  long take(long money) {
    if (money > balance_) throw NotEnough("only " + std::to_string(balance_));
    return balance_ -= money;
  }
  std::vector<int> numbers() { return numbers_; }
  void add(int number) { numbers_.push_back(number); }

 private:
  long balance_;
  std::vector<int> numbers_;
};

// MGR-07: arguments and results are copies; exceptions keep their type; threads call at the same time
TEST_P(ManagerConformance, CallsCopyAndThrowWhatTheMethodThrows) {
  auto account = manager.make<Account>(100L);
  EXPECT_EQ(account.call<&Account::take>(30L), 70);
  EXPECT_THROW(account.call<&Account::take>(300L), NotEnough);
  account.call<&Account::numbers>().push_back(1);
  EXPECT_TRUE(account.call<&Account::numbers>().empty());
  auto others = workers(
      3,
      [](const brood::Proxy<Account>& mine) {
        for (int i = 0; i < 20; ++i) mine.call<&Account::add>(i);
      },
      account);
  for (auto& other : others) other->join();
  EXPECT_EQ(account.call<&Account::numbers>().size(), 60U);
}

// MGR-08, MGR-10: what is read is a copy; proxies in containers are the objects themselves
TEST_P(ManagerConformance, NestedListsAreCopiesAndNestedProxiesAreNot) {
  auto copies = manager.dict<std::string, std::vector<int>>({{"a", {1}}});
  copies.at("a").push_back(2);
  EXPECT_EQ(copies.at("a"), std::vector{1});
  auto shared = manager.dict<std::string, brood::ListProxy<int>>();
  shared.set("a", manager.list<int>({1}));
  worker([](const brood::DictProxy<std::string, brood::ListProxy<int>>& all) { all.at("a").append(2); }, shared).join();
  EXPECT_EQ(shared.at("a").snapshot(), (std::vector{1, 2}));
}

// MGR-09: better than Python's: the sender may drop its proxy at once
TEST_P(ManagerConformance, AnObjectLivesAsLongAsAnybodyRefersToIt) {
  brood::Queue<brood::ListProxy<int>> on_its_way;
  {
    auto list = manager.list<int>({1, 2});
    on_its_way.put(list);
  }
  EXPECT_EQ(manager.object_count(), 1U);
  worker([](brood::Queue<brood::ListProxy<int>>& in) { require(in.get().size() == 2, "it came alive"); }, on_its_way)
      .join();
  support::await([&] { return manager.object_count() == 0; });
}

// MGR-11, MGR-20
TEST_F(ManagerConformanceOnce, ProxiesCompareByObjectAndPrintThemselves) {
  brood::Manager manager;
  auto one = manager.list<int>({1});
  auto same = one;
  auto other = manager.list<int>({1});
  EXPECT_EQ(one, same);
  EXPECT_FALSE(one == other);
  EXPECT_EQ(one.snapshot(), other.snapshot());
  EXPECT_TRUE(contains(printed(one), "list<int>")) << printed(one);
  EXPECT_EQ(one.core().call<int>("get", 0), 1) << "a direct call by name";
  EXPECT_TRUE(contains(printed(manager), "<Manager '")) << printed(manager);
}

// MGR-12, MGR-15, TestSyncManagerTypes.test_condition
TEST_P(ManagerConformance, AConditionIsWaitedForAndNotified) {
  auto condition = manager.condition();
  auto ready = manager.value<bool>(false);
  auto waiter = worker(
      [](const brood::ConditionProxy& own, const brood::ValueProxy<bool>& is_ready) {
        own.lock();
        own.wait([&] { return is_ready.get(); });
        require(own.wait_for(10ms) == std::cv_status::timeout, "nobody else notifies");
        own.unlock();
      },
      condition, ready);
  condition.lock();
  ready.set(true);
  condition.notify_all();
  condition.unlock();
  waiter.join();
  EXPECT_THROW(condition.notify_one(), brood::NotOwner);
  EXPECT_THROW(condition.wait(), brood::NotOwner);
}

// TestSyncManagerTypes.test_list, MGR-19
TEST_P(ManagerConformance, AListHasTheMethodsOfAList) {
  auto list = manager.list<int>();
  worker(
      [](const brood::ListProxy<int>& own) {
        own.append(5);
        require(own.pop() == 5, "the last");
        own.extend(std::vector{3, 1, 2});
        own.insert(0, 9);
        own.sort();
        own.reverse();
        require(own.snapshot() == std::vector({9, 3, 2, 1}), "in order");
        require(own[-1] == 1 && own.at(0) == 9, "by index");
        require(own.slice(1, -1) == std::vector({3, 2}), "slices");
        own.set_slice(0, 2, {7});
        require(own.remove(2) && own.index(1) == 1U && own.count(7) == 1, "searching");
        own.erase(0, 1);
      },
      list)
      .join();
  EXPECT_EQ(list.snapshot(), std::vector{1});
  EXPECT_THROW((void)list.at(5), std::out_of_range);
  list.clear();
  EXPECT_THROW((void)list.pop(), std::out_of_range);
}

// TestSyncManagerTypes.test_dict, MGR-19
TEST_P(ManagerConformance, ADictHasTheMethodsOfADict) {
  auto dict = manager.dict<std::string, int>();
  worker(
      [](const brood::DictProxy<std::string, int>& own) {
        own.set("foo", 5);
        own.merge(std::map<std::string, int>{{"bar", 6}});
        require(own.items() == std::vector<std::pair<std::string, int>>({{"foo", 5}, {"bar", 6}}), "items");
        require(own.keys() == std::vector<std::string>({"foo", "bar"}) && own.values() == std::vector({5, 6}), "views");
        require(own.contains("foo") && !own.contains("none") && own.size() == 2, "membership");
        require(own.set_default("foo", 7) == 5 && own.pop("bar") == 6 && !own.pop("bar"), "set_default and pop");
        require(own.pop_item() == std::pair(std::string("foo"), 5) && own.empty(), "pop_item");
        own.set("left", 1);
      },
      dict)
      .join();
  EXPECT_EQ(dict.snapshot(), (std::map<std::string, int>{{"left", 1}}));
  EXPECT_THROW((void)dict.at("none"), std::out_of_range);
  EXPECT_TRUE(dict.erase("left"));
}

// TestSyncManagerTypes.test_set, test_set_init, test_set_contain_all_method
TEST_P(ManagerConformance, ASetHasTheMethodsOfASet) {
  auto set = manager.set<std::string>({"a", "b", "b"});
  worker(
      [](const brood::SetProxy<std::string>& own) {
        require(own.size() == 2 && own.contains("a"), "made of a range, each once");
        require(own.add("c") && !own.add("c"), "add");
        require(own.discard("c") && !own.discard("c"), "discard");
        own.update(std::vector<std::string>{"d", "e"});
        own.intersection_update(std::vector<std::string>{"a", "d", "e"});
        own.difference_update(std::vector<std::string>{"e"});
        own.symmetric_difference_update(std::vector<std::string>{"a", "f"});
      },
      set)
      .join();
  EXPECT_EQ(set.snapshot(), (std::set<std::string>{"d", "f"}));
  EXPECT_THROW(set.remove("none"), std::out_of_range);
  EXPECT_TRUE(set.pop());
  set.clear();
  EXPECT_EQ(set.pop(), std::nullopt);
}

// TestSyncManagerTypes.test_array, MGR-18
TEST_P(ManagerConformance, AnArrayKeepsItsLength) {
  auto array = manager.array<int>(std::vector{0, 1, 2, 3, 4});
  worker(
      [](const brood::ArrayProxy<int>& own) {
        require(own.size() == 5 && own.at(-1) == 4, "length and index");
        own.set(0, 42);
      },
      array)
      .join();
  EXPECT_EQ(array.snapshot(), (std::vector{42, 1, 2, 3, 4}));
  EXPECT_THROW(array.set_slice(0, 2, {1}), brood::UsageError);
  EXPECT_THROW((void)array.at(5), std::out_of_range);
}

// TestSyncManagerTypes.test_namespace, MGR-18
TEST_P(ManagerConformance, ANamespaceHasVariablesOfAnyType) {
  auto names = manager.namespace_();
  names.set("x", 0);
  names.set("y", std::string("one"));
  worker(
      [](const brood::NamespaceProxy& own) {
        require(own.get<int>("x") == 0 && own.get<std::string>("y") == "one", "what the parent set");
        own.set("x", 2);
        own.erase("y");
      },
      names)
      .join();
  EXPECT_EQ(names.get<int>("x"), 2);
  EXPECT_THROW((void)names.get<std::string>("y"), std::out_of_range);
}

// MGR-21
TEST_P(ManagerConformanceMethods, AServerLeavesInterruptsToTheProgram) {
  brood::Manager manager({.process = with()});
  auto list = manager.list<int>({1});
  ASSERT_EQ(::kill(static_cast<pid_t>(*manager.pid()), SIGINT), 0);
  EXPECT_EQ(list.size(), 1U);
}

}  // namespace
}  // namespace conformance
