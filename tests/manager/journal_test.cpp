// The journal: what a manager has after its server was killed, wherever that happened.
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "brood/serve_class.hpp"
#include "manager/journal.hpp"
#include "manager/manager_support.hpp"

namespace {

using namespace manager_test;
using namespace process_test;
using brood::manager::Journal;

/// A directory for the journal of one test.
class Journaled : public Processes {
 protected:
  Journaled() { std::filesystem::create_directory(directory_); }
  ~Journaled() override { std::filesystem::remove_all(directory_); }
  [[nodiscard]] std::string path() const { return directory_ / "journal"; }
  [[nodiscard]] brood::ManagerOptions options() const { return {.journal = path()}; }

  const std::filesystem::path directory_ =
      std::filesystem::temp_directory_path() / ("brood-journal-" + std::to_string(::getpid()));
};

void kill_server(brood::Manager& manager) {
  ::kill(static_cast<pid_t>(*manager.pid()), SIGKILL);
  manager.join();
}

// --- the file ------------------------------------------------------------------------------------------------------------

std::string text_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}
void write_text(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}
std::vector<std::string> names_in(const Journal& journal) {
  std::vector<std::string> out;
  journal.read([&](Journal::Word word, brood::Decoder& in) {
    EXPECT_EQ(word, Journal::Word::unpublished);
    out.emplace_back(in.str());
  });
  return out;
}
brood::Encoder named(const std::string& name) {
  brood::Encoder record = Journal::begin(Journal::Word::unpublished, 1);
  record.str(name);
  return record;
}

TEST_F(Journaled, ATornEndIsCutOffWhereverItIs) {
  const std::vector<std::string> names = {"one", "", std::string(300, 'x'), "four"};
  std::vector<std::size_t> ends;
  {
    Journal journal({.path = path()});
    EXPECT_TRUE(journal.empty());
    for (const std::string& name : names) {
      journal.append(named(name), false);
      ends.push_back(std::filesystem::file_size(path()));
    }
  }
  const std::string whole = text_of(path());
  for (std::size_t length = 0; length <= whole.size(); ++length) {
    write_text(path(), whole.substr(0, length));
    {
      Journal journal({.path = path()});
      const auto expected = std::ranges::count_if(ends, [&](std::size_t end) { return end <= length; });
      EXPECT_EQ(names_in(journal), std::vector<std::string>(names.begin(), names.begin() + expected)) << length;
      journal.append(named("after"), false);
    }
    EXPECT_EQ(names_in(Journal({.path = path()})).back(), "after") << length;
  }
  // As a power failure may leave it: the length is there, the contents are not.
  write_text(path(), whole + std::string(5000, '\0'));
  EXPECT_EQ(names_in(Journal({.path = path()})), names);
}

TEST_F(Journaled, DamageInTheMiddleIsReportedAndNothingIsChanged) {
  {
    Journal journal({.path = path()});
    for (int i = 0; i < 5; ++i) journal.append(named("name " + std::to_string(i)), false);
  }
  const std::string whole = text_of(path());
  const std::size_t record = (whole.size() - 16) / 5;
  // Every byte of what is not the last record.
  for (std::size_t at = 16; at < whole.size() - record; ++at) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    write_text(path(), damaged);
    EXPECT_THROW(Journal({.path = path()}), brood::DecodeError) << at;
    EXPECT_EQ(text_of(path()), damaged);
  }
  write_text(path(), "a letter, and no journal at all");
  EXPECT_THROW(Journal({.path = path()}), brood::TypeMismatch);
  EXPECT_THROW(brood::Manager{options()}, brood::TypeMismatch);
  EXPECT_THROW(Journal({.path = directory_ / "nowhere" / "journal"}), brood::OsError);
}

TEST_F(Journaled, OneServerHasItAtATime) {
  brood::Manager manager(options());
  EXPECT_THROW(Journal({.path = path()}), brood::AddressInUse);
  EXPECT_THROW(brood::Manager{options()}, brood::AddressInUse);
  EXPECT_EQ(manager.list<int>({1}).size(), 1U);
}

