// What the others see when somebody at a socket is killed, and what a fork makes of a connection.
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <functional>
#include <iterator>
#include <random>

#include "net/peers.hpp"

namespace nets {
namespace {

using ladder::Child;
using ladder::expect_error;
using ladder::Line;
using ladder::require;

class SocketCrash : public NetWays {};
BROOD_ALL_WAYS(SocketCrash);
class SocketFork : public support::NoLeaks {};

/// Returns once this thread of ours sleeps in the kernel.
void await_asleep(pid_t thread) {
  support::await([thread] {
    std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/stat");
    const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    return text.find(") S ") != std::string::npos;
  });
}

constexpr std::size_t kLong = std::size_t{24} << 20;

/// A child that connects, says so, does `act`, says so again, and waits to be killed.
template <class T, class Act>
Child client(const Way& way, const Address& address, Act act) {
  return Child([way, address, act](Line& line) {
    auto connection = brood::connect<T>(address, connect_options(way));
    line.say('c');
    act(connection);
    line.say('d');
    (void)line.hear();
  });
}

TEST_P(SocketCrash, TheDeathOfTheOtherIsTheEnd) {
  for (int round = 0; round < 5; ++round) {
    brood::Listener<int> listener(listener_options(GetParam()));
    Child child = client<int>(GetParam(), listener.address(), [round](auto& end) { end.send(round); });
    auto ours = listener.accept();
    child.line.expect('c');
    child.line.expect('d');
    EXPECT_EQ(ours.recv(), round);
    std::thread sleeper([&] { EXPECT_THROW((void)ours.recv(), brood::EndOfFile); });
    child.kill();
    sleeper.join();
    EXPECT_THROW((void)ours.recv(), brood::EndOfFile);
    EXPECT_THROW(
        {
          for (;;) ours.send(1);
        },
        brood::BrokenPipe);
  }
}

TEST_P(SocketCrash, ASenderKilledInsideAMessageBreaksIt) {
  brood::Listener<std::string> listener(listener_options(GetParam()));
  Child child = client<std::string>(GetParam(), listener.address(), [](auto& end) {
    end.send("whole");
    end.send(std::string(kLong, 'x'));
  });
  auto ours = listener.accept();
  child.line.expect('c');
  EXPECT_EQ(ours.recv(), "whole");
  EXPECT_TRUE(ours.poll_for(1h)) << "it has begun";
  // It stands in the middle: the socket is full, and the rest of the message is still in the child.
  support::await([&] { return support::is_asleep(child.pid()); });
  child.stop();
  EXPECT_FALSE(ours.try_recv().has_value());
  child.kill();
  expect_error<brood::BrokenMessage>([&] { (void)ours.recv(); }, {"in the middle"});
  EXPECT_THROW((void)ours.recv(), brood::EndOfFile) << "once";
  EXPECT_TRUE(ours.poll());
}

TEST_P(SocketCrash, ASenderIsToldWhenTheReaderIsKilled) {
  brood::Listener<std::string> listener(listener_options(GetParam()));
  Child child = client<std::string>(GetParam(), listener.address(), [](auto&) {});
  auto ours = listener.accept();
  child.line.expect('c');
  std::thread sender([&] { EXPECT_THROW(ours.send(std::string(kLong, 'y')), brood::BrokenPipe); });
  child.line.expect('d');
  child.kill();
  sender.join();
}

TEST_P(SocketCrash, AReaderThatDiedWithUnreadMessagesIsAReset) {
  brood::Listener<int> listener(listener_options(GetParam()));
  Child child = client<int>(GetParam(), listener.address(), [](auto&) {});
  auto ours = listener.accept();
  child.line.expect('c');
  child.line.expect('d');
  ours.send(1);
  child.kill();
  // Over TCP the answer to what was sent has to come back first.
  if (GetParam().tls) {
    // OpenSSL may have read it ahead, before it was killed; the end is certain.
    EXPECT_THROW((void)ours.recv(), brood::EndOfFile);
  } else {
    EXPECT_THROW((void)ours.recv(), brood::ConnectionReset);
  }
  EXPECT_THROW((void)ours.recv(), brood::EndOfFile);
}

TEST_P(SocketCrash, ManyKillsAtAnyPlaceAndTheListenerGoesOn) {
  const unsigned seed = std::random_device{}();
  std::cout << "seed " << seed << '\n';
  std::mt19937 random(seed);
  brood::Listener<std::vector<int>> listener(listener_options(GetParam()));
  for (int round = 0; round < 25; ++round) {
    const auto pause = std::chrono::microseconds(random() % 6000);
    Child child([&](Line&) {
      auto end = brood::connect<std::vector<int>>(listener.address(), connect_options(GetParam()));
      for (int i = 0;; ++i) end.send(std::vector<int>(i % 5 == 4 ? 60'000 : 10, i));
    });
    // The killer stands beside: its clock is all that differs from round to round.
    std::thread killer([&] {
      const auto until = std::chrono::steady_clock::now() + pause;
      while (std::chrono::steady_clock::now() < until) std::this_thread::yield();
      child.shoot();
    });
    bool is_dead = false;
    std::optional<brood::Connection<std::vector<int>>> ours;
    // It may have died before it knocked.
    const auto wait_for_it = [&] {
      killer.join();
      child.kill();
      is_dead = true;
    };
    try {
      while (!ours && !is_dead) {
        ours = listener.try_accept_for(20ms);
        if (!ours) {
          wait_for_it();
          ours = listener.try_accept();
        }
      }
    } catch (const brood::EndOfFile&) {
      ours.reset();  // in its handshake
    } catch (const brood::AuthenticationError&) {
      EXPECT_TRUE(GetParam().tls);  // in that of TLS
    }
    int next = 0;
    int broken = 0;
    while (ours) {
      try {
        const auto got = ours->recv();
        ASSERT_EQ(got, std::vector<int>(next % 5 == 4 ? 60'000 : 10, next));
        ++next;
      } catch (const brood::BrokenMessage&) {
        ++broken;
      } catch (const brood::EndOfFile&) {
        break;
      }
    }
    EXPECT_LE(broken, 1);
    if (!is_dead) wait_for_it();
  }
  // Somebody who was killed in his handshake may still be inside.
  for (bool is_empty = false; !is_empty;) {
    try {
      is_empty = !listener.try_accept().has_value();
    } catch (const brood::EndOfFile&) {
      continue;
    } catch (const brood::AuthenticationError&) {
      EXPECT_TRUE(GetParam().tls);
    }
  }
  auto [ours, good] = connected(listener, connect_options(GetParam()));
  good.send({1, 2});
  EXPECT_EQ(ours.recv(), (std::vector<int>{1, 2}));
}

TEST_P(SocketCrash, AStoppedPeerDelaysNobodyPastTheDeadline) {
  brood::Listener<std::string> listener(listener_options(GetParam()));
  Child child = client<std::string>(GetParam(), listener.address(), [](auto& end) {
    end.send("now stopped");
    require(end.recv() == "goes on", "what came after is whole");
  });
  auto ours = listener.accept();
  EXPECT_EQ(ours.recv(), "now stopped");
  child.line.expect('c');
  child.stop();
  EXPECT_FALSE(ours.try_recv_for(10ms).has_value());
  EXPECT_FALSE(ours.try_send_for(std::string(kLong, 'z'), 10ms));
  child.resume();
  ours.send("goes on");
  child.line.expect('d');
  child.line.say();
  EXPECT_EQ(child.wait(), 0);
}

// --- forks -----------------------------------------------------------------------------------------------------------

TEST_F(SocketFork, AChildGoesOnWhereItsParentWas) {
  for (const Way& way : all_ways()) {
    if (way.tls) continue;
    auto [ours, theirs] = connected<int>(way);
    theirs.send(1);
    EXPECT_EQ(ours.recv(), 1);
    theirs.send(2);
    Child child([&end = ours](Line&) {
      require(end.recv() == 2, "the next message is the child's");
      end.send(3);
    });
    EXPECT_EQ(child.wait(), 0) << way.name;
    EXPECT_EQ(theirs.recv(), 3);
    ours.send(4);
    EXPECT_EQ(theirs.recv(), 4) << "the parent still has its copy";
  }
}

TEST_F(SocketFork, TheEndComesWhenTheLastCopyHasGone) {
  auto [ours, theirs] = connected<int>(Way{"path", ""});
  Child child([&end = ours](Line& line) {
    line.say('r');
    (void)line.hear();
    end.send(9);
  });
  child.line.expect('r');
  ours.close();
  EXPECT_FALSE(theirs.poll_for(5ms)) << "the child has it, too";
  child.line.say();
  EXPECT_EQ(theirs.recv(), 9);
  EXPECT_EQ(child.wait(), 0);
  EXPECT_THROW((void)theirs.recv(), brood::EndOfFile);
}

// Children that are made beside a running thread end without exit handlers: what the thread has is nobody's there.
TEST_F(SocketFork, ACopyMadeWhileAnotherThreadSleptInReceiveIsUsable) {
  auto [ours, theirs] = connected<int>(Way{"path", ""});
  std::atomic<pid_t> thread = 0;
  std::thread sleeper([&end = ours, &thread] {
    thread = ::gettid();
    EXPECT_EQ(end.recv(), 8);
  });
  support::await([&] { return thread != 0; });
  await_asleep(thread);
  Child child(
      [&end = ours](Line& line) {
        require(!end.try_recv_for(std::chrono::milliseconds(1)).has_value(), "nobody holds its turn in the child");
        line.say();
      },
      ladder::Ending::quick);
  child.line.expect();
  EXPECT_EQ(child.wait(), 0);
  theirs.send(8);
  sleeper.join();
}

TEST_F(SocketFork, ACopyMadeInsideAMessageSaysSo) {
  auto [ours, theirs] = connected<std::string>(Way{"path", ""});
  EXPECT_FALSE(ours.try_send(std::string(kLong, 'x')));
  // Part of a message, and nobody who would send the rest of it now.
  EXPECT_FALSE(theirs.try_send(std::string(kLong, 'y')));
  ASSERT_FALSE(ours.try_recv().has_value());
  Child child(
      [&end = ours](Line&) {
        for (const auto& use : std::vector<std::function<void()>>{[&] { end.send("x"); }, [&] { (void)end.recv(); },
                                                                  [&] { (void)end.poll(); }}) {
          try {
            use();
            require(false, "it cannot know where the message is");
          } catch (const brood::ConnectionClosed& error) {
            require(std::string(error.what()).find("fork") != std::string::npos, error.what());
          }
        }
      },
      ladder::Ending::quick);
  EXPECT_EQ(child.wait(), 0);
  std::thread sender([&end = theirs] { end.send("whole"); });
  EXPECT_EQ(ours.recv(), "whole") << "the original goes on";
  sender.join();
  std::thread receiver([&end = theirs] { EXPECT_EQ(end.recv(), "after"); });
  ours.send("after");
  receiver.join();
}

TEST_F(SocketFork, ATlsConnectionStaysWithItsProcess) {
  auto [ours, theirs] = connected<int>(Way{"tls", "", false, true});
  Child child([&end = ours](Line&) {
    try {
      end.send(1);
      require(false, "sent");
    } catch (const brood::ConnectionClosed& error) {
      require(std::string(error.what()).find("TLS") != std::string::npos, error.what());
    }
    end.close();  // says no goodbye in its parent's name
  });
  EXPECT_EQ(child.wait(), 0);
  ours.send(2);
  EXPECT_EQ(theirs.recv(), 2);
}

}  // namespace
}  // namespace nets
