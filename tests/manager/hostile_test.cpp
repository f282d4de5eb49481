// A manager's server among strangers: whoever comes with a wrong key, garbage, silence, too much, or too many, is told so, and
// the others notice nothing.
#include <sys/resource.h>
#include <sys/socket.h>

#include <atomic>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "manager/manager_support.hpp"
#include "manager/strangers.hpp"
#include "net/peers.hpp"
#include "support/sanitizers.hpp"

namespace {

using namespace manager_test;
using namespace process_test;

class Hostile : public Processes {
 protected:
  static constexpr const char* kKey = "the key of the house";
  static constexpr std::uint64_t kMost = 1 << 20;
  brood::Manager manager{{.authkey = kKey, .max_message = kMost}};
  brood::ListProxy<int> list = manager.list<int>({1, 2, 3});

  void expect_good() {
    EXPECT_EQ(list.snapshot(), (std::vector{1, 2, 3}));
    brood::ManagerClient another(manager.address(), {.authkey = kKey});
    EXPECT_EQ(another.list<int>({4}).at(0), 4);
  }
};

// --- at the door ---------------------------------------------------------------------------------------------------------

/// Passes on everything between a client and a server, and writes it down.
class Eavesdropper {
 public:
  explicit Eavesdropper(const brood::Address& server) : thread_([this, server] { relay(server); }) {}
  [[nodiscard]] brood::Address address() const { return door_.address(); }
  /// Once both ends have closed.
  std::string heard() {
    thread_.join();
    return heard_;
  }

 private:
  void relay(const brood::Address& server) {
    const nets::RawPeer client = door_.accept();
    const nets::RawPeer to(server);
    std::string up;
    std::thread upwards([&] { up = pass(client, to); });
    const std::string down = pass(to, client);
    upwards.join();
    heard_ = up + down;
  }
  static std::string pass(const nets::RawPeer& from, const nets::RawPeer& to) {
    std::string all;
    char some[512];
    for (;;) {
      const ssize_t got = ::recv(from.fd(), some, sizeof some, 0);
      if (got <= 0) break;
      all.append(some, static_cast<std::size_t>(got));
      if (::send(to.fd(), some, static_cast<std::size_t>(got), MSG_NOSIGNAL) != got) break;
    }
    (void)::shutdown(to.fd(), SHUT_WR);
    return all;
  }
  nets::RawDoor door_;
  std::string heard_;
  std::thread thread_;
};

TEST_F(Hostile, AWrongKeyOpensNothingAndNeitherSideLearnsTheOthers) {
  const std::string wrong = "a key that somebody guessed";
  Eavesdropper relay(manager.address());
  EXPECT_THROW(brood::ManagerClient(relay.address(), {.authkey = wrong}), brood::AuthenticationError);
  const std::string heard = relay.heard();
  EXPECT_NE(heard.find("brood"), std::string::npos) << "the handshake went through here";
  EXPECT_EQ(heard.find(wrong), std::string::npos);
  EXPECT_EQ(heard.find(kKey), std::string::npos);
  EXPECT_THROW(brood::ManagerClient(manager.address(), {.authkey = ""}), brood::AuthenticationError);
  expect_good();
}

TEST_F(Hostile, AServerWithoutTheKeyLearnsNothingAndIsNotBelieved) {
  const nets::RawDoor door;
  std::string told;
  std::thread impostor([&] {
    const nets::RawPeer client = door.accept();
    (void)client.read_note();
    client.write_note(nets::kChallenge, "{sha256}" + std::string(40, 'c'));
    told = client.read_note().second;
    client.write_note(nets::kWelcome, "");
    told += client.read_note().second;  // now it asks us
    client.write_note(nets::kAnswer, "{sha256}" + std::string(32, 'a'));
    told += client.read_all();
  });
  EXPECT_THROW(brood::ManagerClient(door.address(), {.authkey = kKey}), brood::AuthenticationError);
  impostor.join();
  EXPECT_EQ(told.find(kKey), std::string::npos);
}

TEST_F(Hostile, GarbageBeforeTheHandshakeEndsThatConnectionAlone) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 100; ++i) {
    std::string bytes(static_cast<std::size_t>(random() % 600), '\0');
    for (char& it : bytes) it = static_cast<char>(random());
    // Every other one begins as the real ones do.
    if (i % 2 == 0) bytes = nets::frame_header(10, 16) + "\1brood" + bytes;
    const nets::RawPeer peer(manager.address());
    try {
      peer.write(bytes);
    } catch (const std::system_error&) {
      continue;  // it was thrown out in the middle of it
    }
    (void)::shutdown(peer.fd(), SHUT_WR);
    (void)peer.read_all();
  }
  expect_good();
}

