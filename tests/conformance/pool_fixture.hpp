// What the conformance tests of Pool share: tasks, types that count themselves or fail in their codecs, pools of each method.
#pragma once

#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "brood/error.hpp"
#include "brood/pool.hpp"
#include "brood/remote_error.hpp"
#include "conformance/process_fixture.hpp"

namespace conformance {

using brood::Future;
using brood::Pool;

/// Each test runs with workers of every start method.
class EveryPool : public EveryMethod {
 protected:
  static brood::PoolOptions options(brood::PoolOptions given = {}) {
    given.process.start_method = GetParam();
    return given;
  }
  static Pool make(std::int64_t workers) { return Pool(workers, options()); }
};

inline std::vector<int> numbers(int count) {
  std::vector<int> out(static_cast<std::size_t>(count));
  std::iota(out.begin(), out.end(), 0);
  return out;
}
inline int square(int x) { return x * x; }
inline std::vector<int> squares(int count) {
  std::vector<int> out = numbers(count);
  for (int& x : out) x *= x;
  return out;
}
inline int multiply(int a, int b) { return a * b; }
inline std::int64_t worker_pid() { return ::getpid(); }
inline std::int64_t pid_of(int /*item*/) { return ::getpid(); }
inline int three_fails(int x) {
  if (x == 3) throw std::domain_error("three");
  return x;
}

/// Says that it has begun and waits until it is let go.
inline int gated(int x, const std::string& writer, const std::string& reader) {
  tell(writer, "inside");
  await(reader);
  return x;
}
[[noreturn]] inline void sleep_for_ever() {
  for (;;) ::pause();
}

/// How many there are in this process.
struct Counted {
  static inline int alive = 0;
  int value = 0;
  Counted() { ++alive; }
  explicit Counted(int v) : value(v) { ++alive; }
  Counted(const Counted& other) : value(other.value) { ++alive; }
  Counted(Counted&& other) noexcept : value(other.value) { ++alive; }
  Counted& operator=(const Counted&) = default;
  Counted& operator=(Counted&&) = default;
  ~Counted() { --alive; }
  template <class Archive>
  void serialize(Archive& ar) {
    ar(value);
  }
};
inline Counted pass_counted(const Counted& in) { return Counted(in.value); }
inline int counted_alive() { return Counted::alive; }

/// Does something bad in its codec, at the place that it was told, in the worker or in the master.
struct Bad {
  enum class At { nowhere, send, receive, call, answer, take };
  enum class Deed { throws, kill, exits };
  At at = At::nowhere;
  Deed deed = Deed::throws;
  std::int64_t master = ::getpid();

  void act() const {
    switch (deed) {
      case Deed::throws: throw std::domain_error("bad codec");
      case Deed::kill:
        std::signal(SIGSEGV, SIG_DFL);
        ::raise(SIGSEGV);
        break;
      case Deed::exits: std::exit(7);
    }
  }
  template <class Archive>
  void serialize(Archive& ar) {
    constexpr bool kLoads = Archive::is_loading::value;
    if constexpr (kLoads) ar(at, deed, master);
    const bool is_master = ::getpid() == master;
    if (at == (is_master ? (kLoads ? At::take : At::send) : (kLoads ? At::receive : At::answer))) act();
    if constexpr (!kLoads) ar(at, deed, master);
  }
};
inline Bad pass_bad(Bad in) {
  if (in.at == Bad::At::call) in.act();
  return in;
}

/// An input that fails behind so many items.
class FailingInput {
 public:
  explicit FailingInput(int good) : good_(good) {}
  class Iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using value_type = int;
    using difference_type = std::ptrdiff_t;
    Iterator() = default;
    explicit Iterator(int good) : good_(good) {}
    int operator*() const {
      if (at_ == good_) throw std::range_error("the input fails");
      return at_;
    }
    Iterator& operator++() {
      ++at_;
      return *this;
    }
    void operator++(int) { ++at_; }
    friend bool operator==(const Iterator& /*it*/, std::default_sentinel_t /*end*/) { return false; }

   private:
    int at_ = 0;
    int good_ = 0;
  };
  [[nodiscard]] Iterator begin() const { return Iterator(good_); }
  [[nodiscard]] static std::default_sentinel_t end() { return {}; }

 private:
  int good_;
};

template <class E, class F>
std::string text_of(F f) {
  try {
    f();
  } catch (const E& error) {
    return error.what();
  }
  return "nothing was thrown";
}

/// Asks until it is so.
template <class Condition>
void wait_until(Condition condition) {
  while (!condition()) std::this_thread::sleep_for(1ms);
}

/// The results of an imap until it ends.
template <class Stream>
auto all_of(Stream stream) {
  std::vector<typename Stream::value_type> out;
  for (auto& one : stream) out.push_back(std::move(one));
  return out;
}

}  // namespace conformance
