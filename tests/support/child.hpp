// Child: a plain fork with a line to its parent, for tests that need a process they can kill at a known place.
//
// Nothing of the library under test is involved in it, so it can judge the library.
#pragma once

#include <sys/types.h>

#include <csignal>
#include <functional>
#include <string>

#include "base/unique_fd.hpp"

namespace support {

/// One end of a conversation. Both sides wait by hearing, never by sleeping.
class Line {
 public:
  Line() = default;
  explicit Line(int fd) : fd_(fd) {}
  void say(char word = '.') const;
  /// Waits for a word. Errors: std::runtime_error if the other side has gone.
  [[nodiscard]] char hear() const;
  /// Waits for this word and no other.
  void expect(char word = '.') const;
  /// Waits until every holder of the other end has gone.
  void expect_silence() const;
  void send_text(const std::string& text) const;
  [[nodiscard]] std::string hear_text() const;
  void hang_up() { fd_.reset(); }

 private:
  brood::base::UniqueFd fd_;
};

/// How a child's body ends.
enum class Ending {
  exit,   ///< runs the exit handlers
  quick,  ///< _exit(0) at the end of the body
};

/// A forked child. Its body runs with the child's end of the line; an exception that leaves it is printed, and the exit
/// code is 1. The destructor kills and reaps what still runs.
class Child {
 public:
  explicit Child(const std::function<void(Line&)>& body, Ending ending = Ending::exit);
  ~Child();
  Child(Child&& other) noexcept;
  Child& operator=(Child&&) = delete;

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  /// Our end of the line. Says and hears.
  Line line;

  void signal(int number) const;
  /// SIGSTOP, and waits until it has stopped.
  void stop() const;
  void resume() const { signal(SIGCONT); }
  /// Waits for the end: exit code, or −signal.
  int wait();
  /// SIGKILL, and waits.
  void kill();
  /// SIGKILL without waiting: for tests in which the others learn of it first.
  void shoot() const { signal(SIGKILL); }

 private:
  pid_t pid_ = -1;
  bool reaped_ = false;
  int code_ = 0;
};

/// Calls `fine` again and again, giving way to others, until it is true. For what can be observed but not waited for;
/// the watchdog of the test program bounds it.
void await(const std::function<bool()>& fine);

/// True if every thread of `pid` that is not the library's helper sleeps in the kernel.
[[nodiscard]] bool is_asleep(pid_t pid);

}  // namespace support
