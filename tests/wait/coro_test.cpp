// Coroutines: every operation of brood/coro.hpp, its ends, and where it goes on.
#include "brood/coro.hpp"

#include <array>
#include <coroutine>
#include <cstddef>
#include <future>
#include <list>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include "brood/brood.hpp"
#include "sync/ladder.hpp"
#include "wait/socket_pair.hpp"

namespace ladder {
namespace {

using Coroutines = Ladder;
using brood::AsyncOptions;
using brood::Deadline;

/// A coroutine that runs until it waits; its end, or what it threw, is a future.
template <class T>
struct Running {
  struct Ending : std::promise<T> {
    void return_value(T value) { this->set_value(std::move(value)); }
  };
  struct VoidEnding : std::promise<T> {
    void return_void() { this->set_value(); }
  };
  struct promise_type : std::conditional_t<std::is_void_v<T>, VoidEnding, Ending> {
    Running get_return_object() { return {this->get_future()}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void unhandled_exception() { this->set_exception(std::current_exception()); }
  };
  std::future<T> end;
  T get() { return end.get(); }
  [[nodiscard]] bool is_done() const { return end.wait_for(0s) == std::future_status::ready; }
};

TEST_F(Coroutines, GetsAndPuts) {
  brood::Queue<std::string> queue(1);
  const auto get = [&]() -> Running<std::string> { co_return co_await brood::async_get(queue); };
  const auto put = [&](std::string item) -> Running<void> { co_await brood::async_put(queue, std::move(item)); };
  auto first = get();
  EXPECT_FALSE(first.is_done());
  put("a").get();
  EXPECT_EQ(first.get(), "a");
  put("b").get();
  auto waiting = put("c");
  EXPECT_FALSE(waiting.is_done());
  EXPECT_EQ(queue.get(), "b");
  waiting.get();
  EXPECT_EQ(get().get(), "c");
  auto last = get();
  queue.shutdown();
  EXPECT_THROW(last.get(), brood::QueueClosed);
}

template <class Q>
Running<void> move_all(Q& from, brood::Queue<int>& to, int count) {
  for (int i = 0; i < count; ++i) co_await brood::async_put(to, co_await brood::async_get(from));
}

TEST_F(Coroutines, EveryKindOfQueue) {
  brood::Queue<int> out(3);
  brood::PriorityQueue<int> sorted;
  brood::SimpleQueue<int> simple;
  brood::JoinableQueue<int> joinable;
  brood::Broadcast<int> news;
  auto reader = news.subscribe();
  std::list<Running<void>> all;
  all.push_back(move_all(sorted, out, 100));
  all.push_back(move_all(simple, out, 100));
  all.push_back(move_all(joinable, out, 100));
  all.push_back(move_all(reader, out, 100));
  std::thread producer([&] {
    for (int i = 0; i < 100; ++i) {
      sorted.put(1);
      simple.put(10);
      joinable.put(100);
      news.publish(1000);
    }
  });
  int sum = 0;
  for (int i = 0; i < 400; ++i) sum += out.get();
  EXPECT_EQ(sum, 111'100);
  producer.join();
  for (auto& one : all) one.get();
  for (int i = 0; i < 100; ++i) joinable.task_done();
  brood::WorkQueue<int> work;
  const auto task_body = [&]() -> Running<brood::Task<int>> { co_return co_await brood::async_get(work); };
  auto task = task_body();
  work.put(5);
  auto got = task.get();
  EXPECT_EQ(*got, 5);
  got.done();
  brood::PriorityQueue<int> small(1);
  small.put(1);
  const auto put_body = [&]() -> Running<void> { co_await brood::async_put(small, 2); };
  auto put = put_body();
  EXPECT_FALSE(put.is_done());
  EXPECT_EQ(small.get(), 1);
  put.get();
}

/// Larger than the smallest room, smaller than the ring: tried again when something has been taken.
TEST_F(Coroutines, PutsALargeItemOnceThereIsRoomForIt) {
  brood::Queue<std::string> queue({.byte_budget = 4096});
  while (queue.try_put(std::string(500, 'x'))) {}
  const auto put_body = [&]() -> Running<void> { co_await brood::async_put(queue, std::string(2500, 'y')); };
  auto put = put_body();
  std::string got;
  do {
    EXPECT_FALSE(put.is_done() && queue.empty());
    got = queue.get();
  } while (got[0] == 'x');
  EXPECT_EQ(got.size(), 2500U);
  put.get();
}

/// The ring has room, the memory beside it has none until somebody gives his back.
TEST_F(Coroutines, PutsALargeItemOnceThereIsMemoryForIt) {
  using Large = std::array<std::byte, 40 << 10>;
  brood::Queue<Large> queue({.byte_budget = 64 << 10});
  auto held = std::make_optional(queue.loan());
  const auto put_body = [&]() -> Running<void> { co_await brood::async_put(queue, Large{std::byte{7}}); };
  auto put = put_body();
  EXPECT_FALSE(put.is_done());
  EXPECT_TRUE(queue.empty());
  held.reset();
  put.get();
  EXPECT_EQ(queue.get()[0], std::byte{7});
}

TEST_F(Coroutines, SendsAndReceives) {
  auto [a, b] = brood::pipe<std::string>({.ring_bytes = 4096});
  auto& ours = a;
  auto& theirs = b;
  const auto recv = [&]() -> Running<std::string> { co_return co_await brood::async_recv(ours); };
  const auto send = [&](std::string text) -> Running<void> { co_await brood::async_send(theirs, std::move(text)); };
  auto first = recv();
  send("hello").get();
  EXPECT_EQ(first.get(), "hello");
  std::list<Running<void>> sent;
  for (int i = 0; i < 50; ++i) sent.push_back(send(std::string(800, static_cast<char>('a' + i % 26))));
  EXPECT_FALSE(sent.back().is_done());
  for (int i = 0; i < 50; ++i) EXPECT_EQ(ours.recv().size(), 800U);
  for (auto& one : sent) one.get();
  EXPECT_THROW(send(std::string(100'000, 'x')).get(), brood::NoSpace);
  auto last = recv();
  theirs.close();
  EXPECT_THROW(last.get(), brood::EndOfFile);
  EXPECT_THROW([&]() -> Running<void> { co_await brood::async_send(ours, "x"); }().get(), brood::BrokenPipe);
}

TEST_F(Coroutines, AcquiresLocksAndUnits) {
  brood::Lock lock;
  lock.lock();
  auto acquire = [&]() -> Running<bool> {
    const std::unique_lock guard = co_await brood::async_acquire(lock);
    co_return guard.owns_lock();
  };
  auto waiting = acquire();
  EXPECT_FALSE(waiting.is_done());
  lock.unlock();
  EXPECT_TRUE(waiting.get());
  await([&] { return !lock.locked(); });
  brood::Semaphore units(0);
  brood::BoundedSemaphore bounded(1);
  bounded.acquire();
  const auto both_body = [&]() -> Running<void> {
    co_await brood::async_acquire(units);
    co_await brood::async_acquire(bounded);
  };
  auto both = both_body();
  units.release();
  EXPECT_FALSE(both.is_done());
  bounded.release();
  both.get();
  EXPECT_FALSE(bounded.try_acquire());
  Child owner = victim([&] { lock.lock(); });
  auto died = acquire();
  owner.shoot();
  EXPECT_THROW(died.get(), brood::OwnerDied);
  EXPECT_TRUE(lock.recover([] {}));
}

void end_at(brood::Event& event) { event.wait(); }

TEST_F(Coroutines, WaitsForEventsProcessesAndDescriptors) {
  brood::Event event;
  const SocketPair pair;
  brood::Event end;
  brood::Process process({.start_method = brood::StartMethod::fork}, end_at, end);
  process.start();
  const auto all_body = [&]() -> Running<void> {
    co_await brood::async_wait(event);
    co_await brood::async_wait(brood::readable(pair.ours()));
    co_await brood::async_wait(process);
  };
  auto all = all_body();
  event.set();
  pair.say();
  EXPECT_FALSE(all.is_done());
  end.set();
  all.get();
  EXPECT_FALSE(process.is_alive());
}

TEST_F(Coroutines, EndAtTheDeadlineOrWhenStopped) {
  brood::Queue<int> queue;
  const auto get = [&](AsyncOptions options) -> Running<std::optional<int>> {
    co_return co_await brood::async_get(queue, std::move(options));
  };
  const Stopwatch watch;
  EXPECT_EQ(get(AsyncOptions().deadline(Deadline::after(20ms))).get(), std::nullopt);
  EXPECT_GE(watch.elapsed(), 20ms);
  EXPECT_EQ(get(AsyncOptions().deadline(Deadline::now())).get(), std::nullopt);
  std::stop_source stop;
  auto waiting = get(AsyncOptions().stop(stop.get_token()));
  EXPECT_FALSE(waiting.is_done());
  stop.request_stop();
  EXPECT_EQ(waiting.get(), std::nullopt);
  EXPECT_EQ(get(AsyncOptions().stop(stop.get_token())).get(), std::nullopt) << "stopped before it began";
  queue.put(1);
  EXPECT_EQ(get(AsyncOptions().stop(stop.get_token())).get(), 1) << "there was nothing to wait for";
  const brood::Event never;
  EXPECT_FALSE([&]() -> Running<bool> {
    co_return co_await brood::async_wait(never, AsyncOptions().deadline(Deadline::after(1ms)));
  }()
                            .get());
}

/// Whether stopped or not, an item is had by somebody.
TEST_F(Coroutines, StoppingLosesNoItem) {
  brood::Queue<int> queue;
  int got = 0;
  for (int i = 0; i < 500; ++i) {
    std::stop_source stop;
    const auto waiting_body = [&]() -> Running<std::optional<int>> {
      co_return co_await brood::async_get(queue, AsyncOptions().stop(stop.get_token()));
    };
    auto waiting = waiting_body();
    std::thread stopper([&] { stop.request_stop(); });
    queue.put(i);
    got += waiting.get().has_value() ? 1 : 0;
    stopper.join();
    while (queue.try_get()) ++got;
  }
  EXPECT_EQ(got, 500);
}

TEST_F(Coroutines, GoOnWhereTheSchedulerSays) {
  brood::Queue<int> queue;
  brood::SimpleQueue<int> ready;
  std::coroutine_handle<> to_resume;
  std::thread::id went_on;
  const auto waiting_body = [&]() -> Running<void> {
    (void)co_await brood::async_get(queue, AsyncOptions().resume_by([&](std::coroutine_handle<> handle) {
      to_resume = handle;
      ready.put(1);
    }));
    went_on = std::this_thread::get_id();
  };
  auto waiting = waiting_body();
  queue.put(1);
  EXPECT_EQ(ready.get(), 1);
  EXPECT_FALSE(waiting.is_done());
  to_resume.resume();
  waiting.get();
  EXPECT_EQ(went_on, std::this_thread::get_id());
}

/// A coroutine that is destroyed while it waits.
struct Held {
  struct promise_type {
    Held get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
  std::coroutine_handle<promise_type> handle;
};

TEST_F(Coroutines, DestroyedWhileTheyWaitTakeNothing) {
  brood::Queue<int> queue;
  for (int i = 0; i < 200; ++i) {
    const Held held = [](brood::Queue<int>& from) -> Held { (void)co_await brood::async_get(from); }(queue);
    held.handle.destroy();
    queue.put(i);
    EXPECT_EQ(queue.try_get(), i);
  }
}

TEST_F(Coroutines, ManyAtOnce) {
  brood::Queue<int> queue;
  brood::Semaphore done(0);
  std::list<Running<void>> all;
  for (int i = 0; i < 400; ++i) {
    all.push_back([](brood::Queue<int>& from, brood::Semaphore& to) -> Running<void> {
      for (int n = 0; n < 5; ++n) {
        (void)co_await brood::async_get(from);
        to.release();
      }
    }(queue, done));
  }
  for (int i = 0; i < 2000; ++i) queue.put(i);
  for (auto& one : all) one.get();
  EXPECT_EQ(done.get_value(), 2000);
  EXPECT_TRUE(queue.empty());
}

}  // namespace
}  // namespace ladder
