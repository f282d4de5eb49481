// Objects for hosts, and what the tests of Remote share.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/unique_fd.hpp"
#include "brood/callback.hpp"
#include "brood/error.hpp"
#include "brood/remote.hpp"
#include "process/process_support.hpp"
#include "support/sanitizers.hpp"

namespace remote_test {

using namespace std::chrono_literals;
using process_test::Pipe;
using process_test::StartMethod;

class NotEnough : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
inline const brood::RegisterException<NotEnough> kNotEnough;

class Named {
 public:
  explicit Named(std::string name) : name_(std::move(name)) {}
  virtual ~Named() = default;
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  std::string name_;
};

/// Neither copied nor moved: it is made where it lives.
class Account : public Named {
 public:
  explicit Account(std::string name, long balance = 0) : Named(std::move(name)), balance_(balance) {
    if (balance < 0) throw NotEnough("begin with more");
  }
  Account(const Account&) = delete;
  Account& operator=(const Account&) = delete;

  void deposit(long amount) {
    if (amount < 0) throw std::invalid_argument("negative");
    balance_ += amount;
  }
  void withdraw(long amount) {
    if (amount > balance_) throw NotEnough("only " + std::to_string(balance_));
    balance_ -= amount;
  }
  [[nodiscard]] long balance() const noexcept { return balance_; }
  [[nodiscard]] std::int64_t pid() const { return ::getpid(); }
  void end(int code) { std::_Exit(code); }
  void crash() { ::raise(SIGKILL); }
  /// Tells `writer` that it is there, and stays until `reader` lets it go.
  long wait(const std::string& writer, const std::string& reader) {
    process_test::tell(writer, "inside");
    process_test::await(reader);
    return balance_;
  }
  long call_back(const brood::Callback<long(long)>& f) { return f(balance_); }
  void keep(brood::Callback<long(long)> f) { kept_ = std::move(f); }
  long call_kept(long n) { return (*kept_)(n); }

  int visits = 0;

 private:
  std::optional<brood::Callback<long(long)>> kept_;
  long balance_;
};

/// Says what becomes of it.
class Witness {
 public:
  explicit Witness(std::string writer) : writer_(std::move(writer)) { process_test::tell(writer_, "made"); }
  Witness(const Witness&) = delete;
  Witness& operator=(const Witness&) = delete;
  ~Witness() { process_test::tell(writer_, "destroyed"); }
  void wait(const std::string& reader) {
    process_test::tell(writer_, "inside");
    process_test::await(reader);
  }
  void note(const std::string& text) { process_test::tell(writer_, text); }

 private:
  std::string writer_;
};

inline brood::RemoteOptions by(StartMethod method, unsigned threads = 1, unsigned restarts = 0) {
  brood::RemoteOptions options;
  options.process.start_method = method;
  options.threads = threads;
  options.restarts = restarts;
  return options;
}

class EveryHost : public process_test::EveryMethod {
 protected:
  template <class A, class... Args>
  static brood::Remote<A> make(Args&&... args) {
    return brood::Remote<A>::with(by(GetParam()), std::forward<Args>(args)...);
  }
};

/// A process that is no child of ours, to be waited for.
class Watched {
 public:
  explicit Watched(std::int64_t pid) : fd_(static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0))) {
    if (!fd_) throw std::runtime_error("pidfd_open");
  }
  void await_end() const {
    pollfd entry{fd_.get(), POLLIN, 0};
    while (::poll(&entry, 1, -1) != 1) {}
  }

 private:
  brood::base::UniqueFd fd_;
};

template <class F>
brood::PeerGone gone_by(F f) {
  try {
    f();
  } catch (const brood::PeerGone& error) {
    return error;
  }
  throw std::runtime_error("nothing was thrown");
}
template <class E, class F>
std::string text_of(F f) {
  try {
    f();
  } catch (const E& error) {
    return error.what();
  }
  return "nothing was thrown";
}
template <class T>
std::string printed(const T& value) {
  return (std::ostringstream() << value).str();
}

}  // namespace remote_test

BROOD_REMOTE(remote_test::Account, deposit, withdraw, balance, pid, name, visits, crash)
