// Line: a conversation between the test and a worker that may be any process of this machine.
//
// The library under test is not involved in it, so it can judge the library. A side that ends or throws hangs up, and
// the other side's next word throws instead of waiting for ever.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <stdexcept>
#include <string>
#include <utility>

#include "base/unique_fd.hpp"

namespace matrix {

/// Both sides judge with this: what is not so ends the exercise on both sides.
inline void require(bool fine, const std::string& what) {
  if (!fine) throw std::runtime_error("not true: " + what);
}

/// One end of a conversation of single letters.
class Line {
 public:
  explicit Line(brood::base::UniqueFd fd) : fd_(std::move(fd)) {}
  void say(char word) const;
  /// Waits for this word and no other. Errors: std::runtime_error; also if the other side has gone.
  void expect(char word) const;
  /// Waits for any word.
  [[nodiscard]] char hear() const;
  /// Waits until the other side has hung up.
  void expect_silence() const;
  void send_text(const std::string& text) const;
  [[nodiscard]] std::string hear_text() const;
  /// Who is at the other end, as the kernel knows.
  [[nodiscard]] pid_t other_pid() const;

 private:
  brood::base::UniqueFd fd_;
};

/// Where workers call the test: a socket whose address is a short text without spaces, and no file.
class Doorway {
 public:
  Doorway();
  [[nodiscard]] const std::string& address() const noexcept { return address_; }
  /// Waits for one caller. Errors: std::runtime_error if nobody calls within `patience`.
  [[nodiscard]] Line accept(std::chrono::seconds patience = std::chrono::seconds(30)) const;

 private:
  std::string address_;
  brood::base::UniqueFd fd_;
};

/// In a worker.
[[nodiscard]] Line call(const std::string& address);

}  // namespace matrix
