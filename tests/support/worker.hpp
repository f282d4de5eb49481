// Worker: the same function in a process of each start method, or in a thread.
#pragma once

#include <gtest/gtest.h>

#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "brood/process.hpp"
#include "support/tsan.hpp"

namespace support {

enum class Body { fork, spawn, forkserver, thread };

inline std::string to_string(Body body) {
  switch (body) {
    case Body::fork: return "fork";
    case Body::spawn: return "spawn";
    case Body::forkserver: return "forkserver";
    case Body::thread: return "thread";
  }
  return "?";
}
inline void PrintTo(Body body, std::ostream* out) { *out << to_string(body); }

/// The bodies a conformance test runs in. The thread sanitizer sees one process only, so there it is the threads.
inline std::vector<Body> all_bodies() {
  if (SUPPORT_TSAN) return {Body::thread};
  return {Body::fork, Body::spawn, Body::forkserver, Body::thread};
}

/// Fails the worker, and so the test that joins it. (GoogleTest's assertions are not heard across processes.)
inline void require(bool fine, const std::string& what) {
  if (!fine) throw std::runtime_error("worker: " + what);
}

/// Runs f(args…); lvalue arguments by reference in a thread, as handles in a process; they must outlive the worker.
class Worker {
 public:
  template <class F, class... Args>
  Worker(Body body, F f, Args&&... args) {
    if (body == Body::thread) {
      thread_ = std::thread([this, f, held = std::tuple<Args...>(std::forward<Args>(args)...)]() mutable {
        try {
          std::apply(f, held);
        } catch (...) {
          error_ = std::current_exception();
        }
      });
      return;
    }
    const auto method = body == Body::fork    ? brood::StartMethod::fork
                        : body == Body::spawn ? brood::StartMethod::spawn
                                              : brood::StartMethod::forkserver;
    process_.emplace(brood::ProcessOptions{.start_method = method}, f, std::forward<Args>(args)...);
    process_->start();
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker() { join(); }

  /// Waits for the end; a worker that failed fails the test.
  void join() {
    if (thread_.joinable()) {
      thread_.join();
      if (!error_) return;
      try {
        std::rethrow_exception(error_);
      } catch (const std::exception& error) {
        ADD_FAILURE() << "thread: " << error.what();
      }
    }
    if (process_ && !joined_) {
      process_->join();
      joined_ = true;
      EXPECT_EQ(process_->exitcode(), 0);
    }
  }

 private:
  std::thread thread_;
  std::exception_ptr error_;
  std::optional<brood::Process> process_;
  bool joined_ = false;
};

}  // namespace support
