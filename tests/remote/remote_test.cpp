// Remote: methods, arguments, results, states, moves.
#include <sys/wait.h>
#include <unistd.h>

#include "brood/lock.hpp"
#include "brood/queue.hpp"
#include "brood/value.hpp"
#include "remote/remote_support.hpp"
#include "support/inspect.hpp"

#include <fstream>
#include <typeinfo>

namespace {

using namespace remote_test;
using brood::Remote;

class RemoteObject : public EveryHost {};
INSTANTIATE_FOR_EVERY_METHOD(RemoteObject);

long times(const Account& account, long factor) { return account.balance() * factor; }

TEST_P(RemoteObject, LivesInAProcessOfItsOwn) {
  auto account = make<Account>("ada");
  EXPECT_NE(account.pid(), ::getpid());
  EXPECT_EQ(account.call<&Account::pid>(), account.Remote<Account>::pid());
  EXPECT_TRUE(account.is_running());
  EXPECT_FALSE(account.exitcode());
  account.stop();
  EXPECT_FALSE(account.is_running());
  EXPECT_EQ(account.exitcode(), 0);
}

TEST_P(RemoteObject, MethodsOfEveryKind) {
  auto account = make<Account>("ada", 5);
  account.call<&Account::deposit>(7);
  EXPECT_EQ(account.call<&Account::balance>(), 12);  // const, noexcept
  EXPECT_EQ(account.call<&Account::name>(), "ada");  // of a base, by reference
  EXPECT_EQ(account.call<&Named::name>(), "ada");
  EXPECT_EQ(account.call<&Account::visits>(), 0);  // data
  EXPECT_EQ(account.call<&times>(2), 24);          // a function
  EXPECT_EQ((account.call<[](Account& it, int n) { return it.visits += n; }>(3)), 3);
  EXPECT_EQ((account.call<[](const Account& it, const std::string& more) { return it.name() + more; }>(" b")), "ada b");
  account.call<[](Account& it) { ++it.visits; }>();
  EXPECT_EQ(account.call<&Account::visits>(), 4);
  EXPECT_EQ(account.call_for<&Account::balance>(1h), 12);
}

TEST_P(RemoteObject, TheShortForms) {
  auto account = make<Account>("ada");
  account.deposit(5);
  account.withdraw(2);
  EXPECT_EQ(account.balance(), 3);
  EXPECT_EQ(account.name(), "ada");
  EXPECT_EQ(account.visits(), 0);
  EXPECT_THROW(account.deposit(-1), std::invalid_argument);
}

TEST_P(RemoteObject, IsAnAAndNothingElse) {
  auto account = make<Account>("ada");
  EXPECT_TRUE((account.call<[](Account& it) { return typeid(static_cast<Named&>(it)) == typeid(Account); }>()));
  EXPECT_EQ(printed(account).substr(0, 30), "<Remote remote_test::Account '");
}

struct Point {
  int x = 0;
  int y = 0;
};
struct Everything {
  Everything(std::string text, std::vector<int> numbers, std::optional<Point> point, std::unique_ptr<int> owned)
      : size(static_cast<int>(text.size() + numbers.size()) + point.value_or(Point{}).x + *owned) {}
  int size;
};

TEST_P(RemoteObject, ArgumentsAreWhatAConstructorTakes) {
  auto point = make<Point>(3, 4);
  EXPECT_EQ(point.call<&Point::x>() + point.call<&Point::y>(), 7);
  auto empty = make<Point>();
  EXPECT_EQ(empty.call<&Point::x>(), 0);
  auto all =
      make<Everything>("four", std::vector<int>{1, 2, 3}, std::optional<Point>({.x = 10}), std::make_unique<int>(100));
  EXPECT_EQ(all.call<&Everything::size>(), 117);
  const std::string large(1'000'000, 'x');
  auto account = make<Account>(large, 1);
  EXPECT_EQ(account.name(), large);
  // Also without copies of the arguments in between.
  const Point here{.x = 1, .y = 2};
  auto copied = make<Point>(here);
  EXPECT_EQ(copied.call<&Point::y>(), 2);
}

/// Keeps references to shared objects.
class Teller {
 public:
  Teller(brood::Lock& lock, brood::Value<long>& total, brood::Queue<std::string>& out)
      : lock_(lock), total_(total), out_(out) {}
  void add(long n) {
    const std::scoped_lock guard(lock_);
    total_.set(total_.get() + n);
    out_.put("added " + std::to_string(n));
  }
  long sum(brood::Value<long>& other) { return total_.get() + other.get(); }
  brood::Queue<std::string>& out() { return out_; }
  brood::Queue<int> fresh(int n) {
    brood::Queue<int> made;
    made.put(n);
    return made;
  }