TEST_F(Hostile, GarbageBehindTheHandshakeEndsThatConversationAlone) {
  std::mt19937_64 random(8);
  for (int i = 0; i < 60; ++i) {
    std::string bytes(static_cast<std::size_t>(random() % 100), '\0');
    for (char& it : bytes) it = static_cast<char>(random());
    Stranger in_the_greeting(manager.address(), kKey);
    in_the_greeting.say(bytes);
    EXPECT_TRUE(in_the_greeting.sees_the_end()) << i;
    for (const bool by_pipe : {false, true}) {
      Stranger in_a_call(manager.address(), kKey, by_pipe);
      in_a_call.say("\x9f" + bytes);  // an array of fifteen: no word of this protocol
      EXPECT_TRUE(in_a_call.sees_the_end()) << i;
    }
  }
  expect_good();
}

TEST_F(Hostile, TheSilentHoldUpNobody) {
  std::vector<nets::RawPeer> silent;
  std::vector<std::unique_ptr<Stranger>> silent_later;
  // More than the server lets in at once, and than its queue at the door has places.
  for (int i = 0; i < 600; ++i) silent.emplace_back(manager.address());
  for (int i = 0; i < 20; ++i) silent_later.push_back(std::make_unique<Stranger>(manager.address(), kKey));
  for (int i = 0; i < 20; ++i) expect_good();
  for (int i = 0; i < 300; ++i) {
    silent.emplace_back(manager.address());
    silent.back().hello(true);  // and no answer to the challenge
  }
  expect_good();
}

// --- inside --------------------------------------------------------------------------------------------------------------

/// Asks for a lot, again and again, and reads none of it.
class Greedy : public Stranger {
 public:
  Greedy(const brood::Address& address, const char* key, std::uint64_t object, bool by_pipe)
      : Stranger(address, key, by_pipe) {
    // Until nothing more goes in: the server is stuck in an answer, and does not read.
    for (std::uint64_t id = 1; try_say(request(id, object, "snapshot", nothing), 200ms); ++id) {}
  }
};

