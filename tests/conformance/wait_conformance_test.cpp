// CPython's TestWait and CON-22: wait() on many.
#include "brood/wait.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <deque>
#include <list>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/unique_fd.hpp"
#include "brood/connection.hpp"
#include "brood/error.hpp"
#include "brood/event.hpp"
#include "brood/process.hpp"
#include "brood/semaphore.hpp"
#include "conformance/bodies.hpp"

namespace conformance {
namespace {

using brood::base::UniqueFd;
using Indices = brood::Ready;
using Numbers = brood::Connection<std::pair<int, int>>;

class WaitConformance : public Bodies {};
BROOD_BODIES(WaitConformance);

/// CPython's test delays its senders at random; what it is after is that messages come one by one, which a turn for each
/// does without a clock.
void send_ten(Numbers& writer, int who, brood::Semaphore& turns, bool slow) {
  for (int i = 0; i < 10; ++i) {
    if (slow) turns.acquire();
    writer.send({i, who});
  }
  writer.close();
}

// TestWait.test_wait, test_wait_slow
template <class Start>
void drain_pipes(Body body, bool slow, Start start) {
  brood::Semaphore turns(0);
  std::deque<std::pair<Numbers, Numbers>> pipes;
  std::list<Worker> senders;
  for (int i = 0; i < 4; ++i) {
    auto& [reader, writer] = pipes.emplace_back(brood::pipe<std::pair<int, int>>(false));
    start(senders, writer, i, turns);
    if (body != Body::thread) writer.close();
  }
  std::map<std::size_t, int> next;
  std::vector<std::size_t> open = {0, 1, 2, 3};
  if (slow) turns.release();
  while (!open.empty()) {
    std::vector<brood::Waitable> all;
    for (const std::size_t i : open) all.push_back(pipes[i].first);
    const std::vector<std::size_t> asked = open;
    for (const std::size_t index : brood::wait_any(all)) {
      const std::size_t i = asked[index];
      try {
        const auto message = pipes[i].first.recv();
        EXPECT_EQ(message, std::pair(next[i]++, static_cast<int>(i)));
        if (slow) turns.release();
      } catch (const brood::EndOfFile&) {
        std::erase(open, i);
      }
    }
  }
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(next[i], 10);
}

TEST_P(WaitConformance, FourPipesToTheEnd) {
  drain_pipes(body(), false, [&](auto& senders, Numbers& writer, int who, brood::Semaphore& turns) {
    senders.emplace_back(body(), send_ten, writer, int{who}, turns, false);
  });
}

TEST_P(WaitConformance, FourPipesOfSlowSendersToTheEnd) {
  drain_pipes(body(), true, [&](auto& senders, Numbers& writer, int who, brood::Semaphore& turns) {
    senders.emplace_back(body(), send_ten, writer, int{who}, turns, true);
  });
}

/// Connects to the port and sends ten lines.
void send_lines(int port, brood::Semaphore& turns, bool slow) {
  const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  require(::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0, "connect");
  for (int i = 0; i < 10; ++i) {
    if (slow) turns.acquire();
    const std::string line = std::to_string(i) + "\n";
    require(::send(socket.get(), line.data(), line.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(line.size()), "send");
  }
}

// TestWait.test_wait_socket, test_wait_socket_slow
template <class Start>
void drain_sockets(bool slow, Start start) {
  const UniqueFd door(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(door.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(door.get(), 4), 0);
  socklen_t length = sizeof address;
  ASSERT_EQ(::getsockname(door.get(), reinterpret_cast<sockaddr*>(&address), &length), 0);
  brood::Semaphore turns(0);
  std::list<Worker> senders;
  for (int i = 0; i < 4; ++i) start(senders, int{ntohs(address.sin_port)}, turns);
  std::map<int, std::string> got;
  std::vector<UniqueFd> open;
  std::size_t accepted = 0;
  for (int i = 0; slow && i < 4; ++i) turns.release();
  while (accepted < 4 || !open.empty()) {
    std::vector<brood::Waitable> all;
    for (const UniqueFd& fd : open) all.push_back(brood::readable(fd.get()));
    if (accepted < 4) all.push_back(brood::readable(door.get()));
    const std::size_t asked = open.size();
    std::vector<int> ended;
    for (const std::size_t index : brood::wait_any(all)) {
      if (index == asked) {
        open.emplace_back(::accept4(door.get(), nullptr, nullptr, SOCK_CLOEXEC));
        ASSERT_TRUE(open.back());
        ++accepted;
        continue;
      }
      char text[32];
      const ssize_t size = ::recv(open[index].get(), text, sizeof text, 0);
      ASSERT_GE(size, 0);
      if (size == 0) ended.push_back(open[index].get());
      got[open[index].get()].append(text, static_cast<std::size_t>(size));
      if (slow && size != 0) turns.release();
    }
    for (const int fd : ended) {
      EXPECT_EQ(got[fd], "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n");
      got.erase(fd);
      std::erase_if(open, [&](const UniqueFd& one) { return one.get() == fd; });
    }
  }
  EXPECT_TRUE(got.empty());
}

TEST_P(WaitConformance, FourSocketsToTheEnd) {
  drain_sockets(false, [&](auto& senders, int port, brood::Semaphore& turns) {
    senders.emplace_back(body(), send_lines, int{port}, turns, false);
  });
}

TEST_P(WaitConformance, FourSocketsOfSlowSendersToTheEnd) {
  drain_sockets(true, [&](auto& senders, int port, brood::Semaphore& turns) {
    senders.emplace_back(body(), send_lines, int{port}, turns, true);
  });
}

void set_it(brood::Event& event) { event.set(); }

// TestWait.test_wait_timeout, CON-22
TEST_P(WaitConformance, EmptyAfterTheTimeoutOrTheReadyOneEarly) {
  auto [a, b] = brood::pipe<int>();
  const Stopwatch watch;
  EXPECT_EQ(brood::wait_any_for(50ms, a, b), Indices{});
  EXPECT_GE(watch.elapsed(), 50ms);
  auto& end = b;
  end.send(1);
  EXPECT_EQ(brood::wait_any_for(24h, a, b), Indices{0});
}

void send_and_stay(brood::Connection<int>& end, brood::Event& over) {
  end.send(1);
  over.wait();
}
void wait_until(brood::Event& over) { over.wait(); }

// TestWait.test_wait_integer, CON-22
TEST_P(WaitConformance, SentinelsAndConnectionsMix) {
  brood::Event over;
  auto [a, b] = brood::pipe<int>();
  auto& ours = a;
  auto& theirs = b;
  brood::Process process({.start_method = brood::StartMethod::spawn}, wait_until, over);
  process.start();
  const auto all = [&] {
    return std::vector<brood::Waitable>{ours, brood::readable(process.sentinel()), theirs, process};
  };
  EXPECT_EQ(brood::wait_any_for(5ms, all()), Indices{});
  auto other = worker(send_and_stay, theirs, over);
  EXPECT_EQ(brood::wait_any(all()), Indices{0});
  over.set();
  process.join();
  EXPECT_EQ(brood::wait_any(all()), (Indices{0, 1, 3}));
  ours.send(2);
  EXPECT_EQ(brood::wait_any(all()), (Indices{0, 1, 2, 3}));
}

// CON-22
TEST_P(WaitConformance, AllThatAreReadyOfAnyMix) {
  brood::Event event;
  auto [a, b] = brood::pipe<int>();
  auto& ours = a;
  auto setter = worker(set_it, event);
  EXPECT_EQ(brood::wait_any(ours, event), Indices{1});
  b.close();
  EXPECT_EQ(brood::wait_any(ours, event), (Indices{0, 1})) << "end of stream counts as ready";
}

// _TestConnection.test_wait_empty, CON-22
TEST_P(WaitConformance, AnEmptyListSleepsForTheTime) {
  const Stopwatch watch;
  EXPECT_EQ(brood::wait_any_for(50ms, std::vector<brood::Waitable>{}), Indices{});
  EXPECT_GE(watch.elapsed(), 50ms);
}

// TestWait.test_neg_timeout, CON-22
TEST_P(WaitConformance, NegativeTimeoutReturnsAtOnce) {
  auto [a, b] = brood::pipe<int>();
  auto& end = b;
  EXPECT_EQ(brood::wait_any_for(-24h, a), Indices{});
  end.send(1);
  EXPECT_EQ(brood::wait_any_for(-24h, a), Indices{0});
}

void do_nothing(int /*number*/) {}

/// CON-22: a closed one is refused. The same one twice is reported twice, where Python has a KeyError. A number that is no
/// descriptor is ready. Signals do not end it.
TEST_P(WaitConformance, ClosedTwiceBadNumberAndSignals) {
  auto [a, b] = brood::pipe<int>();
  auto& end = b;
  end.send(1);
  EXPECT_EQ(brood::wait_any(a, a), (Indices{0, 1}));
  EXPECT_EQ(brood::wait_any_for(0s, b, brood::readable(1'000'000)), Indices{1});
  a.close();
  EXPECT_THROW((void)brood::wait_any(a), brood::ConnectionClosed);
  struct sigaction action {};
  action.sa_handler = do_nothing;
  struct sigaction before {};
  ::sigaction(SIGUSR1, &action, &before);
  brood::Event event;
  std::atomic<bool> over = false;
  std::thread sleeper([&] {
    EXPECT_EQ(brood::wait_any(event), Indices{0});
    over = true;
  });
  support::await_sleepers(event.handle(), 1);
  for (int i = 0; i < 50; ++i) ::pthread_kill(sleeper.native_handle(), SIGUSR1);
  EXPECT_FALSE(over);
  auto setter = worker(set_it, event);
  sleeper.join();
  ::sigaction(SIGUSR1, &before, nullptr);
}

}  // namespace
}  // namespace conformance
