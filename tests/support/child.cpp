#include "support/child.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace support {
namespace {

[[noreturn]] void fail(const char* operation) { throw std::system_error(errno, std::generic_category(), operation); }

}  // namespace

void Line::say(char word) const {
  if (::send(fd_.get(), &word, 1, MSG_NOSIGNAL) != 1) fail("line: say");
}

char Line::hear() const {
  char word = 0;
  ssize_t got = 0;
  do {
    got = ::recv(fd_.get(), &word, 1, 0);
  } while (got < 0 && errno == EINTR);
  if (got == 1) return word;
  throw std::runtime_error("line: the other side has gone");
}

void Line::expect(char word) const {
  const char heard = hear();
  if (heard != word) throw std::runtime_error(std::string("line: expected '") + word + "', heard '" + heard + "'");
}

void Line::expect_silence() const {
  char word = 0;
  const ssize_t got = ::recv(fd_.get(), &word, 1, 0);
  if (got > 0) throw std::runtime_error(std::string("line: expected the end, heard '") + word + "'");
}

void Line::send_text(const std::string& text) const {
  for (const char c : text) say(c);
  say('\0');
}

std::string Line::hear_text() const {
  std::string text;
  for (char c = hear(); c != '\0'; c = hear()) text += c;
  return text;
}

Child::Child(const std::function<void(Line&)>& body, Ending ending) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) fail("socketpair");
  line = Line(ends[0]);
  Line theirs(ends[1]);
  std::cout.flush();
  std::fflush(nullptr);
  pid_ = ::fork();
  if (pid_ < 0) fail("fork");
  if (pid_ != 0) return;
  line.hang_up();
  int code = 0;
  try {
    body(theirs);
  } catch (const std::exception& error) {
    std::cerr << "child: " << error.what() << std::endl;
    code = 1;
  }
  // The assertions of a child are heard through its exit code.
  if (::testing::Test::HasFailure()) code = 1;
  if (ending == Ending::quick) ::_exit(code);
  std::exit(code);
}

Child::Child(Child&& other) noexcept
    : line(std::move(other.line)), pid_(other.pid_), reaped_(std::exchange(other.reaped_, true)), code_(other.code_) {}

Child::~Child() {
  if (!reaped_) kill();
}

void Child::signal(int number) const {
  if (::kill(pid_, number) != 0) fail("kill");
}

void Child::stop() const {
  signal(SIGSTOP);
  siginfo_t info{};
  if (::waitid(P_PID, static_cast<id_t>(pid_), &info, WSTOPPED) != 0) fail("waitid(WSTOPPED)");
  if (info.si_code != CLD_STOPPED) throw std::runtime_error("child: ended instead of stopping");
}

int Child::wait() {
  if (reaped_) return code_;
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0) {
    if (errno != EINTR) fail("waitpid");
  }
  reaped_ = true;
  code_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  return code_;
}

void Child::kill() {
  if (reaped_) return;
  ::kill(pid_, SIGKILL);
  wait();
}

void await(const std::function<bool()>& fine) {
  while (!fine()) {
    const timespec pause{0, 200'000};
    ::nanosleep(&pause, nullptr);
  }
}

bool is_asleep(pid_t pid) {
  namespace fs = std::filesystem;
  std::error_code gone;
  bool any = false;
  for (const auto& task : fs::directory_iterator("/proc/" + std::to_string(pid) + "/task", gone)) {
    std::ifstream file(task.path() / "stat");
    const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    const auto end = text.rfind(')');
    if (end == std::string::npos || end + 2 >= text.size()) return false;
    if (text.find("(brood-helper)") != std::string::npos) continue;
    any = true;
    if (text[end + 2] != 'S') return false;
  }
  return any;
}

}  // namespace support
