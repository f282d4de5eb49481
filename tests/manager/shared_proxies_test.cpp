// Dicts and lists of a manager in shared memory: nobody asks the server, and it keeps them all the same.
#include "brood/shared_proxies.hpp"

#include <csignal>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "manager/manager_support.hpp"
#include "support/leak_check.hpp"

namespace {

using namespace manager_test;
using namespace process_test;

/// What a process opens once for all of its containers.
const bool kWarm = support::before_first_baseline([] { brood::shared::Map<int, int>().insert(1, 1); });

class SharedProxies : public Managed {};
INSTANTIATE_FOR_EVERY_METHOD(SharedProxies);

using Prices = brood::SharedDictProxy<std::string, double>;
using Counts = brood::SharedDictProxy<int, long>;

TEST_P(SharedProxies, ADictDoesWhatADictDoes) {
  auto dict = manager.shared_dict<std::string, double>();
  dict.set("tea", 2.5);
  EXPECT_TRUE(dict.insert("milk", 1));
  EXPECT_FALSE(dict.insert("milk", 2));
  EXPECT_EQ(dict.get("tea"), 2.5);
  EXPECT_EQ(dict.get("coffee"), std::nullopt);
  EXPECT_THROW((void)dict.at("coffee"), std::out_of_range);
  EXPECT_TRUE(dict.contains("milk"));
  EXPECT_EQ(dict.update("tea", [](double& price) { return price *= 2; }), 5);
  EXPECT_THROW(dict.update("tea",
                           [](double& price) {
                             price = 0;
                             throw std::runtime_error("no");
                           }),
               std::runtime_error);
  EXPECT_EQ(dict.items(), (std::vector<std::pair<std::string, double>>{{"milk", 1}, {"tea", 5}}));
  EXPECT_EQ(dict.pop("milk"), 1);
  EXPECT_FALSE(dict.erase("milk"));
  EXPECT_EQ(dict.size(), 1U);
  auto list = manager.shared_list<std::string>();
  list.append("a");
  list.append("b");
  list.set(0, "c");
  EXPECT_EQ(list.snapshot(), (std::vector<std::string>{"c", "b"}));
  EXPECT_EQ(list.pop(), "b");
  EXPECT_THROW((void)list.at(7), std::out_of_range);
}

TEST_P(SharedProxies, ChildrenChangeItTogether) {
  auto counts = manager.shared_dict<int, long>();
  std::vector<brood::Process> children;
  for (int i = 0; i < 3; ++i) {
    children.push_back(make(
        [](const Counts& all) {
          for (int j = 0; j < 200; ++j) all.update(j % 5, [](long& n) { ++n; });
        },
        counts));
  }
  for (auto& it : children) it.start();
  for (auto& it : children) it.join();
  EXPECT_EQ(counts.snapshot(), (std::map<int, long>{{0, 120}, {1, 120}, {2, 120}, {3, 120}, {4, 120}}));
}

TEST_P(SharedProxies, TheServerIsNotAsked) {
  auto prices = manager.shared_dict<std::string, double>();
  const auto server = static_cast<pid_t>(*manager.pid());
  ASSERT_EQ(::kill(server, SIGSTOP), 0);
  prices.set("tea", 2.5);
  EXPECT_EQ(prices.at("tea"), 2.5);
  EXPECT_EQ(prices.size(), 1U);
  ASSERT_EQ(::kill(server, SIGCONT), 0);
  // Not even if it is no more.
  ::kill(server, SIGKILL);
  manager.join();
  EXPECT_EQ(prices.pop("tea"), 2.5);
  EXPECT_THROW((void)manager.object_count(), brood::ManagerDied);
}

TEST_P(SharedProxies, ItLivesAsLongAsAnybodyRefersToIt) {
  {
    auto prices = manager.shared_dict<std::string, double>();
    prices.set("tea", 2.5);
    manager.publish("prices", prices);
  }
  auto child = make(
      [](const std::string& address) {
        brood::ManagerClient there{brood::Address(address)};
        auto found = there.find<Prices>("prices");
        SCENARIO_CHECK(found && found->at("tea") == 2.5);
        SCENARIO_CHECK((!there.find<Counts>("nothing")));
        found->set("milk", 1);
      },
      manager.address().str());
  child.start();
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
  {
    auto of_dicts = manager.dict<std::string, Prices>();
    of_dicts.set("prices", *manager.find<Prices>("prices"));
    manager.unpublish("prices");
    EXPECT_EQ(of_dicts.at("prices").at("milk"), 1);
    manager.publish("prices", of_dicts);
    EXPECT_THROW((void)manager.find<Counts>("prices"), brood::TypeMismatch);
  }
  manager.unpublish("prices");
  until([&] { return manager.object_count() == 0; });
}

}  // namespace