TEST_F(Journaled, ACopyHasWhatIsSaidToBothAndTakesItsPlaceWhole) {
  Journal journal({.path = path(), .spare_bytes = 100});
  EXPECT_FALSE(journal.is_due());
  while (!journal.is_due()) journal.append(named("old"), false);
  (void)journal.begin_copy();
  journal.write(named("in the copy"));
  journal.append(named("in the old one"), false);
  journal.append(named("in both"), true);
  EXPECT_EQ(names_in(journal).back(), "in both");
  journal.finish_copy();
  EXPECT_EQ(names_in(journal), (std::vector<std::string>{"in the copy", "in both"}));
  journal.append(named("after"), false);
  EXPECT_EQ(names_in(journal).back(), "after");
  EXPECT_FALSE(journal.is_due());
  EXPECT_THROW(Journal({.path = path()}), brood::AddressInUse) << "the copy is locked as well";
}

// --- what comes back -----------------------------------------------------------------------------------------------------

class Account {
 public:
  explicit Account(std::string owner) : owner_(std::move(owner)) {}
  Account() = default;
  long pay_in(long money) { return balance_ += money; }
  long pay_out(long money) {
    tries_ += 1;
    if (money > balance_) throw std::domain_error("not enough");
    return balance_ -= money;
  }
  [[nodiscard]] std::string report() const {
    return owner_ + " " + std::to_string(balance_) + " " + std::to_string(tries_);
  }
  template <class Archive>
  void serialize(Archive& archive) {
    archive(owner_, balance_, tries_);
  }

 private:
  std::string owner_;
  long balance_ = 0;
  long tries_ = 0;
};
const auto kAccount = brood::ServeClass<Account>("Account")
                          .constructor<std::string>()
                          .method<&Account::pay_in>("pay_in")
                          .method<&Account::pay_out>("pay_out")
                          .method<&Account::report>("report")
                          .kept();

/// Once with the records as they came, once after the journal has been written anew again and again.
class JournaledTwice : public Journaled, public ::testing::WithParamInterface<std::uint64_t> {
 protected:
  [[nodiscard]] brood::ManagerOptions options() const { return {.journal = path(), .journal_spare_bytes = GetParam()}; }
};
INSTANTIATE_TEST_SUITE_P(Spare, JournaledTwice, ::testing::Values(0, 1 << 20),
                         [](const auto& which) { return which.param == 0 ? "none" : "much"; });

