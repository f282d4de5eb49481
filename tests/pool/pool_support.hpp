// What the tests of Pool share: tasks, and ways to die.
#pragma once

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "brood/error.hpp"
#include "brood/pool.hpp"
#include "brood/remote_error.hpp"
#include "process/methods_in_threads.hpp"
#include "process/process_support.hpp"
#include "support/sanitizers.hpp"

namespace pool_test {

using namespace std::chrono_literals;
using brood::Pool;
using process_test::Pipe;
using process_test::StartMethod;

inline int square(int x) { return x * x; }
inline int add(int a, int b) { return a + b; }
inline std::int64_t own_pid(int /*ignored*/) { return ::getpid(); }

/// Lets somebody know that it has begun, and waits to be let go.
inline int gated(int x, const std::string& writer, const std::string& reader) {
  process_test::tell(writer, "inside " + std::to_string(x));
  process_test::await(reader);
  return x;
}

enum class Death { kill, exit_at_once, exit, segfault, abort };
inline void die(Death how) {
  switch (how) {
    case Death::kill: ::raise(SIGKILL); break;
    case Death::exit_at_once: std::_Exit(3);
    case Death::exit: std::exit(4);
    case Death::segfault:
      // Not by a store to null: a sanitizer would make a report of that.
      std::signal(SIGSEGV, SIG_DFL);
      ::raise(SIGSEGV);
      break;
    case Death::abort: std::signal(SIGABRT, SIG_DFL); std::abort();
  }
}
inline int code_of(Death how) {
  switch (how) {
    case Death::kill: return -SIGKILL;
    case Death::exit_at_once: return 3;
    case Death::exit: return 4;
    case Death::segfault: return -SIGSEGV;
    case Death::abort: return -SIGABRT;
  }
  return 0;
}

inline brood::PoolOptions by(StartMethod method) {
  brood::PoolOptions options;
  options.process.start_method = method;
  return options;
}

/// A Pool of this test's start method.
class EveryPool : public process_test::EveryMethod {
 protected:
  static Pool make(std::int64_t workers) { return Pool(workers, by(GetParam())); }
};
class Pools : public process_test::Processes {};

template <class E, class F>
std::string text_of(F f) {
  try {
    f();
  } catch (const E& error) {
    return error.what();
  }
  return "nothing was thrown";
}

/// Waits, by asking, for what comes by itself.
template <class Condition>
void wait_until(Condition condition) {
  while (!condition()) std::this_thread::sleep_for(1ms);
}

}  // namespace pool_test
