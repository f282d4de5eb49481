// The plain thing to compare a pool of processes with: threads, one queue of chunks, a mutex and two conditions.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace bench {

class ThreadPool {
 public:
  explicit ThreadPool(std::size_t threads) {
    for (std::size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { run(); });
  }
  ~ThreadPool() {
    {
      const std::lock_guard lock(mutex_);
      is_over_ = true;
    }
    more_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  /// f(item) for each, in order; chunk 0: as many as give each thread four.
  template <class F>
  std::vector<int> map(F f, const std::vector<int>& items, std::size_t chunk = 0) {
    if (chunk == 0) chunk = (items.size() + 4 * threads_.size() - 1) / (4 * threads_.size());
    std::vector<int> results(items.size());
    std::size_t left = (items.size() + chunk - 1) / chunk;
    std::condition_variable done;
    for (std::size_t from = 0; from < items.size(); from += chunk) {
      put([&, from] {
        const std::size_t to = std::min(from + chunk, items.size());
        for (std::size_t i = from; i < to; ++i) results[i] = f(items[i]);
        const std::lock_guard lock(mutex_);
        if (--left == 0) done.notify_one();
      });
    }
    std::unique_lock lock(mutex_);
    done.wait(lock, [&] { return left == 0; });
    return results;
  }

 private:
  void put(std::function<void()> task) {
    {
      const std::lock_guard lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    more_.notify_one();
  }
  void run() {
    for (;;) {
      std::unique_lock lock(mutex_);
      more_.wait(lock, [&] { return is_over_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      const std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
    }
  }

  std::mutex mutex_;
  std::condition_variable more_;
  std::deque<std::function<void()>> tasks_;
  bool is_over_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace bench
