// Values in a manager: dict, list, set, Namespace, Value, Array, queues, own classes; who sees them, and how long they live.
#include <unistd.h>

#include <algorithm>
#include <set>
#include <sstream>
#include <stdexcept>

#include "brood/serve_class.hpp"
#include "manager/manager_support.hpp"

namespace {

using namespace manager_test;
using namespace process_test;

INSTANTIATE_FOR_EVERY_METHOD(Managed);

struct Point {
  int x = 0;
  int y = 0;
  friend bool operator==(const Point&, const Point&) = default;
};

class NotEnough : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
const brood::RegisterException<NotEnough> kNotEnough;

class Counter {
 public:
  explicit Counter(long begin) : value_(begin) {
    if (begin < 0) throw std::domain_error("counters begin at 0 or above");
  }
  long add(long n) { return value_ += n; }
  [[nodiscard]] long value() const { return value_; }
  void take(long n) {
    if (n > value_) throw NotEnough("only " + std::to_string(value_));
    value_ -= n;
  }
  [[nodiscard]] std::int64_t pid() const { return ::getpid(); }

 private:
  long value_;
};
const auto kServed = brood::ServeClass<Counter>("Counter")
                         .constructor<long>()
                         .method<&Counter::add>("add")
                         .method<&Counter::value>("value")
                         .method<&Counter::take>("take");

template <class T>
std::string printed(const T& what) {
  return (std::ostringstream() << what).str();
}

// --- dict ----------------------------------------------------------------------------------------------------------------

TEST_F(ManagedOnce, ADictKeepsKeysAndValues) {
  auto dict = manager.dict<std::string, int>({{"one", 1}, {"two", 2}});
  EXPECT_EQ(dict.size(), 2U);
  EXPECT_EQ(dict.get("one"), 1);
  EXPECT_EQ(dict.get("three"), std::nullopt);
  EXPECT_EQ(dict.at("two"), 2);
  EXPECT_THROW((void)dict.at("three"), std::out_of_range);
  dict.set("three", 3);
  EXPECT_TRUE(dict.contains("three"));
  EXPECT_FALSE(dict.insert("three", 33));
  EXPECT_TRUE(dict.insert("four", 4));
  EXPECT_EQ(dict.set_default("four", 44), 4);
  EXPECT_EQ(dict.set_default("five", 5), 5);
  EXPECT_EQ(dict.keys(), (std::vector<std::string>{"one", "two", "three", "four", "five"}));
  EXPECT_EQ(dict.values(), (std::vector<int>{1, 2, 3, 4, 5}));
  EXPECT_EQ(dict.pop_item(), std::pair(std::string("five"), 5));
  EXPECT_EQ(dict.pop("one"), 1);
  EXPECT_EQ(dict.pop("one"), std::nullopt);
  EXPECT_TRUE(dict.erase("two"));
  EXPECT_FALSE(dict.erase("two"));
  EXPECT_EQ(dict.snapshot(), (std::map<std::string, int>{{"three", 3}, {"four", 4}}));
  dict.merge(std::map<std::string, int>{{"four", 40}, {"six", 6}});
  EXPECT_EQ(dict.items(), (std::vector<std::pair<std::string, int>>{{"three", 3}, {"four", 40}, {"six", 6}}));
  dict.clear();
  EXPECT_TRUE(dict.empty());
  EXPECT_EQ(dict.pop_item(), std::nullopt);
}

TEST_F(ManagedOnce, ADictsValuesAreChangedWhereTheyAre) {
  auto dict = manager.dict<std::string, long>();
  EXPECT_EQ((dict.update<[](long& n, long by) { return n += by; }>("x", 5)), 5);
  EXPECT_EQ((dict.update<[](long& n, long by) { return n += by; }>("x", 5)), 10);
  EXPECT_THROW((dict.update<[](long& n) {
                 n = -1;
                 throw std::runtime_error("changed my mind");
               }>("x")),
               std::runtime_error);
  EXPECT_EQ(dict.at("x"), 10);
  EXPECT_TRUE(dict.compare_exchange("x", 10, 11));
  EXPECT_FALSE(dict.compare_exchange("x", 10, 12));
  EXPECT_FALSE(dict.compare_exchange("y", 1, 2));
  EXPECT_TRUE(dict.compare_exchange("y", std::nullopt, 2));
  EXPECT_TRUE(dict.compare_exchange("y", 2, std::nullopt));
  EXPECT_FALSE(dict.contains("y"));
}

TEST_F(ManagedOnce, KeysAndValuesMayBeAnythingThatTravels) {
  auto dict = manager.dict<std::pair<int, std::string>, std::vector<std::optional<Point>>>();
  dict.set({1, "a"}, {Point{1, 2}, std::nullopt});
  EXPECT_EQ(dict.at({1, "a"}), (std::vector<std::optional<Point>>{Point{1, 2}, std::nullopt}));
  auto of_optionals = manager.dict<int, std::optional<int>>();
  of_optionals.set(1, std::nullopt);
  EXPECT_EQ(of_optionals.get(1), std::optional<std::optional<int>>(std::in_place));
  EXPECT_EQ(of_optionals.get(2), std::nullopt);
}

TEST_P(Managed, ChildrenChangeADictTogether) {
  auto dict = manager.dict<std::string, long>();
  constexpr int kEach = 200;
  const auto work = [](const brood::DictProxy<std::string, long>& all, int id) {
    for (int i = 0; i < kEach; ++i) all.update<[](long& n) { ++n; }>("together");
    all.set("child" + std::to_string(id), id);
  };
  std::vector<brood::Process> children;
  for (int i = 0; i < 3; ++i) children.push_back(make(work, dict, i));
  for (auto& it : children) it.start();
  for (auto& it : children) it.join();
  EXPECT_EQ(dict.at("together"), 3 * kEach);
  EXPECT_EQ(dict.size(), 4U);
  EXPECT_EQ(dict.at("child2"), 2);
}

// --- list, set, Namespace, Value, Array ------------------------------------------------------------------------------------

TEST_F(ManagedOnce, AListDoesWhatAListDoes) {
  auto list = manager.list<int>({1, 2, 3});
  list.append(4);
  list.extend(std::vector{5, 6});
  list.insert(0, 0);
  EXPECT_EQ(list.snapshot(), (std::vector{0, 1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(list[-1], 6);
  EXPECT_EQ(list.at(1), 1);
  EXPECT_THROW((void)list.at(7), std::out_of_range);
  EXPECT_THROW((void)list.at(-8), std::out_of_range);
  EXPECT_EQ(list.slice(1, 3), (std::vector{1, 2}));
  EXPECT_EQ(list.slice(-2, 100), (std::vector{5, 6}));
  EXPECT_EQ(list.slice(5, 2), std::vector<int>());
  list.set(0, 7);
  list.set_slice(1, 3, {8});
  EXPECT_EQ(list.snapshot(), (std::vector{7, 8, 3, 4, 5, 6}));
  list.sort();
  EXPECT_EQ(list.snapshot(), (std::vector{3, 4, 5, 6, 7, 8}));
  list.reverse();
  EXPECT_EQ(list.pop(), 3);
  EXPECT_EQ(list.pop(0), 8);
  EXPECT_TRUE(list.remove(6));
  EXPECT_FALSE(list.remove(6));
  EXPECT_EQ(list.index(4), 2U);
  EXPECT_EQ(list.index(44), std::nullopt);
  EXPECT_EQ(list.count(5), 1U);
  EXPECT_EQ(list.erase(0, 1), 1U);
  EXPECT_EQ((list.apply<[](std::vector<int>& all, int n) {
              all.push_back(n);
              return all.size();
            }>(9)),
            3U);
  EXPECT_EQ(list.snapshot(), (std::vector{5, 4, 9}));
  list.clear();
  EXPECT_THROW((void)list.pop(), std::out_of_range);
}

TEST_F(ManagedOnce, ASetDoesWhatASetDoes) {
  auto set = manager.set<std::string>({"a", "b", "a"});
  EXPECT_EQ(set.size(), 2U);
  EXPECT_TRUE(set.add("c"));
  EXPECT_FALSE(set.add("c"));
  EXPECT_TRUE(set.contains("a"));
  EXPECT_TRUE(set.discard("a"));
  EXPECT_FALSE(set.discard("a"));
  EXPECT_THROW(set.remove("a"), std::out_of_range);
  set.update(std::vector<std::string>{"x", "y"});
  set.difference_update(std::vector<std::string>{"x", "nothing"});
  EXPECT_EQ(set.snapshot(), (std::set<std::string>{"b", "c", "y"}));
  set.symmetric_difference_update(std::vector<std::string>{"b", "z"});
  EXPECT_EQ(set.snapshot(), (std::set<std::string>{"c", "y", "z"}));
  set.intersection_update(std::vector<std::string>{"c", "z", "q"});
  EXPECT_EQ(set.snapshot(), (std::set<std::string>{"c", "z"}));
  EXPECT_TRUE(set.pop());
  set.clear();
  EXPECT_EQ(set.pop(), std::nullopt);
}

TEST_F(ManagedOnce, ValuesArraysAndNamespaces) {
  auto value = manager.value<long>(5);
  EXPECT_EQ(value.exchange(6), 5);
  EXPECT_TRUE(value.compare_exchange(6, 7));
  EXPECT_FALSE(value.compare_exchange(6, 8));
  EXPECT_EQ((value.update<[](long& n) { return ++n; }>()), 8);
  EXPECT_EQ(value.get(), 8);

  auto array = manager.array<double>(3);
  array.set(1, 2.5);
  EXPECT_EQ(array.snapshot(), (std::vector{0.0, 2.5, 0.0}));
  array.set_slice(0, 2, {1.0, 2.0});
  EXPECT_THROW(array.set_slice(0, 2, {1.0}), brood::UsageError);
  EXPECT_EQ(array.size(), 3U);

  auto names = manager.namespace_();
  names.set("x", 5);
  names.set("text", std::string("hello"));
  EXPECT_EQ(names.get<int>("x"), 5);
  EXPECT_EQ(names.get<std::string>("text"), "hello");
  EXPECT_THROW((void)names.get<int>("text"), brood::DecodeError);
  EXPECT_THROW((void)names.get<int>("nothing"), std::out_of_range);
  EXPECT_EQ(names.try_get<int>("nothing"), std::nullopt);
  EXPECT_EQ((names.update<[](int& n) { return ++n; }, int>("x")), 6);
  EXPECT_EQ(names.names(), (std::vector<std::string>{"x", "text"}));
  EXPECT_TRUE(names.erase("x"));
}

// --- queues --------------------------------------------------------------------------------------------------------------

TEST_F(ManagedOnce, AQueueIsBoundedAndShutDown) {
  auto queue = manager.queue<int>(2);
  EXPECT_TRUE(queue.empty());
  queue.put(1);
  EXPECT_TRUE(queue.try_put(2));
  EXPECT_TRUE(queue.full());
  EXPECT_FALSE(queue.try_put(3));
  EXPECT_FALSE(queue.try_put_for(3, 1ms));
  EXPECT_THROW(queue.put_nowait(3), brood::Full);
  EXPECT_EQ(queue.get(), 1);
  EXPECT_EQ(queue.try_get(), 2);
  EXPECT_EQ(queue.try_get(), std::nullopt);
  EXPECT_EQ(queue.try_get_for(1ms), std::nullopt);
  EXPECT_THROW((void)queue.get_nowait(), brood::Empty);
  queue.put(4);
  queue.shutdown();
  EXPECT_THROW(queue.put(5), brood::QueueClosed);
  EXPECT_EQ(queue.get(), 4);
  EXPECT_THROW((void)queue.get(), brood::QueueClosed);
}

TEST_P(Managed, AQueueCarriesItemsFromChildToChild) {
  auto items = manager.queue<std::string>(4);
  auto results = manager.queue<std::size_t>();
  auto producer = make(
      [](const brood::QueueProxy<std::string>& out) {
        for (int i = 0; i < 50; ++i) out.put(std::string(static_cast<std::size_t>(i), 'x'));
        out.shutdown();
      },
      items);
  auto consumer = make(
      [](const brood::QueueProxy<std::string>& in, const brood::QueueProxy<std::size_t>& out) {
        try {
          for (;;) out.put(in.get().size());
        } catch (const brood::QueueClosed&) {
          out.shutdown();
        }
      },
      items, results);
  producer.start();
  consumer.start();
  for (std::size_t i = 0; i < 50; ++i) EXPECT_EQ(results.get(), i);
  EXPECT_THROW((void)results.get(), brood::QueueClosed);
  producer.join();
  consumer.join();
}

TEST_F(ManagedOnce, APriorityQueueGivesTheLowestFirst) {
  auto queue = manager.priority_queue<std::string>();
  queue.put("late", 9);
  queue.put("first", 1);
  queue.put("second", 1);
  EXPECT_EQ(queue.get(), "first");
  EXPECT_EQ(queue.get(), "second");
  EXPECT_EQ(queue.get(), "late");
}

TEST_P(Managed, WhatAKilledWorkerHadTakenIsGivenToAnother) {
  auto jobs = manager.joinable_queue<int>();
  for (int i = 0; i < 3; ++i) jobs.put(i);
  auto taken = manager.event();
  auto victim = make(
      [](const brood::JoinableQueueProxy<int>& in, const brood::EventProxy& told) {
        (void)in.get();
        told.set();
        brood::Event().wait();
      },
      jobs, taken);
  victim.start();
  taken.wait();
  EXPECT_EQ(jobs.qsize(), 2U);
  victim.kill();
  victim.join();
  std::multiset<int> seen;
  for (int i = 0; i < 3; ++i) {
    seen.insert(jobs.get());
    jobs.task_done();
  }
  EXPECT_EQ(seen, (std::multiset<int>{0, 1, 2}));
  jobs.join();
  EXPECT_THROW(jobs.task_done(), brood::UsageError);
}

// --- own classes -----------------------------------------------------------------------------------------------------------

TEST_P(Managed, ObjectsOfOwnClassesLiveInTheServer) {
  auto counter = manager.make<Counter>(5L);
  EXPECT_EQ(counter.call<&Counter::pid>(), manager.pid());
  auto child = make(
      [](const brood::Proxy<Counter>& there) {
        for (int i = 0; i < 100; ++i) (void)there.call<&Counter::add>(1L);
      },
      counter);
  child.start();
  for (int i = 0; i < 100; ++i) (void)counter.call<&Counter::add>(1L);
  child.join();
  EXPECT_EQ(counter.call<&Counter::value>(), 205);
  EXPECT_EQ((counter.call<[](Counter& it, long by) { return it.value() * by; }>(2L)), 410);
}

TEST_F(ManagedOnce, ExceptionsComeHome) {
  auto counter = manager.make<Counter>(5L);
  try {
    counter.call<&Counter::take>(50L);
    FAIL() << "nothing was thrown";
  } catch (const NotEnough& error) {
    EXPECT_STREQ(error.what(), "only 5");
    const auto* remote = dynamic_cast<const brood::RemoteError*>(&error);
    ASSERT_NE(remote, nullptr);
    EXPECT_EQ(remote->pid(), manager.pid());
  }
  EXPECT_THROW((void)manager.make<Counter>(-1L), std::domain_error);
  EXPECT_EQ(counter.call<&Counter::value>(), 5);
}

TEST_F(ManagedOnce, ClassesAreMadeAndCalledByName) {
  auto counter = manager.make_named("Counter", 5L);
  EXPECT_EQ(counter.call<long>("add", 2L), 7);
  EXPECT_EQ(counter.call<long>("value"), 7);
  EXPECT_THROW(counter.call("take", 70L), NotEnough);
  EXPECT_THROW(counter.call("pid"), brood::UsageError) << "it has not been given a name";
  EXPECT_THROW((void)counter.call<long>("add", std::string("two")), brood::DecodeError);
  EXPECT_THROW((void)counter.call<long>("add"), brood::DecodeError);
  EXPECT_THROW((void)manager.make_named("Nothing"), brood::UsageError);
}

// --- names, copies, life --------------------------------------------------------------------------------------------------

TEST_P(Managed, ProxiesNestAndTravel) {
  using Inner = brood::ListProxy<int>;
  auto outer = manager.dict<std::string, Inner>();
  outer.set("numbers", manager.list<int>({1}));
  auto queue = brood::Queue<Inner>();
  queue.put(manager.list<int>({7}));
  auto child = make(
      [](const brood::DictProxy<std::string, Inner>& dict, brood::Queue<Inner>& more) {
        dict.at("numbers").append(2);
        Inner other = more.get();
        other.append(8);
        dict.set("other", other);
      },
      outer, queue);
  child.start();
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
  EXPECT_EQ(outer.at("numbers").snapshot(), (std::vector{1, 2}));
  EXPECT_EQ(outer.at("other").snapshot(), (std::vector{7, 8}));
  EXPECT_EQ(outer.at("other"), outer.at("other"));
  EXPECT_FALSE(outer.at("other") == outer.at("numbers"));
}

TEST_F(ManagedOnce, AnObjectLivesAsLongAsSomebodyRefersToIt) {
  const std::size_t before = manager.object_count();
  {
    auto dict = manager.dict<int, int>();
    auto copy = dict;
    EXPECT_EQ(manager.object_count(), before + 1);
  }
  until([&] { return manager.object_count() == before; });
  auto outer = manager.list<brood::ListProxy<int>>();
  outer.append(manager.list<int>({1}));
  EXPECT_EQ(manager.object_count(), before + 2);
  EXPECT_EQ(outer.at(0).at(0), 1);
  outer.clear();
  until([&] { return manager.object_count() == before + 1; });
}

TEST_P(Managed, ReferencesOfTheKilledAreForgotten) {
  const std::size_t before = manager.object_count();
  auto told = manager.event();
  auto list = std::make_optional(manager.list<int>({1, 2}));
  auto victim = make(
      [](const brood::ListProxy<int>& there, const brood::EventProxy& tell) {
        EXPECT_EQ(there.size(), 2U);
        tell.set();
        brood::Event().wait();
      },
      *list, told);
  victim.start();
  told.wait();
  list.reset();
  EXPECT_EQ(manager.object_count(), before + 2) << "the child has it";
  victim.kill();
  victim.join();
  until([&] { return manager.object_count() == before + 1; });
}

TEST_F(ManagedOnce, PublishedObjectsAreFoundByName) {
  using Dict = brood::DictProxy<std::string, int>;
  {
    auto dict = manager.dict<std::string, int>({{"x", 1}});
    manager.publish("scores", dict);
    EXPECT_THROW(manager.publish("scores", dict), brood::AlreadyExists);
  }
  brood::ManagerClient client(manager.address());
  auto found = client.find<Dict>("scores");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->at("x"), 1);
  EXPECT_EQ(client.find<Dict>("nothing"), std::nullopt);
  EXPECT_THROW((void)client.find<brood::ListProxy<int>>("scores"), brood::TypeMismatch);
  EXPECT_EQ(client.published(), std::vector<std::string>{"scores"});
  EXPECT_TRUE(client.unpublish("scores"));
  EXPECT_FALSE(client.unpublish("scores"));
}

TEST_F(ManagedOnce, ProxiesPrintWhatTheyStandFor) {
  auto list = manager.list<int>();
  EXPECT_EQ(printed(list).substr(0, 11), "<list<int> ");
  EXPECT_NE(printed(list).find(manager.address().str()), std::string::npos);
  EXPECT_EQ(printed(manager).substr(0, 10), "<Manager '");
}

}  // namespace