TEST_P(JournaledTwice, EverythingIsThereAgainAndProxiesGoOn) {
  auto first = std::make_unique<brood::Manager>(options());
  auto dict = first->dict<std::string, int>({{"one", 1}});
  dict.set("two", 2);
  dict.set("three", 3);
  dict.erase("one");
  dict.update<[](int& n) { n *= 10; }>("two");
  EXPECT_THROW((dict.update<[](int&) { throw std::runtime_error("no"); }>("three")), std::runtime_error);
  auto list = first->list<int>({3, 1, 2});
  list.sort();
  list.append(4);
  EXPECT_THROW((void)list.pop(77), std::out_of_range);
  EXPECT_EQ(list.pop(0), 1);
  auto set = first->set<std::string>({"a", "b"});
  set.symmetric_difference_update(std::vector<std::string>{"b", "c"});
  auto names = first->namespace_();
  names.set("x", 5);
  names.set("y", std::string("why"));
  auto value = first->value<long>(7);
  (void)value.update<[](long& n) { return ++n; }>();
  EXPECT_TRUE(value.compare_exchange(8, 9));
  auto array = first->array<double>(3);
  array.set(1, 2.5);
  auto queue = first->queue<int>(5);
  for (int i = 0; i < 4; ++i) queue.put(i);
  EXPECT_EQ(queue.get(), 0);
  auto ordered = first->priority_queue<int>();
  ordered.put(1, 10);
  ordered.put(2, -10);
  ordered.put(3, 0);
  auto jobs = first->joinable_queue<int>();
  for (int i = 0; i < 4; ++i) jobs.put(i);
  EXPECT_EQ(jobs.get(), 0);
  EXPECT_EQ(jobs.get(), 1);
  jobs.task_done();
  auto closed = first->queue<int>();
  closed.put(1);
  closed.shutdown();
  auto lock = first->lock();
  lock.lock();
  auto semaphore = first->bounded_semaphore(2);
  semaphore.acquire();
  auto account = first->make_named("Account", std::string("ada"));
  EXPECT_EQ(account.call<long>("pay_in", 5L), 5);
  EXPECT_THROW(account.call<long>("pay_out", 6L), std::domain_error);
  auto of_lists = first->dict<std::string, brood::ListProxy<int>>();
  of_lists.set("ours", list);
  of_lists.set("its own", first->list<int>({7}));
  first->publish("lists", of_lists);
  first->publish("gone", list);
  first->unpublish("gone");
  const std::size_t objects = first->object_count();
  const brood::Address address = first->address();

  kill_server(*first);
  EXPECT_THROW((void)list.size(), brood::ManagerDied);
  for (int i = 0; i < 2; ++i) {
    brood::Manager second(options());
    EXPECT_EQ(second.address(), address);
    EXPECT_EQ(second.object_count(), objects);
    EXPECT_EQ(dict.items(), (std::vector<std::pair<std::string, int>>{{"two", 20}, {"three", 3}}));
    EXPECT_EQ(list.snapshot(), (std::vector{2, 3, 4}));
    EXPECT_EQ(set.snapshot(), (std::set<std::string>{"a", "c"}));
    EXPECT_EQ(names.get<int>("x"), 5);
    EXPECT_EQ(names.get<std::string>("y"), "why");
    EXPECT_EQ(value.get(), 9);
    EXPECT_EQ(array.snapshot(), (std::vector{0.0, 2.5, 0.0}));
    EXPECT_EQ(queue.qsize(), 3U);
    EXPECT_EQ(queue.capacity(), 5U);
    EXPECT_EQ(ordered.qsize(), 3U);
    EXPECT_EQ(jobs.qsize(), 3U) << "what was taken and not done is there again";
    EXPECT_EQ(jobs.unfinished(), 3U);
    EXPECT_THROW(closed.put(2), brood::QueueClosed);
    EXPECT_FALSE(lock.locked());
    EXPECT_EQ(semaphore.get_value(), 2);
    EXPECT_EQ(account.call<std::string>("report"), "ada 5 1");
    EXPECT_EQ(second.published(), std::vector<std::string>{"lists"});
    auto found = second.find<brood::DictProxy<std::string, brood::ListProxy<int>>>("lists");
    ASSERT_TRUE(found);
    EXPECT_EQ(*found, of_lists);
    EXPECT_EQ(found->at("ours"), list);
    EXPECT_EQ(found->at("its own").at(0), 7);
    // New ones are others.
    EXPECT_FALSE(second.list<int>() == list);
    kill_server(second);
  }
  brood::Manager last(options());
  EXPECT_EQ(queue.get(), 1);
  EXPECT_EQ(ordered.get(), 2);
  EXPECT_EQ(jobs.get(), 1);
  jobs.task_done();
  EXPECT_EQ(closed.get(), 1);
  EXPECT_THROW((void)closed.get(), brood::QueueClosed);
  lock.lock();
  lock.unlock();
}

TEST_F(Journaled, ObjectsThatNobodyHasAnyMoreDoNotComeBack) {
  {
    brood::Manager manager(options());
    auto kept = manager.list<int>({1});
    manager.publish("kept", kept);
    {
      auto dropped = manager.list<int>({2});
      EXPECT_EQ(manager.object_count(), 2U);
    }
    until([&] { return manager.object_count() == 1; });
    // A process that dies with the server: its reference is gone, too.
    brood::Process child(
        [](const std::string& address, const std::string& key) {
          brood::ManagerClient client(brood::Address(address), {.authkey = key});
          static auto of_the_child = client.list<int>({3});
          ::_exit(0);
        },
        manager.address().str(), std::string(brood::current_process().authkey()));
    child.start();
    child.join();
    kill_server(manager);
  }
  brood::Manager manager(options());
  until([&] { return manager.object_count() == 1; });
  EXPECT_EQ(manager.find<brood::ListProxy<int>>("kept")->at(0), 1);
}

