#include "process/process_support.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <sstream>
#include <system_error>
#include <tuple>

#include "registry/registry.hpp"
#include "support/tsan.hpp"

namespace process_test {
namespace {

using brood::base::UniqueFd;

[[noreturn]] void fail(const std::string& operation) {
  throw std::system_error(errno, std::generic_category(), operation);
}

std::string path_of(int fd) { return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(fd); }

UniqueFd open_path(const std::string& path, int flags) {
  UniqueFd fd(::open(path.c_str(), flags | O_CLOEXEC));
  if (!fd) fail("open " + path);
  return fd;
}

std::pair<UniqueFd, UniqueFd> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) fail("pipe2");
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

#ifdef BROOD_TEST_LIGHT
constexpr StartMethod kKeepingMethods[] = {StartMethod::forkserver, StartMethod::light};
#else
constexpr StartMethod kKeepingMethods[] = {StartMethod::forkserver};
#endif

/// The domain's registry is made by the first shared object, the forkserver and the launcher of light processes by the
/// first start; they rightly stay.
const bool kWarm = support::before_first_baseline([] {
  brood::registry::self();
  for (const StartMethod method : kKeepingMethods) {
    brood::Process p({.start_method = method}, [] {});
    p.start();
    p.join();
  }
});

[[noreturn]] void execute(const std::string& path, const std::vector<std::string>& arguments,
                          const RunOptions& options) {
  std::vector<char*> argv = {const_cast<char*>(path.c_str())};
  for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  for (const auto& setting : options.environment) ::putenv(const_cast<char*>(setting.c_str()));
  if (options.inherited >= 0) ::fcntl(options.inherited, F_SETFD, 0);
  ::execv(path.c_str(), argv.data());
  std::perror(path.c_str());
  ::_exit(127);
}

int wait_for(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) fail("waitpid");
  }
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

void collect(UniqueFd& from, std::string& into) {
  std::array<char, 4096> part;
  const ssize_t got = ::read(from.get(), part.data(), part.size());
  if (got > 0) into.append(part.data(), static_cast<std::size_t>(got));
  else if (got == 0 || errno != EINTR) from.reset();
}

}  // namespace

std::string method_name(const ::testing::TestParamInfo<StartMethod>& info) {
  return std::string(to_string(info.param));
}

Pipe::Pipe() { std::tie(reader_, writer_) = make_pipe(); }
std::string Pipe::writer() const { return path_of(writer_.get()); }
std::string Pipe::reader() const { return path_of(reader_.get()); }

std::string Pipe::line() {
  std::string text;
  for (char c = 0;;) {
    const ssize_t got = ::read(reader_.get(), &c, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0 || c == '\n') return text;
    text += c;
  }
}

void Pipe::write(const std::string& text) {
  if (::write(writer_.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) fail("write");
}

void tell(const std::string& writer, const std::string& line) {
  const UniqueFd fd = open_path(writer, O_WRONLY);
  const std::string text = line + "\n";
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) fail("write to " + writer);
}

void await(const std::string& reader) {
  const UniqueFd fd = open_path(reader, O_RDONLY);
  char c = 0;
  for (;;) {
    const ssize_t got = ::read(fd.get(), &c, 1);
    if (got == 1) return;
    if (got == 0 || errno != EINTR) fail("read " + reader);
  }
}

void expect_no_error(const Ran& ran) {
  std::string others;
  std::istringstream lines(ran.err);
  for (std::string line; std::getline(lines, line);) {
    if (!SUPPORT_TSAN || line.find(" has 1 other thread and uses the start method fork;") == std::string::npos)
      others += line + "\n";
  }
  EXPECT_EQ(others, "");
}

Ran run_program(const std::string& path, const std::vector<std::string>& arguments, const RunOptions& options) {
  Ran ran;
  auto [out_reader, out_writer] = make_pipe();
  auto [err_reader, err_writer] = make_pipe();
  const pid_t pid = ::fork();
  if (pid < 0) fail("fork");
  if (pid == 0) {
    ::dup2(out_writer.get(), STDOUT_FILENO);
    ::dup2(err_writer.get(), STDERR_FILENO);
    if (options.by_a_middleman) {
      const pid_t inner = ::fork();
      if (inner != 0) ::_exit(inner < 0 ? 126 : wait_for(inner));
    }
    execute(path, arguments, options);
  }
  out_writer.reset();
  err_writer.reset();
  while (out_reader || err_reader) {
    pollfd entries[] = {{out_reader.get(), POLLIN, 0}, {err_reader.get(), POLLIN, 0}};
    if (::poll(entries, 2, -1) < 0) continue;
    if (entries[0].revents != 0) collect(out_reader, ran.out);
    if (entries[1].revents != 0) collect(err_reader, ran.err);
  }
  ran.code = wait_for(pid);
  return ran;
}

std::string test_program(const std::string& name) {
  const char* directory = std::getenv("BROOD_TEST_PROGRAMS");
  return std::string(directory != nullptr ? directory : ".") + "/" + name;
}

}  // namespace process_test
