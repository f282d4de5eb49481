// Boost.Asio: completion tokens, executors, cancellation.
#include "brood/asio.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <optional>
#include <string>
#include <thread>

#include "brood/brood.hpp"
#include "sync/ladder.hpp"
#include "wait/socket_pair.hpp"

namespace ladder {
namespace {

namespace net = boost::asio;
using Asio = Ladder;

TEST_F(Asio, CallbacksRunInTheirExecutor) {
  net::io_context context;
  brood::Queue<int> queue;
  std::optional<int> got;
  std::thread::id where;
  brood::asio::async_get(queue, context.get_executor(), [&](const std::exception_ptr& error, int item) {
    EXPECT_FALSE(error);
    got = item;
    where = std::this_thread::get_id();
  });
  std::thread other([&] { queue.put(7); });
  context.run();  // the operation is work: this does not return before it is done
  other.join();
  EXPECT_EQ(got, 7);
  EXPECT_EQ(where, std::this_thread::get_id());
}

TEST_F(Asio, NeverCallsBackFromInside) {
  net::io_context context;
  brood::Queue<int> queue;
  queue.put(1);
  bool called = false;
  brood::asio::async_get(queue, context.get_executor(), [&](const std::exception_ptr&, int) { called = true; });
  EXPECT_FALSE(called);
  context.run();
  EXPECT_TRUE(called);
}

TEST_F(Asio, Futures) {
  net::io_context context;
  brood::Queue<int> queue(1);
  auto item = brood::asio::async_get(queue, context.get_executor(), net::use_future);
  auto put = brood::asio::async_put(queue, 3, context.get_executor(), net::use_future);
  std::thread runner([&] { context.run(); });
  put.get();
  EXPECT_EQ(item.get(), 3);
  runner.join();
  context.restart();
  queue.shutdown();
  auto closed = brood::asio::async_get(queue, context.get_executor(), net::use_future);
  context.run();
  EXPECT_THROW(closed.get(), brood::QueueClosed);
}

TEST_F(Asio, AwaitablesOfEveryOperation) {
  net::io_context context;
  brood::WorkQueue<int> work;
  auto [a, b] = brood::pipe<std::string>();
  auto& ours = a;
  auto& theirs = b;
  brood::Lock lock;
  brood::Semaphore units(0);
  brood::BoundedSemaphore bounded(1);
  brood::Event event;
  const SocketPair pair;
  bool finished = false;
  lock.lock();
  const auto executor = context.get_executor();
  net::co_spawn(
      context,
      [&]() -> net::awaitable<void> {
        auto task = co_await brood::asio::async_get(work, executor, net::use_awaitable);
        EXPECT_EQ(**task, 1);
        task->done();
        EXPECT_EQ(co_await brood::asio::async_recv(ours, executor, net::use_awaitable), "hello");
        co_await brood::asio::async_send(ours, "world", executor, net::use_awaitable);
        co_await brood::asio::async_acquire(units, executor, net::use_awaitable);
        co_await brood::asio::async_acquire(bounded, executor, net::use_awaitable);
        {
          const auto guard = co_await brood::asio::async_acquire(lock, executor, net::use_awaitable);
          EXPECT_TRUE(guard.owns_lock());
        }
        co_await brood::asio::async_wait(event, executor, net::use_awaitable);
        co_await brood::asio::async_wait(brood::readable(pair.ours()), executor, net::use_awaitable);
        finished = true;
      },
      net::detached);
  std::thread other([&] {
    work.put(1);
    theirs.send("hello");
    EXPECT_EQ(theirs.recv(), "world");
    units.release();
    lock.unlock();
    event.set();
    pair.say();
  });
  context.run();
  other.join();
  EXPECT_TRUE(finished);
}

TEST_F(Asio, CancellationTakesNothing) {
  net::io_context context;
  brood::Queue<int> queue;
  net::cancellation_signal signal;
  std::exception_ptr error;
  brood::asio::async_get(
      queue, context.get_executor(),
      net::bind_cancellation_slot(signal.slot(), [&](const std::exception_ptr& why, int) { error = why; }));
  signal.emit(net::cancellation_type::terminal);
  context.run();
  ASSERT_TRUE(error);
  try {
    std::rethrow_exception(error);
  } catch (const boost::system::system_error& aborted) {
    EXPECT_EQ(aborted.code(), net::error::operation_aborted);
  }
  queue.put(1);
  EXPECT_EQ(queue.try_get(), 1);
}

/// The timeout of a program that has a loop of its own.
TEST_F(Asio, WorksWithAwaitableOperators) {
  using namespace net::experimental::awaitable_operators;
  net::io_context context;
  brood::Queue<int> queue;
  int timeouts = 0;
  int items = 0;
  const auto get_within = [&](std::chrono::milliseconds time) -> net::awaitable<void> {
    net::steady_timer timer(context, time);
    const auto first = co_await (brood::asio::async_get(queue, context.get_executor(), net::use_awaitable) ||
                                 timer.async_wait(net::use_awaitable));
    first.index() == 0 ? ++items : ++timeouts;
  };
  net::co_spawn(context, get_within(5ms), net::detached);
  context.run();
  context.restart();
  EXPECT_EQ(timeouts, 1);
  queue.put(1);
  net::co_spawn(context, get_within(1h), net::detached);
  context.run();
  EXPECT_EQ(items, 1);
}

}  // namespace
}  // namespace ladder