TEST_F(Journaled, AnOrderlyEndKeepsEverythingAsWell) {
  for (int i = 0; i < 3; ++i) {
    brood::Manager manager(options());
    if (i == 0) manager.publish("list", manager.list<int>());
    auto list = *manager.find<brood::ListProxy<int>>("list");
    EXPECT_EQ(list.size(), static_cast<std::size_t>(i));
    list.append(i);
  }
}

TEST_F(Journaled, AClassThatTheNextServerDoesNotKnowWaitsForOneThatDoes) {
  brood::ManagerOptions unknown = options();
  {
    // In a journal of another program, so to speak.
    Journal journal({.path = path()});
    brood::Encoder record = Journal::begin(Journal::Word::made, 4);
    record.uint(1);
    record.str("named:Teapot");
    record.str("class:Teapot");
    record.array_header(1);
    record.str("tea");
    journal.append(record, false);
    brood::Encoder name = Journal::begin(Journal::Word::published, 2);
    name.str("teapot");
    name.uint(1);
    journal.append(name, false);
  }
  brood::Manager manager(unknown);
  auto teapot = manager.find<brood::NamedProxy>("teapot");
  ASSERT_TRUE(teapot);
  try {
    teapot->call("pour");
    FAIL() << "it poured";
  } catch (const brood::HandleError& error) {
    EXPECT_NE(std::string(error.what()).find("Teapot"), std::string::npos) << error.what();
  }
}

