// usage: check_example SOURCE PROGRAM [ARGUMENT…]
//
// Runs an example in a domain of its own, with nothing on standard input. It must end with 0, print what the first
// comment of its source promises, and leave neither files nor processes behind.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <system_error>

#include "base/unique_fd.hpp"
#include "examples/expectation.hpp"
#include "support/inspect.hpp"

namespace {

namespace fs = std::filesystem;
using brood::base::UniqueFd;

[[noreturn]] void fail(const std::string& operation) {
  throw std::system_error(errno, std::generic_category(), operation);
}

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path.string());
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

struct Run {
  std::string output;
  int status = 0;
};

Run run(char** program) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) fail("pipe2");
  const UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) fail("fork");
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const UniqueFd nothing(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    ::dup2(nothing.get(), STDIN_FILENO);
    ::dup2(theirs.get(), STDOUT_FILENO);
    ::execv(program[0], program);
    std::perror(program[0]);
    ::_exit(127);
  }
  theirs.reset();
  Run result;
  char buffer[65536];
  for (;;) {
    const ssize_t size = ::read(ours.get(), buffer, sizeof buffer);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) fail("read");
    if (size == 0) break;
    result.output.append(buffer, static_cast<std::size_t>(size));
  }
  while (::waitpid(child, &result.status, 0) < 0) {
    if (errno != EINTR) fail("waitpid");
  }
  return result;
}

/// What is wrong with the way it ended; empty if nothing is.
std::string judge_end(int status) {
  if (WIFSIGNALED(status)) return "it was killed by signal " + std::to_string(WTERMSIG(status)) + '\n';
  if (WEXITSTATUS(status) != 0) return "it ended with exit code " + std::to_string(WEXITSTATUS(status)) + '\n';
  return {};
}

/// Waits for the processes it left, so that those which are ending may end; says which do not.
std::string judge_processes() {
  constexpr int kPatience = 250;  // times 20 ms
  for (int i = 0; i < kPatience; ++i) {
    pid_t reaped = 0;
    while ((reaped = ::waitpid(-1, nullptr, WNOHANG)) > 0) continue;
    if (reaped < 0 && errno == ECHILD) return {};
    ::usleep(20'000);
  }
  std::string wrong;
  for (const auto& process : support::descendants_of(::getpid())) {
    wrong += "it left a process running: " + support::describe(process) + '\n';
    ::kill(process.pid, SIGKILL);
  }
  return wrong;
}

int check(char** arguments) {
  const std::string source = arguments[0];
  char** const program = arguments + 1;
  const auto expected = examples::read_expectation(read_file(source));

  const fs::path domain = "/dev/shm/brood-example-" + std::to_string(::getpid());
  ::setenv("BROOD_DOMAIN", domain.c_str(), 1);
  // The processes that it leaves become ours.
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) fail("prctl(PR_SET_CHILD_SUBREAPER)");

  const Run result = run(program);
  std::string wrong = judge_end(result.status) + examples::compare(expected, result.output) + judge_processes();
  for (const auto& file : support::files_below(domain)) wrong += "it left a file: " + (domain / file).string() + '\n';
  fs::remove_all(domain);
  if (wrong.empty()) return 0;
  std::cerr << source << ":\n" << wrong << "--- everything it printed:\n" << result.output;
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: check_example SOURCE PROGRAM [ARGUMENT…]\n";
    return 2;
  }
  try {
    return check(argv + 1);
  } catch (const std::exception& error) {
    std::cerr << argv[1] << ": " << error.what() << '\n';
    return 2;
  }
}