 private:
  brood::Lock& lock_;
  brood::Value<long>& total_;
  brood::Queue<std::string>& out_;
};

TEST_P(RemoteObject, SharedObjectsAreOpenedThere) {
  brood::Lock lock;
  brood::Value<long> total(40);
  brood::Queue<std::string> out;
  auto teller = make<Teller>(lock, total, out);
  teller.call<&Teller::add>(2);
  EXPECT_EQ(total.get(), 42);
  EXPECT_EQ(out.get(), "added 2");
  brood::Value<long> other(8);
  EXPECT_EQ(teller.call<&Teller::sum>(other), 50);
  // And come back: one that is held there, one that nobody holds.
  auto same = teller.call<&Teller::out>();
  out.put("seen");
  EXPECT_EQ(same.get(), "seen");
  EXPECT_EQ(teller.call<&Teller::fresh>(5).get(), 5);
}

TEST_P(RemoteObject, ExceptionsComeHome) {
  auto account = make<Account>("ada", 5);
  try {
    account.withdraw(50);
    ADD_FAILURE();
  } catch (const NotEnough& error) {
    EXPECT_STREQ(error.what(), "only 5");
    const auto& remote = dynamic_cast<const brood::RemoteError&>(error);
    EXPECT_EQ(remote.type_name(), "remote_test::NotEnough");
    EXPECT_EQ(remote.pid(), account.Remote<Account>::pid());
    EXPECT_EQ(remote.process_name().substr(0, 7), "Remote-");
    EXPECT_NE(remote.stack().find("Account::withdraw"), std::string::npos) << remote.report();
  }
  EXPECT_THROW(account.deposit(-1), brood::RemoteError);
  EXPECT_EQ(account.balance(), 5);
}

TEST_P(RemoteObject, FuturesAndChains) {
  auto account = make<Account>("ada", 5);
  std::vector<brood::Future<void>> all;
  for (int i = 0; i < 100; ++i) all.push_back(account.async<&Account::deposit>(1));
  EXPECT_EQ(account.async<&Account::balance>().get(), 105);
  for (auto& one : all) one.get();
  EXPECT_EQ(account.async<&Account::balance>().then([](long n) { return std::to_string(n); }).get(), "105");
  EXPECT_THROW(account.async<&Account::withdraw>(1000).get(), NotEnough);
  EXPECT_THROW(account.async<&Account::withdraw>(1000).then([] {}).get(), NotEnough);
}

TEST_P(RemoteObject, ATimeoutEndsTheWaitAndNotTheCall) {
  Pipe said;
  Pipe gate;
  auto account = make<Account>("ada", 5);
  EXPECT_THROW((void)account.call_for<&Account::wait>(10ms, said.writer(), gate.reader()), brood::TimeoutError);
  EXPECT_EQ(said.line(), "inside");
  gate.let_go();
  EXPECT_EQ(account.balance(), 5);
}

// --- states ----------------------------------------------------------------------------------------------------------

TEST_P(RemoteObject, BeforeTheStart) {
  Remote<Account> account(brood::not_yet, by(GetParam()));
  EXPECT_THROW((void)account.call<&Account::balance>(), brood::NotStarted);
  EXPECT_THROW((void)account.async<&Account::balance>(), brood::NotStarted);
  EXPECT_THROW((void)account.balance(), brood::NotStarted);
  EXPECT_THROW(account.kill(), brood::NotStarted);
  account.stop();
  EXPECT_FALSE(account.is_running());
  EXPECT_FALSE(account.Remote<Account>::pid());
  EXPECT_FALSE(account.exitcode());
  EXPECT_EQ(account.restarts(), 0U);
  EXPECT_TRUE(printed(account).ends_with(" not started>")) << printed(account);
}

TEST_P(RemoteObject, StartAndStopAndStartAgain) {
  Pipe said;
  Remote<Witness> witness(brood::not_yet, by(GetParam()));
  for (int round = 0; round < 2; ++round) {
    witness.start(said.writer());
    EXPECT_EQ(said.line(), "made");
    EXPECT_TRUE(printed(witness).ends_with(" running>")) << printed(witness);
    EXPECT_THROW(witness.start(said.writer()), brood::UsageError);
    witness.call<&Witness::note>("used");
    EXPECT_EQ(said.line(), "used");
    witness.stop();
    EXPECT_EQ(said.line(), "destroyed");
    EXPECT_EQ(witness.exitcode(), 0);
    EXPECT_TRUE(printed(witness).ends_with(" stopped>")) << printed(witness);
    EXPECT_NE(text_of<brood::NotStarted>([&] { witness.call<&Witness::note>("no"); }).find("was stopped"),
              std::string::npos);
    EXPECT_THROW((void)witness.async<&Witness::note>("no"), brood::NotStarted);
    witness.stop();
  }
}

TEST_P(RemoteObject, ADeadHostIsPeerGoneUntilItIsStartedAgain) {
  auto account = make<Account>("ada", 5);
  const auto pid = account.Remote<Account>::pid();
  for (int round = 0; round < 2; ++round) {
    const brood::PeerGone gone = gone_by([&] { account.crash(); });
    EXPECT_EQ(gone.pid(), pid);
    EXPECT_EQ(gone.exitcode(), -SIGKILL);
    EXPECT_NE(std::string(gone.what()).find("exit code -SIGKILL"), std::string::npos) << gone.what();
  }
  EXPECT_THROW((void)account.async<&Account::balance>().get(), brood::PeerGone);
  EXPECT_FALSE(account.is_running());
  EXPECT_EQ(account.exitcode(), -SIGKILL);
  EXPECT_TRUE(printed(account).ends_with(" dead>")) << printed(account);
  account.start("bob", 7);
  EXPECT_EQ(account.name(), "bob");
  EXPECT_EQ(gone_by([&] { account.call<&Account::end>(3); }).exitcode(), 3);
  account.stop();
  EXPECT_THROW((void)account.balance(), brood::NotStarted);
  account.start("cleo");
  EXPECT_EQ(account.balance(), 0);
}

TEST_P(RemoteObject, TheDestructorStops) {
  Pipe said;
  {
    auto witness = make<Witness>(said.writer());
    EXPECT_EQ(said.line(), "made");
  }
  EXPECT_EQ(said.line(), "destroyed");
}

TEST_P(RemoteObject, StopLetsCallsUnderWayEnd) {
  Pipe said;
  Pipe gate;
  auto account = make<Account>("ada", 5);
  auto inside = account.async<&Account::wait>(said.writer(), gate.reader());
  auto behind = account.async<&Account::balance>();
  EXPECT_EQ(said.line(), "inside");
  std::thread waiting([&] { EXPECT_EQ(inside.get(), 5); });
  std::thread stopping([&] { account.stop(); });
  gate.let_go();
  stopping.join();
  waiting.join();
  EXPECT_EQ(behind.get(), 5);
  EXPECT_EQ(account.exitcode(), 0);
}

TEST_P(RemoteObject, ACallThatNobodyWaitsForDoesNotHoldUpStop) {
  Pipe said;
  Pipe gate;
  auto account = make<Account>("ada", 5);
  const std::string large(1'000'000, 'x');
  // Its answer is longer than what lies between the two processes.
  EXPECT_THROW(
      ((void)account
           .call_for<[](Account& it, const std::string& text, const std::string& writer, const std::string& reader) {
             (void)it.wait(writer, reader);
             return text;
           }>(5ms, large, said.writer(), gate.reader())),
      brood::TimeoutError);
  EXPECT_EQ(said.line(), "inside");
  gate.let_go();
  account.stop();
  EXPECT_EQ(account.exitcode(), 0);
}

/// A copy of the host that would go on as if it were the host.
struct Copied {
  int come_back_twice(bool by_exception) const {
    const pid_t child = ::fork();
    if (child == 0) {
      if (by_exception) throw std::runtime_error("of the copy");
      return 0;
    }
    int status = 0;
    (void)::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
};
TEST_P(RemoteObject, AForkedCopyThatComesBackFromACallEnds) {
  auto copied = make<Copied>();
  EXPECT_EQ(copied.call<&Copied::come_back_twice>(false), 1);
  EXPECT_EQ(copied.call<&Copied::come_back_twice>(true), 1);
  copied.stop();
  EXPECT_EQ(copied.exitcode(), 0);
}

// --- constructors that fail ------------------------------------------------------------------------------------------

struct Ends {
  Ends() { std::_Exit(5); }
};
struct Lurks {
  Lurks(const std::string& writer, const std::string& reader) {
    process_test::tell(writer, "in the constructor");
    process_test::await(reader);
  }
  int number() { return 1; }
};

TEST_P(RemoteObject, WhatTheConstructorThrowsIsThrownByTheStart) {
  Remote<Account> account(brood::not_yet, by(GetParam()));
  for (int round = 0; round < 2; ++round) {
    try {
      account.start("ada", -1);
      ADD_FAILURE();
    } catch (const NotEnough& error) {
      EXPECT_STREQ(error.what(), "begin with more");
      EXPECT_NE(dynamic_cast<const brood::RemoteError&>(error).stack().find("remote_test::Account"), std::string::npos);
    }
    EXPECT_FALSE(account.is_running());
    EXPECT_THROW((void)account.balance(), brood::NotStarted);
  }
  account.start("ada", 1);
  EXPECT_EQ(account.balance(), 1);
  EXPECT_THROW(make<Account>("ada", -1), NotEnough);
}

TEST_P(RemoteObject, AConstructorThatEndsTheProcessIsAStartError) {
  const std::string text = text_of<brood::StartError>([] { make<Ends>(); });
  EXPECT_NE(text.find("exit code 5"), std::string::npos) << text;
}

TEST_P(RemoteObject, AConstructorThatNeverEndsCanBeKilled) {
  Pipe said;
  Pipe gate;
  Remote<Lurks> lurks(brood::not_yet, by(GetParam()));
  std::thread killer([&] {
    EXPECT_EQ(said.line(), "in the constructor");
    EXPECT_TRUE(printed(lurks).ends_with(" starting>")) << printed(lurks);
    EXPECT_FALSE(lurks.is_running());
    lurks.kill();
  });
  const std::string text = text_of<brood::StartError>([&] { lurks.start(said.writer(), gate.reader()); });
  EXPECT_NE(text.find("exit code -SIGKILL"), std::string::npos) << text;
  killer.join();
}

TEST_P(RemoteObject, OthersWaitForTheStart) {
  Pipe said;
  Pipe gate;
  Remote<Lurks> lurks(brood::not_yet, by(GetParam()));
  std::thread starting([&] { lurks.start(said.writer(), gate.reader()); });
  EXPECT_EQ(said.line(), "in the constructor");
  std::thread calling([&] { EXPECT_EQ(lurks.call<&Lurks::number>(), 1); });
  gate.let_go();
  starting.join();
  calling.join();
}

// --- moves and options -----------------------------------------------------------------------------------------------

TEST_P(RemoteObject, MovesTakeTheHostAlong) {
  Pipe said;
  auto witness = make<Witness>(said.writer());
  EXPECT_EQ(said.line(), "made");
  Remote<Witness> moved = std::move(witness);
  moved.call<&Witness::note>("moved");
  EXPECT_EQ(said.line(), "moved");
  EXPECT_THROW(witness.call<&Witness::note>("no"),
               brood::UsageError);  // NOLINT(bugprone-use-after-move): what is tested
  EXPECT_THROW(witness.stop(), brood::UsageError);
  EXPECT_EQ(printed(witness), "<Remote moved from>");
  moved = make<Witness>(said.writer());
  EXPECT_EQ(said.line(), "made");
  EXPECT_EQ(said.line(), "destroyed");  // the first one, when it was replaced
  moved = Remote<Witness>(brood::not_yet);
  EXPECT_EQ(said.line(), "destroyed");
}

TEST_P(RemoteObject, ManyInAVector) {
  std::vector<Remote<Account>> accounts;
  for (int i = 0; i < 5; ++i) accounts.push_back(make<Account>("number " + std::to_string(i), i));
  std::vector<brood::Future<long>> balances;
  for (auto& account : accounts) balances.push_back(account.async<&Account::balance>());
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(balances[static_cast<std::size_t>(i)].get(), i);
    EXPECT_EQ(accounts[static_cast<std::size_t>(i)].name(), "number " + std::to_string(i));
  }
  accounts.erase(accounts.begin() + 1);
  EXPECT_EQ(accounts[1].balance(), 2);
}

struct Surroundings {
  std::string directory() { return std::filesystem::current_path().string(); }
  std::string variable(const std::string& name) {
    const char* value = std::getenv(name.c_str());
    return value != nullptr ? value : "none";
  }
};

TEST_P(RemoteObject, TheHostIsAProcessWithOptions) {
  brood::RemoteOptions options = by(GetParam());
  options.process.name = "librarian";
  options.process.working_directory = "/proc";
  options.process.environment = {{"BROOD_TEST_SHELF", "top"}};
  auto host = Remote<Surroundings>::with(options);
  EXPECT_EQ(host.call<&Surroundings::directory>(), "/proc");
  EXPECT_EQ(host.call<&Surroundings::variable>("BROOD_TEST_SHELF"), "top");
  EXPECT_NE(printed(host).find("'librarian' pid="), std::string::npos);
  EXPECT_THROW(Remote<Surroundings>(brood::not_yet, by(GetParam(), 0)), brood::UsageError);
  options.process.working_directory = "/nowhere/at/all";
  EXPECT_THROW((void)Remote<Surroundings>::with(options), brood::StartError);
}

#ifndef BROOD_TEST_LIGHT
TEST(RemoteLight, IsRefusedForWhatIsPartOfAProgram) {
  const std::string text =
      text_of<brood::UsageError>([] { (void)Remote<Account>::with(by(StartMethod::light), "ada"); });
  EXPECT_NE(text.find("cannot be started by light"), std::string::npos) << text;
  EXPECT_NE(text.find("Cures"), std::string::npos) << text;
}
#endif

// --- many calls ------------------------------------------------------------------------------------------------------

struct Resources {
  std::size_t descriptors() const { return support::open_descriptors().size(); }
  /// KiB of private data.
  long memory() const {
    std::ifstream status("/proc/self/status");
    for (std::string word; status >> word;) {
      if (word != "VmData:") continue;
      long size = 0;
      status >> size;
      return size;
    }
    return -1;
  }
  std::string echo(const std::string& text) const { return text; }
  void fail() const { throw std::out_of_range("again"); }
};

TEST_P(RemoteObject, ThousandsOfCallsLeaveNothingBehind) {
  auto host = make<Resources>();
  const brood::Callback<std::string(std::string)> twice([](const std::string& text) { return text + text; });
  const auto some = [&](int count) {
    for (int i = 0; i < count; ++i) {
      const std::string text(static_cast<std::size_t>(i % 3000), 'x');
      EXPECT_EQ(host.call<&Resources::echo>(text), text);
      EXPECT_EQ(host.async<&Resources::echo>(text).get(), text);
      EXPECT_THROW(host.call<&Resources::fail>(), std::out_of_range);
      EXPECT_EQ((host.call<[](Resources&, brood::Callback<std::string(std::string)> f) { return f("a"); }>(twice)),
                "aa");
      EXPECT_EQ((host.call<[](Resources&, brood::Callback<std::string(std::string)> f) { return f("a"); }>(
                    [](const std::string& it) { return it + "b"; })),
                "ab");
    }
  };
  some(200);
  const auto files = support::files_below(support::test_domain());
  const auto descriptors = support::open_descriptors();
  const std::size_t there = host.call<&Resources::descriptors>();
  const long memory_here = Resources().memory();
  const long memory_there = host.call<&Resources::memory>();
  some(2000);
  EXPECT_EQ(support::files_below(support::test_domain()), files);
  EXPECT_EQ(support::open_descriptors(), descriptors);
  EXPECT_EQ(host.call<&Resources::descriptors>(), there);
  if (SUPPORT_SANITIZED) return;  // these keep what is freed for a while
  EXPECT_LT(Resources().memory() - memory_here, 1024);
  EXPECT_LT(host.call<&Resources::memory>() - memory_there, 1024);
}

}  // namespace