TEST_F(Journaled, WhatCannotBeWrittenIsRefusedAndTheRestGoesOn) {
  brood::Manager manager(brood::not_yet, options());
  manager.start([] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit small{100'000, 100'000};
    if (::setrlimit(RLIMIT_FSIZE, &small) != 0) std::abort();
  });
  auto dict = manager.dict<int, std::string>();
  manager.publish("dict", dict);
  int count = 0;
  try {
    for (;; ++count) dict.set(count, std::string(1000, 'x'));
  } catch (const brood::NoSpace& error) {
    EXPECT_EQ(error.code().value(), EFBIG);
  }
  EXPECT_GT(count, 50);
  EXPECT_EQ(dict.size(), static_cast<std::size_t>(count)) << "the last one is not there";
  EXPECT_THROW((void)manager.list<std::string>({std::string(50'000, 'y')}), brood::NoSpace);
  dict.set(count, "short");  // fits
  kill_server(manager);
  brood::Manager second(options());
  EXPECT_EQ(dict.size(), static_cast<std::size_t>(count) + 1);
}

// --- killed at any point -------------------------------------------------------------------------------------------------

/// One client's own corner: what was acknowledged must be there, and of what was under way all or nothing.
struct Corner {
  brood::DictProxy<std::string, std::vector<int>> dict;
  brood::ListProxy<int> list;
  brood::QueueProxy<int> queue;
  brood::ValueProxy<long> value;
  int done = 0;  ///< the rounds that were answered
  /// Steps of the round under way that were answered.
  int step = 0;

  explicit Corner(brood::Manager& manager)
      : dict(manager.dict<std::string, std::vector<int>>()),
        list(manager.list<int>()),
        queue(manager.queue<int>()),
        value(manager.value<long>()) {}

  void work_until_killed() {
    step = 0;
    try {
      for (;; ++done, step = 0) {
        dict.set("key" + std::to_string(done % 10), std::vector<int>(100, done));
        ++step;
        list.append(done);
        ++step;
        queue.put(done);
        ++step;
        (void)value.update<[](long& n) { return ++n; }>();
        ++step;
      }
    } catch (const brood::ManagerDied&) {
      return;
    }
  }
  void check() {
    // The step under way may have happened: step is what is sure.
    const auto is_one_of = [](long have, long sure, long perhaps) { return have == sure || have == perhaps; };
    const long n = done;
    const auto expect = [&](long have, int its_step, const char* what) {
      const long sure = n + (step > its_step ? 1 : 0);
      const long perhaps = n + (step >= its_step ? 1 : 0);
      EXPECT_TRUE(is_one_of(have, sure, perhaps)) << what << ": " << have << " after " << n << " rounds and " << step;
    };
    for (const auto& [key, all] : dict.items()) {
      ASSERT_EQ(all.size(), 100U);
      EXPECT_EQ(std::set<int>(all.begin(), all.end()).size(), 1U) << "half of it";
      EXPECT_EQ(key, "key" + std::to_string(all[0] % 10));
      EXPECT_TRUE(all[0] > n - 11) << key << " lost " << all[0] << " of " << n;
    }
    const auto listed = list.snapshot();
    expect(static_cast<long>(listed.size()), 1, "list");
    for (std::size_t i = 0; i < listed.size(); ++i) ASSERT_EQ(listed[i], static_cast<int>(i));
    expect(static_cast<long>(queue.qsize()), 2, "queue");
    expect(value.get(), 3, "value");
    // From here on the same again.
    list.clear();
    queue.shutdown();
    value.set(0);
    dict.clear();
  }
};

TEST_F(Journaled, KilledAnywhereItHasWhatWasAcknowledgedAndNothingHalf) {
  std::random_device device;
  const auto seed = device();
  std::mt19937 random(seed);
  // So little that it is written anew all the time, in half of the rounds.
  for (int round = 0; round < 12; ++round) {
    SCOPED_TRACE("seed " + std::to_string(seed) + ", round " + std::to_string(round));
    const std::uint64_t spare = round % 2 == 0 ? 1000 : 1 << 20;
    std::filesystem::remove(path());
    brood::Manager first({.journal = path(), .journal_spare_bytes = spare});
    std::vector<Corner> corners;
    for (int i = 0; i < 3; ++i) corners.emplace_back(first);
    {
      std::vector<std::thread> clients;
      for (Corner& corner : corners) clients.emplace_back([&] { corner.work_until_killed(); });
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 60'000));
      ::kill(static_cast<pid_t>(*first.pid()), SIGKILL);
      for (std::thread& it : clients) it.join();
      first.join();
    }
    brood::Manager second({.journal = path(), .journal_spare_bytes = spare});
    for (Corner& corner : corners) corner.check();
    EXPECT_LE(std::filesystem::exists(path() + ".new") ? std::filesystem::file_size(path() + ".new") : 0,
              std::filesystem::file_size(path()) + (1 << 20));
  }
}

TEST_F(Journaled, AQueueThatIsEmptiedMeanwhileLosesAndDoublesNothing) {
  brood::Manager first({.journal = path(), .journal_spare_bytes = 1000});
  auto queue = first.joinable_queue<int>();
  std::atomic<int> put = 0;
  std::set<int> done;
  int under_way = -1;
  std::thread producer([&] {
    try {
      for (;; ++put) queue.put(put.load());
    } catch (const brood::ManagerDied&) {
      return;
    }
  });
  std::thread consumer([&] {
    try {
      for (;;) {
        under_way = -1;
        const int item = queue.get();
        under_way = item;
        queue.task_done();
        done.insert(item);
      }
    } catch (const brood::ManagerDied&) {
      return;
    }
  });
  until([&] { return put > 300; });
  kill_server(first);
  producer.join();
  consumer.join();
  brood::Manager second({.journal = path(), .journal_spare_bytes = 1000});
  std::set<int> again;
  while (auto item = queue.try_get()) {
    EXPECT_TRUE(again.insert(*item).second) << "twice";
    EXPECT_FALSE(done.contains(*item)) << *item << " was done";
  }
  for (int i = 0; i < put; ++i) EXPECT_TRUE(done.contains(i) || again.contains(i) || i == under_way) << i;
}

TEST_F(Journaled, ItWorksWithSyncToo) {
  brood::ManagerOptions synced = options();
  synced.journal_sync = true;
  brood::Manager first(synced);
  auto list = first.list<int>();
  for (int i = 0; i < 10; ++i) list.append(i);
  kill_server(first);
  brood::Manager second(synced);
  EXPECT_EQ(list.size(), 10U);
}

}  // namespace
