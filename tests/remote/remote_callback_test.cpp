// Calls from the host to its creator.
#include "remote/remote_support.hpp"

namespace {

using namespace remote_test;
using brood::Callback;
using brood::Remote;

class RemoteCallback : public EveryHost {};
INSTANTIATE_FOR_EVERY_METHOD(RemoteCallback);

TEST_P(RemoteCallback, RunsHereInTheThreadThatCalled) {
  auto account = make<Account>("ada", 5);
  const auto me = std::this_thread::get_id();
  const long got = account.call<&Account::call_back>([&](long n) {
    EXPECT_EQ(std::this_thread::get_id(), me);
    EXPECT_EQ(n, 5);
    return n * 2;
  });
  EXPECT_EQ(got, 10);
}

TEST_P(RemoteCallback, MayCallTheObject) {
  auto account = make<Account>("ada", 5);
  EXPECT_EQ(account.call<&Account::call_back>([&](long n) {
    account.deposit(n);
    EXPECT_EQ(account.async<&Account::balance>().get(), 10);
    return account.call<&Account::call_back>([&](long inner) { return inner + 1; });
  }),
            11);
}

TEST_P(RemoteCallback, ThrowsThere) {
  auto account = make<Account>("ada", 5);
  try {
    account.call<&Account::call_back>([](long) -> long { throw NotEnough("from here"); });
    ADD_FAILURE();
  } catch (const NotEnough& error) {
    EXPECT_STREQ(error.what(), "from here");
    EXPECT_EQ(dynamic_cast<const brood::RemoteError&>(error).pid(), ::getpid()) << "it was thrown here at first";
  }
}

TEST_P(RemoteCallback, IsKeptAsLongAsItHasANameHere) {
  auto account = make<Account>("ada", 5);
  {
    const Callback<long(long)> f([](long n) { return n + 1; });
    account.call<&Account::keep>(f);
    EXPECT_EQ(account.call<&Account::call_kept>(1), 2);
  }
  EXPECT_THROW((void)account.call<&Account::call_kept>(1), brood::HandleError);
}

TEST_P(RemoteCallback, IsNoArgumentOfAConstructor) {
  struct Keeps {
    explicit Keeps(Callback<long(long)> f) : f_(std::move(f)) {}
    Callback<long(long)> f_;
  };
  const Callback<long(long)> f([](long n) { return n; });
  EXPECT_THROW((void)make<Keeps>(f), brood::UsageError);
}

TEST_P(RemoteCallback, MayKillTheHost) {
  auto account = make<Account>("ada", 5);
  EXPECT_EQ(gone_by([&] {
              account.call<&Account::call_back>([&](long n) {
                account.kill();
                return n;
              });
            }).exitcode(),
            -SIGKILL);
}

TEST_P(RemoteCallback, CannotStopTheHostThatWaitsForIt) {
  auto account = make<Account>("ada", 5);
  EXPECT_EQ(account.call<&Account::call_back>([&](long n) {
    EXPECT_THROW(account.stop(), brood::UsageError);
    return n;
  }),
            5);
  account.stop();
}

TEST_P(RemoteCallback, MayDestroyTheRemote) {
  auto account = std::make_unique<Remote<Account>>(make<Account>("ada", 5));
  ::testing::internal::CaptureStderr();
  EXPECT_THROW((void)account->call<&Account::call_back>([&](long n) {
    account.reset();
    return n;
  }),
               brood::PeerGone);
  EXPECT_NE(::testing::internal::GetCapturedStderr().find("cannot be stopped by a callback"), std::string::npos);
}

/// Calls in its destructor.
class Farewell {
 public:
  void at_the_end(Callback<void(std::string)> f) { f_ = std::move(f); }
  ~Farewell() {
    if (f_) (*f_)("farewell");
  }

 private:
  std::optional<Callback<void(std::string)>> f_;
};

TEST_P(RemoteCallback, DestructorsMayCallBack) {
  std::string heard;
  const Callback<void(std::string)> hear([&](const std::string& text) { heard = text; });
  auto host = make<Farewell>();
  host.call<&Farewell::at_the_end>(hear);
  host.stop();
  EXPECT_EQ(heard, "farewell");
  EXPECT_EQ(host.exitcode(), 0);
}

/// A thread of its own that reports for as long as it is there.
class Ticker {
 public:
  void begin(Callback<void(int)> tick) {
    thread_ = std::jthread([tick = std::move(tick)](const std::stop_token& stop) {
      for (int n = 0; !stop.stop_requested(); ++n) tick(n);
    });
  }
  void end() { thread_ = {}; }

 private:
  std::jthread thread_;
};

TEST_P(RemoteCallback, ComesAlsoWhileNobodyCalls) {
  auto host = make<Ticker>();
  std::mutex mutex;
  std::condition_variable changed;
  int last = 0;
  const Callback<void(int)> tick([&](int n) {
    const std::lock_guard lock(mutex);
    last = n;
    changed.notify_all();
  });
  host.call<&Ticker::begin>(tick);
  const auto await = [&](int n) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return last >= n; });
  };
  await(50);
  for (int i = 0; i < 100; ++i) host.call<[](Ticker&) {}>();
  await(500);
  host.call<&Ticker::end>();
}

}  // namespace
