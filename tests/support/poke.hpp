// Running the program `poke` (tests/shm/poke.cpp) in surroundings that a test prepares.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>

#include "support/child.hpp"

#ifndef SUPPORT_POKE
#define SUPPORT_POKE "poke"  // each room builds its own, under a name of its own
#endif

namespace support {

/// Becomes the program, its standard output going to the line. Call in a Child.
[[noreturn]] inline void exec_poke(int output, const char* verb, const std::string& argument = {}) {
  ::dup2(output, STDOUT_FILENO);
  const std::string program = std::string(std::getenv("BROOD_TEST_PROGRAMS")) + "/" SUPPORT_POKE;
  ::execl(program.c_str(), "poke", verb, argument.c_str(), nullptr);
  ::_exit(127);
}

struct Poked {
  int code = 0;
  std::string said;
};

/// Runs poke in a child that has called `prepare` before; returns what it printed.
inline Poked poke(const std::function<void()>& prepare, const char* verb, const std::string& argument = {}) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
  Child child(
      [&](Line&) {
        prepare();
        exec_poke(ends[1], verb, argument);
      },
      Ending::quick);
  ::close(ends[1]);
  Poked out;
  char text[4096];
  for (ssize_t got = 0; (got = ::read(ends[0], text, sizeof text)) > 0;)
    out.said.append(text, static_cast<std::size_t>(got));
  ::close(ends[0]);
  out.code = child.wait();
  return out;
}

/// A fresh directory for a domain of its own, removed with what is in it.
class OwnDomain {
 public:
  OwnDomain() {
    path_ = "/dev/shm/brood-own-XXXXXX";
    if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error("mkdtemp");
  }
  ~OwnDomain() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  OwnDomain(const OwnDomain&) = delete;
  OwnDomain& operator=(const OwnDomain&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }
  /// In a child: choose it.
  void choose() const { ::setenv("BROOD_DOMAIN", path_.c_str(), 1); }

 private:
  std::string path_;
};

}  // namespace support
