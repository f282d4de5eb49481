// Hosts and creators that are killed, hosts that are replaced.
#include "brood/process.hpp"
#include "brood/queue.hpp"
#include "process/methods_in_threads.hpp"
#include "remote/remote_support.hpp"

namespace {

using namespace remote_test;
using brood::Remote;

class RemoteCrash : public EveryHost {};
INSTANTIATE_FOR_EVERY_METHOD(RemoteCrash);

TEST_P(RemoteCrash, AHostKilledWhileItIsIdle) {
  auto account = make<Account>("ada");
  account.deposit(1);
  account.kill();
  EXPECT_EQ(gone_by([&] { (void)account.balance(); }).exitcode(), -SIGKILL);
  account.stop();
  EXPECT_EQ(account.exitcode(), -SIGKILL);
}

TEST_P(RemoteCrash, AHostKilledInACallTellsAllWhoWait) {
  Pipe said;
  Pipe gate;
  auto account = make<Account>("ada", 5);
  auto future = account.async<&Account::wait>(said.writer(), gate.reader());
  std::vector<std::jthread> others;
  for (int i = 0; i < 3; ++i)
    others.emplace_back([&] { EXPECT_EQ(gone_by([&] { (void)account.balance(); }).exitcode(), -SIGKILL); });
  EXPECT_EQ(said.line(), "inside");
  account.kill();
  EXPECT_EQ(gone_by([&] { (void)future.get(); }).exitcode(), -SIGKILL);
}

class Stays {
 public:
  Stays(std::string writer, std::string reader) : writer_(std::move(writer)), reader_(std::move(reader)) {}
  Stays(const Stays&) = delete;
  Stays& operator=(const Stays&) = delete;
  ~Stays() {
    process_test::tell(writer_, "in the destructor");
    process_test::await(reader_);
  }

 private:
  std::string writer_;
  std::string reader_;
};

TEST_P(RemoteCrash, AHostKilledInTheDestructor) {
  Pipe said;
  Pipe gate;
  auto host = make<Stays>(said.writer(), gate.reader());
  std::thread killer([&] {
    EXPECT_EQ(said.line(), "in the destructor");
    host.kill();
  });
  host.stop();
  EXPECT_EQ(host.exitcode(), -SIGKILL);
  killer.join();
}

/// Has a child of its own, which is not a daemon and does not end with it.
class Parent {
 public:
  std::int64_t start_child() {
    child_.emplace(brood::ProcessOptions{.start_method = StartMethod::fork}, [] {
      for (;;) ::pause();
    });
    child_->start();
    return *child_->pid();
  }
  void crash() { ::raise(SIGKILL); }

