// Two ends of a conversation in one process: one asks, threads serve at the other.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <latch>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "brood/callback.hpp"
#include "brood/error.hpp"
#include "brood/future.hpp"
#include "brood/remote_error.hpp"
#include "call/line.hpp"
#include "support/leak_check.hpp"

namespace call_test {

using brood::call::Line;

/// Opened once, for everybody.
class Gate {
 public:
  void open() {
    const std::lock_guard lock(mutex_);
    is_open_ = true;
    changed_.notify_all();
  }
  void pass() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return is_open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_open_ = false;
};

/// What is called. All in this process, so a test can look at it; under a mutex, since the thread sanitizer does not see that the
/// two ends, which map the pipe at two places, synchronise by it.
struct Thing {
  int add(int a, int b) { return a + b; }
  void note(int n) {
    const std::lock_guard lock(mutex);
    noted.push_back(n);
  }
  int size() { return static_cast<int>(notes().size()); }
  std::vector<int> notes() {
    const std::lock_guard lock(mutex);
    return noted;
  }
  void fail(const std::string& text) { throw std::out_of_range(text); }
  std::string echo(const std::string& text) { return text; }
  int wait_then(int n) {
    gate.pass();
    return n;
  }
  std::string wait_then_make(int size) {
    gate.pass();
    return std::string(static_cast<std::size_t>(size), 'x');
  }
  int apply(int n, brood::Callback<int(int)> f) { return f(n); }
  void keep(brood::Callback<void(int)> f) {
    const std::lock_guard lock(mutex);
    kept.emplace(std::move(f));
  }
  brood::Callback<void(int)> kept_one() {
    const std::lock_guard lock(mutex);
    return kept.value();
  }
  void drop_kept() {
    const std::lock_guard lock(mutex);
    kept.reset();
  }

  std::mutex mutex;
  std::vector<int> noted;
  std::optional<brood::Callback<void(int)>> kept;
  Gate gate;
  int number = 7;
};

/// What a line does for the other end: methods of the thing, none of them known by name.
inline Line::Do does_calls_of(Thing& thing) {
  return [&thing](Line& /*line*/, const Line::Asked& asked, brood::Decoder& in, brood::Encoder& out) {
    if (asked.method == nullptr) throw brood::UsageError("a call that names no method");
    return asked.method->function()(&thing, in, out);
  };
}

class Pair {
 public:
  explicit Pair(int servers = 1) {
    auto [one, other] = brood::detail::ConnectionCore::make_pipe({}, brood::detail::kPayloadType<char>);
    asks = make(std::move(one));
    serves = make(std::move(other));
    for (int i = 0; i < servers; ++i) threads_.emplace_back([line = serves] { line->serve(); });
  }
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;
  ~Pair() { stop(); }

  void stop() {
    if (!asks) return;
    thing.gate.open();
    asks->say_stop();
    join();
    asks->drain();
    asks->finish(std::make_exception_ptr(std::logic_error("stopped")));
    asks.reset();
  }
  /// The servers end, and then their end.
  void join() {
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    thing.drop_kept();
    serves.reset();
  }

  template <auto M, class... Args>
  auto call(Args&&... args) {
    return call_before<M>(brood::Deadline::never(), std::forward<Args>(args)...);
  }
  template <auto M, class... Args>
  auto call_for(std::chrono::milliseconds timeout, Args&&... args) {
    return call_before<M>(brood::Deadline::after(timeout), std::forward<Args>(args)...);
  }
  template <auto M, class... Args>
  auto async(Args&&... args) {
    using Method = brood::detail::MethodOf<M, Thing>;
    auto state = std::make_shared<brood::detail::FutureState<typename Method::Result>>();
    brood::detail::CallRequest request(*asks, 0, brood::detail::method_key<M, Thing>());
    brood::detail::encode_arguments_for(request, typename Method::Parameters{}, std::forward<Args>(args)...);
    request.begin(state);
    return brood::detail::FutureMaker::make<typename Method::Result>(std::move(state));
  }

  Thing thing;
  std::shared_ptr<Line> asks;
  std::shared_ptr<Line> serves;
  int explained = 0;  ///< how often somebody had to be told why it is over

 private:
  std::shared_ptr<Line> make(brood::detail::ConnectionCore connection) {
    return std::make_shared<Line>(std::move(connection), does_calls_of(thing), [this](const std::exception_ptr& why) {
      ++explained;
      return std::make_exception_ptr(
          brood::PeerGone("over: " + brood::detail::describe_exception(why, " <- "), 4711, 3));
    });
  }
  template <auto M, class... Args>
  auto call_before(brood::Deadline deadline, Args&&... args) {
    using Method = brood::detail::MethodOf<M, Thing>;
    brood::detail::CallRequest request(*asks, 0, brood::detail::method_key<M, Thing>());
    brood::detail::encode_arguments_for(request, typename Method::Parameters{}, std::forward<Args>(args)...);
    return brood::detail::call_and_decode<typename Method::Result>(request, deadline);
  }
  std::vector<std::thread> threads_;
};

/// Runs `body(i)` in so many threads, which begin together.
inline void in_threads(int count, const std::function<void(int)>& body) {
  std::latch together(count);
  std::vector<std::jthread> threads;
  for (int i = 0; i < count; ++i) {
    threads.emplace_back([&, i] {
      together.arrive_and_wait();
      body(i);
    });
  }
}

}  // namespace call_test