TEST_F(Hostile, ThoseWhoDoNotReadTheirAnswersHoldUpNobody) {
  auto large = manager.list<std::string>(std::vector<std::string>(50, std::string(10'000, 'x')));
  {
    std::vector<std::unique_ptr<Greedy>> greedy;
    for (const bool by_pipe : {false, true, false, true})
      greedy.push_back(std::make_unique<Greedy>(manager.address(), kKey, large.core().object(), by_pipe));
    large.append("y");
    EXPECT_EQ(large.size(), 51U) << "the very object that they ask for";
    expect_good();
    // Nor do they hold up the end.
    manager.shutdown();
    EXPECT_EQ(manager.exitcode(), 0);
  }
}

TEST_F(Hostile, AServerInThisProcessEndsAlthoughSomebodyDoesNotRead) {
  brood::ManagerServer server({.authkey = kKey});
  std::thread serving([&] { server.serve_forever(); });
  brood::ManagerClient client(server.address(), {.authkey = kKey});
  auto large = client.list<std::string>(std::vector<std::string>(50, std::string(10'000, 'x')));
  const Greedy by_pipe(server.address(), kKey, large.core().object(), true);
  const Greedy by_socket(server.address(), kKey, large.core().object(), false);
  const Stranger silent(server.address(), kKey);
  server.stop();
  serving.join();
  EXPECT_THROW((void)large.size(), brood::ManagerDied);
}

TEST_F(Hostile, RequestsThatAreTooLongAreRefused) {
  auto dict = manager.dict<std::string, std::string>();
  const std::string too_long(kMost, 'x');
  try {
    dict.set("key", too_long);
    FAIL() << "it was taken";
  } catch (const brood::NoSpace& error) {
    EXPECT_EQ(error.code().value(), EMSGSIZE);
    EXPECT_NE(std::string(error.what()).find("max_message"), std::string::npos) << error.what();
  }
  EXPECT_EQ(dict.size(), 0U) << "and the conversation goes on";
  dict.set("key", too_long.substr(1000));
  EXPECT_EQ(dict.at("key").size(), kMost - 1000);
  // Whoever sends it all the same.
  Stranger rude(manager.address(), kKey, true);
  try {
    rude.say(Stranger::request(1, dict.core().object(), "set", [&](brood::Encoder& out) {
      out.array_header(2);
      out.str("rude");
      out.str(too_long);
    }));
    EXPECT_TRUE(rude.sees_the_end());
  } catch (const brood::BrokenPipe&) {
    SUCCEED() << "thrown out in the middle of it";
  }
  EXPECT_FALSE(dict.contains("rude"));
  expect_good();
}

TEST_F(Hostile, AnswersThatAreTooLongAreRefusedToo) {
  auto large = manager.value<std::string>(std::string(100'000, 'x'));
  manager.publish("large", large);
  EXPECT_EQ(large.get().size(), 100'000U);
  expect_scenario(
      [](const std::string& address) {
        brood::ManagerClient modest(brood::Address(address), {.authkey = Hostile::kKey, .max_message = 50'000});
        auto found = modest.find<brood::ValueProxy<std::string>>("large");
        SCENARIO_CHECK(found);
        try {
          (void)found->get();
          SCENARIO_CHECK(false && "it came");
        } catch (const brood::NoSpace& error) {
          SCENARIO_CHECK(error.code().value() == EMSGSIZE);
        }
        SCENARIO_CHECK(modest.object_count() >= 1);
      },
      manager.address().str());
  expect_good();
}

TEST_F(Hostile, UnknownTypesMethodsAndObjectsAreRefusedByName) {
  Stranger stranger(manager.address(), kKey, true);
  const auto ask = [&](std::uint64_t object, std::string_view method, auto arguments) {
    stranger.say(Stranger::request(1, object, method, arguments));
    stranger.hear_answer();
  };
  const auto make = [](std::string_view word) {
    return [word](brood::Encoder& out) {
      out.array_header(3);
      out.str(word);
      out.str(word);
      out.array_header(0);
    };
  };
  EXPECT_THROW(ask(0, "make", make("Teapot")), brood::UsageError);
  EXPECT_THROW(ask(0, "make_named", make("Teapot")), brood::DecodeError);
  EXPECT_THROW(ask(0, "brew", nothing), brood::UsageError);
  EXPECT_THROW(ask(0, "make", nothing), brood::DecodeError);
  EXPECT_THROW(ask(99'999, "get", nothing), brood::HandleError);
  EXPECT_THROW(ask(list.core().object(), "brew", nothing), brood::UsageError);
  // A function of the program, where there is none.
  const auto placed = [](brood::Encoder& out) { out.array_header(0); };
  brood::Encoder call;
  call.array_header(6);
  for (const std::uint64_t it : {std::uint64_t{1}, std::uint64_t{1}, list.core().object(), std::uint64_t{0}})
    call.uint(it);
  call.array_header(2);
  call.uint(1);
  call.array_header(4);
  call.str("0123456789abcdef");
  call.uint(4096);
  call.boolean(true);
  call.str("/nonexistent/program");
  placed(call);
  stranger.say(call);
  EXPECT_THROW(stranger.hear_answer(), brood::StartError);
  expect_good();
}

/// Every method of every type, with nothing, too much, and the wrong things.
TEST_F(Hostile, MalformedArgumentsConcernThatCallAlone) {
  struct Victim {
    std::uint64_t object;
    std::vector<std::string> methods;
  };
  auto dict = manager.dict<int, int>();
  auto array = manager.array<int>(std::vector{1});
  auto value = manager.value<int>(5);
  auto set = manager.set<int>();
  auto queue = manager.joinable_queue<int>();
  auto lock = manager.rlock();
  auto semaphore = manager.bounded_semaphore();
  auto condition = manager.condition();
  auto event = manager.event();
  auto barrier = manager.barrier(2);
  const std::vector<Victim> all = {
      {0, {"make", "host", "make_named", "find", "publish", "unpublish", "retain", "release"}},
      {dict.core().object(),
       {"get", "set", "contains", "insert", "set_default", "compare_exchange", "erase", "pop", "update"}},
      {list.core().object(),
       {"get", "set", "slice", "set_slice", "push_back", "extend", "insert", "pop", "erase", "remove"}},
      {array.core().object(), {"get", "set", "slice", "set_slice", "index", "count"}},
      {value.core().object(), {"set", "exchange", "compare_exchange"}},
      {set.core().object(), {"add", "discard", "contains", "update", "difference_update", "intersection_update"}},
      {queue.core().object(), {"put", "get", "shutdown", "join"}},
      {lock.core().object(), {"lock", "unlock", "recovered"}},
      {semaphore.core().object(), {"acquire", "release"}},
      {condition.core().object(), {"wait", "notify"}},
      {event.core().object(), {"wait"}},
      {barrier.core().object(), {"wait"}},
  };
  const std::vector<std::function<void(brood::Encoder&)>> wrong = {
      nothing,
      [](brood::Encoder& out) { out.nil(); },
      [](brood::Encoder& out) { out.array_header(0xffffffff); },
      [](brood::Encoder& out) {
        out.array_header(9);
        for (int i = 0; i < 9; ++i) out.map_header(0);
      },
      [](brood::Encoder& out) {
        out.array_header(1);
        out.array_header(0xffffff);
      },
      [](brood::Encoder&) {},
  };
  for (const bool by_pipe : {false, true}) {
    Stranger stranger(manager.address(), kKey, by_pipe);
    for (const Victim& victim : all) {
      for (const std::string& method : victim.methods) {
        for (const auto& arguments : wrong) {
          stranger.say(Stranger::request(5, victim.object, method, arguments));
          EXPECT_THROW(stranger.hear_answer(), brood::DecodeError) << victim.object << ' ' << method;
        }
      }
    }
  }
  EXPECT_TRUE(dict.empty());
  EXPECT_EQ(value.get(), 5);
  EXPECT_EQ(array.at(0), 1);
  EXPECT_EQ(queue.qsize(), 0U);
  EXPECT_FALSE(lock.locked());
  EXPECT_EQ(semaphore.get_value(), 1);
  expect_good();
}

TEST_F(Hostile, CallsAfterShutdownAreToldEverywhere) {
  brood::Event is_up;
  brood::Event is_down;
  brood::Process child(
      [](const brood::ListProxy<int>& there, const std::string& address, brood::Event& up, brood::Event& down) {
        SCENARIO_CHECK(there.size() == 3);
        up.set();
        down.wait();
        for (int i = 0; i < 3; ++i) {
          try {
            (void)there.size();
            SCENARIO_CHECK(false && "it answered");
          } catch (const brood::ManagerDied&) {}
          try {
            brood::ManagerClient client(brood::Address(address), {.authkey = Hostile::kKey});
            SCENARIO_CHECK(false && "it came in");
          } catch (const brood::ManagerDied&) {}
        }
      },
      list, manager.address().str(), is_up, is_down);
  child.start();
  is_up.wait();
  auto queue = manager.queue<int>();
  std::thread sleeper([&] { EXPECT_THROW((void)queue.get(), brood::ManagerDied); });
  manager.shutdown();
  EXPECT_EQ(manager.exitcode(), 0);
  is_down.set();
  sleeper.join();
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
  EXPECT_THROW((void)list.size(), brood::ManagerDied);
  EXPECT_THROW((void)queue.qsize(), brood::ManagerDied);
  EXPECT_THROW((void)manager.list<int>(), brood::UsageError);
}

// --- a crowd -------------------------------------------------------------------------------------------------------------

constexpr int kProcesses = SUPPORT_SANITIZED ? 4 : 8;
constexpr int kThreadsEach = SUPPORT_SANITIZED ? 10 : 125;
constexpr int kCrowd = kProcesses * kThreadsEach;

void come_together(const brood::BarrierProxy& barrier, const brood::ValueProxy<long>& count) {
  // A conversation is a pipe, or a socket: some descriptors each.
  rlimit files{};
  SCENARIO_CHECK(::getrlimit(RLIMIT_NOFILE, &files) == 0);
  files.rlim_cur = files.rlim_max;
  SCENARIO_CHECK(::setrlimit(RLIMIT_NOFILE, &files) == 0);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreadsEach; ++i) {
    threads.emplace_back([&] {
      // Nobody is let through before all are in a call at the same time.
      (void)barrier.wait();
      for (int j = 0; j < 3; ++j) (void)count.update<[](long& n) { return ++n; }>();
      (void)barrier.wait();
    });
  }
  for (std::thread& it : threads) it.join();
  barrier.leave();
}

TEST_F(Hostile, AThousandClientsAtOnce) {
  auto barrier = manager.barrier(kCrowd);
  auto count = manager.value<long>();
  std::vector<brood::Process> crowd;
  for (int i = 0; i < kProcesses; ++i) crowd.emplace_back(come_together, barrier, count);
  for (auto& it : crowd) it.start();
  for (auto& it : crowd) it.join();
  for (auto& it : crowd) EXPECT_EQ(it.exitcode(), 0);
  EXPECT_EQ(count.get(), 3L * kCrowd);
  expect_good();
}

TEST_F(Hostile, AThousandConversationsOverSocketsAtOnce) {
  std::vector<std::unique_ptr<Stranger>> crowd;
  for (int i = 0; i < kCrowd; ++i) crowd.push_back(std::make_unique<Stranger>(manager.address(), kKey, false));
  for (auto& it : crowd) it->say(Stranger::request(1, list.core().object(), "size", nothing));
  for (auto& it : crowd) it->hear_answer();
  expect_good();
}

}  // namespace