 private:
  std::optional<brood::Process> child_;
};

TEST_P(RemoteCrash, ChildrenOfADeadHostDoNotPassForIt) {
  auto host = make<Parent>();
  const std::int64_t child = host.call<&Parent::start_child>();
  EXPECT_EQ(gone_by([&] { host.call<&Parent::crash>(); }).exitcode(), -SIGKILL);
  EXPECT_THROW((void)host.call<&Parent::start_child>(), brood::PeerGone);
  const Watched watched(child);
  ::kill(static_cast<pid_t>(child), SIGKILL);
  watched.await_end();
}

// --- restarts --------------------------------------------------------------------------------------------------------

TEST_P(RemoteCrash, ADeadHostIsReplacedByANewObjectOfTheSameArguments) {
  brood::Queue<std::string> log;
  struct Logs {
    Logs(brood::Queue<std::string>& to, std::string name) : to_(to), name_(std::move(name)) {
      to_.put("made " + name_);
    }
    int next() { return ++count_; }
    void crash() { ::raise(SIGKILL); }
    brood::Queue<std::string>& to_;
    std::string name_;
    int count_ = 0;
  };
  auto host = Remote<Logs>::with(by(GetParam(), 1, 2), log, "ada");
  EXPECT_EQ(log.get(), "made ada");
  EXPECT_EQ(host.call<&Logs::next>(), 1);
  EXPECT_EQ(host.call<&Logs::next>(), 2);
  const auto first = host.pid();
  EXPECT_THROW(host.call<&Logs::crash>(), brood::PeerGone) << "nobody knows how far a call got";
  EXPECT_EQ(host.call<&Logs::next>(), 1) << "a new object";
  EXPECT_EQ(log.get(), "made ada");
  EXPECT_NE(host.pid(), first);
  EXPECT_EQ(host.restarts(), 1U);
  // One that dies while nobody calls is replaced without a failing call.
  host.kill();
  while (host.is_running()) std::this_thread::yield();
  EXPECT_EQ(host.call<&Logs::next>(), 1);
  EXPECT_EQ(host.restarts(), 2U);
  EXPECT_THROW(host.call<&Logs::crash>(), brood::PeerGone);
  EXPECT_EQ(gone_by([&] { (void)host.call<&Logs::next>(); }).exitcode(), -SIGKILL) << "two were granted";
  host.start(log, "bob");
  EXPECT_EQ(host.restarts(), 0U);
  EXPECT_THROW(host.call<&Logs::crash>(), brood::PeerGone);
  EXPECT_EQ(host.call<&Logs::next>(), 1);
  host.stop();
  EXPECT_THROW((void)host.call<&Logs::next>(), brood::NotStarted) << "a stopped one is not replaced";
}

TEST_P(RemoteCrash, TheReplacementWaitsAtLeastThePause) {
  brood::RemoteOptions options = by(GetParam(), 1, 1);
  options.restart_pause = 30ms;
  auto account = Remote<Account>::with(options, "ada");
  EXPECT_THROW(account.crash(), brood::PeerGone);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(account.balance(), 0);
  EXPECT_GE(std::chrono::steady_clock::now() - start, 30ms);
}

TEST_P(RemoteCrash, AReplacementThatCannotBeMadeIsToldAndTriedAgain) {
  brood::Queue<int> answers;
  struct Moody {
    explicit Moody(brood::Queue<int>& from) : number(from.get()) {
      if (number < 0) throw NotEnough("not today");
    }
    void crash() { ::raise(SIGKILL); }
    int number;
  };
  answers.put_many(std::vector<int>{1, -1, 2});
  auto host = Remote<Moody>::with(by(GetParam(), 1, 2), answers);
  EXPECT_EQ(host.call<&Moody::number>(), 1);
  EXPECT_THROW(host.call<&Moody::crash>(), brood::PeerGone);
  EXPECT_THROW((void)host.call<&Moody::number>(), NotEnough);
  EXPECT_EQ(host.call<&Moody::number>(), 2);
}

class RemoteCrashInThreads : public RemoteCrash {};
INSTANTIATE_FOR_EVERY_METHOD_IN_THREADS(RemoteCrashInThreads);

TEST_P(RemoteCrashInThreads, SeveralThreadsFindOneReplacement) {
  auto account = Remote<Account>::with(by(GetParam(), 1, 1), "ada", 5);
  EXPECT_THROW(account.crash(), brood::PeerGone);
  std::vector<std::jthread> threads;
  for (int i = 0; i < 8; ++i) threads.emplace_back([&] { EXPECT_EQ(account.balance(), 5); });
  threads.clear();
  EXPECT_EQ(account.restarts(), 1U);
}

// --- the creator is killed -------------------------------------------------------------------------------------------

/// What a process does that is killed then.
void create_and_wait(const std::string& method, const std::string& kind, const std::string& writer,
                     const std::string& reader) {
  StartMethod by_method = StartMethod::fork;
  for (const auto each : {StartMethod::spawn, StartMethod::forkserver, StartMethod::light})
    if (to_string(each) == method) by_method = each;
  if (kind == "constructor") {
    struct Lurks {
      Lurks(const std::string& to, const std::string& from) {
        process_test::tell(to, std::to_string(::getpid()));
        process_test::await(from);
      }
    };
    (void)Remote<Lurks>::with(by(by_method), writer, reader);
    return;
  }
  auto account = Remote<Account>::with(by(by_method), "ada", 5);
  process_test::tell(writer, std::to_string(*account.Remote<Account>::pid()));
  if (kind == "call") (void)account.call<&Account::wait>(writer, reader);
  if (kind == "callback")
    account.call<&Account::call_back>([&](long n) {
      process_test::tell(writer, "inside");
      process_test::await(reader);
      return n;
    });
  if (kind == "idle") process_test::tell(writer, "inside");
  process_test::await(reader);
}

TEST_P(RemoteCrash, WhenTheCreatorIsKilledTheHostEnds) {
  for (const std::string kind : {"idle", "call", "callback", "constructor"}) {
    SCOPED_TRACE(kind);
    Pipe said;
    Pipe gate;
    brood::Process creator({.start_method = GetParam()}, create_and_wait, std::string(to_string(GetParam())), kind,
                           said.writer(), gate.reader());
    creator.start();
    const Watched host(std::stol(said.line()));
    if (kind != "constructor") {
      EXPECT_EQ(said.line(), "inside");
    }
    creator.kill();
    creator.join();
    host.await_end();
  }
}

}  // namespace
