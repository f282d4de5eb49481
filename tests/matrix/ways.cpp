#include "matrix/ways.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <system_error>
#include <thread>

#include "base/unique_fd.hpp"

namespace matrix {
namespace {

namespace fs = std::filesystem;
using brood::base::UniqueFd;

[[noreturn]] void fail(const std::string& operation) {
  throw std::system_error(errno, std::generic_category(), operation);
}

std::string peer_program() {
  const char* directory = std::getenv("BROOD_TEST_PROGRAMS");
  require(directory != nullptr, "BROOD_TEST_PROGRAMS is set");
  return std::string(directory) + "/matrix_peer";
}

/// Words as exec wants them.
class Argv {
 public:
  explicit Argv(std::vector<std::string> words) : words_(std::move(words)) {
    for (std::string& word : words_) pointers_.push_back(word.data());
    pointers_.push_back(nullptr);
  }
  [[nodiscard]] char* const* get() const noexcept { return pointers_.data(); }

 private:
  std::vector<std::string> words_;
  std::vector<char*> pointers_;
};

Argv peer_argv(const Invitation& invitation) {
  std::vector<std::string> words = peer_arguments(invitation);
  words.insert(words.begin(), peer_program());
  return Argv(std::move(words));
}

std::unique_ptr<Peer> invite_by_posix_spawn(const Invitation& invitation) {
  const std::string program = peer_program();
  const Argv argv = peer_argv(invitation);
  pid_t pid = -1;
  if (const int error = ::posix_spawn(&pid, program.c_str(), nullptr, nullptr, argv.get(), environ); error != 0) {
    throw std::system_error(error, std::generic_category(), "posix_spawn " + program);
  }
  return std::make_unique<ChildPeer>(pid);
}

/// The child runs in our memory until it executes the program: nothing but that call stands here.
[[gnu::noinline]] pid_t vfork_and_exec(const char* program, char* const* argv, char* const* environment) {
  const pid_t pid = ::vfork();
  if (pid != 0) return pid;
  ::execve(program, argv, environment);
  ::_exit(127);
}

std::unique_ptr<Peer> invite_by_vfork(const Invitation& invitation) {
  const std::string program = peer_program();
  const Argv argv = peer_argv(invitation);
  const pid_t pid = vfork_and_exec(program.c_str(), argv.get(), environ);
  if (pid < 0) fail("vfork");
  return std::make_unique<ChildPeer>(pid);
}

/// system() returns when the command has ended, so it has a thread of its own. The handles are in the environment.
class SystemPeer : public Peer {
 public:
  explicit SystemPeer(const Invitation& invitation) {
    ::setenv(kInvitationVariable, invitation.text().c_str(), 1);
    command_ = "'" + peer_program() + "' " + kByEnvironment;
    thread_ = std::thread([this] { status_ = std::system(command_.c_str()); });
  }
  ~SystemPeer() override { join(); }
  void wait() override {
    join();
    require_good_end(status_);
  }

 private:
  void join() {
    if (!thread_.joinable()) return;
    thread_.join();
    ::unsetenv(kInvitationVariable);
  }
  std::string command_;
  std::thread thread_;
  int status_ = -1;
};

void write_all(int fd, const void* data, std::size_t size) {
  if (::write(fd, data, size) != static_cast<ssize_t>(size)) fail("write to a pipe");
}
/// False at the end of the pipe.
bool read_all(int fd, void* data, std::size_t size) {
  ssize_t got = 0;
  do {
    got = ::read(fd, data, size);
  } while (got < 0 && errno == EINTR);
  if (got < 0) fail("read from a pipe");
  return got == static_cast<ssize_t>(size);
}

struct Pipe {
  Pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) fail("pipe2");
    reader = UniqueFd(ends[0]);
    writer = UniqueFd(ends[1]);
  }
  UniqueFd reader;
  UniqueFd writer;
};

/// The daemon: session of its own, root directory, no input and no output but errors; the handles are in a file.
[[noreturn]] void live_as_daemon(pid_t middleman, const UniqueFd& gate, const std::string& file) noexcept {
  int code = 1;
  try {
    if (::chdir("/") != 0) fail("chdir /");
    const UniqueFd nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
    if (!nothing || ::dup2(nothing.get(), 0) < 0 || ::dup2(nothing.get(), 1) < 0) fail("/dev/null");
    char go = 0;
    require(read_all(gate.get(), &go, 1), "daemon: the test lets it begin");
    require(::getppid() != middleman, "daemon: its parent has ended");
    std::ifstream in(file);
    accept_invitation(Invitation::from_text({std::istreambuf_iterator<char>(in), {}}));
    code = 0;
  } catch (const std::exception& error) {
    std::cerr << "daemon: " << error.what() << std::endl;
  }
  std::exit(code);
}

/// A grandchild whose parent has ended: nobody can reap it here, its pidfd tells when it has ended.
class DaemonPeer : public Peer {
 public:
  explicit DaemonPeer(const Invitation& invitation)
      : file_((fs::temp_directory_path() / (invitation.address + ".handles")).string()) {
    Pipe pids;
    Pipe gate;
    const pid_t middleman = ::fork();
    if (middleman < 0) fail("fork");
    if (middleman == 0) be_middleman(pids, gate);
    pids.writer.reset();
    gate.reader.reset();
    pid_t pid = 0;
    const bool told = read_all(pids.reader.get(), &pid, sizeof pid);
    int status = 0;
    if (::waitpid(middleman, &status, 0) != middleman) fail("waitpid");
    require_good_end(status);
    require(told, "the daemon's parent has told its pid");
    // It is not reaped by anybody while it waits at the gate, so the number is still its own.
    pidfd_ = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    if (!pidfd_) fail("pidfd_open");
    require(::kill(middleman, 0) != 0 && errno == ESRCH, "the daemon's parent has ended");
    std::ofstream(file_) << invitation.text();
    write_all(gate.writer.get(), "g", 1);
  }
  ~DaemonPeer() override {
    if (!ended_ && pidfd_) {
      ::syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0);
      await_end();
    }
    std::error_code ignored;  // if the constructor failed there is none
    fs::remove(file_, ignored);
  }
  /// Its code is its reaper's. That it did all its work, it has said on the line.
  void wait() override { await_end(); }

 private:
  [[noreturn]] void be_middleman(const Pipe& pids, Pipe& gate) const noexcept {
    const pid_t self = ::getpid();
    gate.writer.reset();
    ::setsid();
    const pid_t pid = ::fork();
    if (pid == 0) live_as_daemon(self, gate.reader, file_);
    ::_exit(pid > 0 && ::write(pids.writer.get(), &pid, sizeof pid) == sizeof pid ? 0 : 1);
  }
  void await_end() {
    pollfd end{pidfd_.get(), POLLIN, 0};
    while (::poll(&end, 1, -1) < 0 && errno == EINTR) {}
    ended_ = true;
  }
  std::string file_;
  UniqueFd pidfd_;
  bool ended_ = false;
};

}  // namespace

std::string to_string(Way way) {
  switch (way) {
    case Way::fork: return "fork";
    case Way::spawn: return "spawn";
    case Way::forkserver: return "forkserver";
    case Way::posix_spawn: return "posix_spawn";
    case Way::vfork_exec: return "vfork_exec";
    case Way::system: return "system";
    case Way::boost_process: return "boost_process";
    case Way::daemon: return "daemon";
  }
  throw std::logic_error("no such way");
}

std::optional<brood::StartMethod> start_method(Way way) {
  switch (way) {
    case Way::fork: return brood::StartMethod::fork;
    case Way::spawn: return brood::StartMethod::spawn;
    case Way::forkserver: return brood::StartMethod::forkserver;
    default: return std::nullopt;
  }
}

std::vector<std::string> peer_arguments(const Invitation& invitation) {
  std::vector<std::string> words = invitation.words();
  words.insert(words.begin(), kByArguments);
  return words;
}

std::unique_ptr<Peer> invite(Way way, const Invitation& invitation) {
  switch (way) {
    case Way::posix_spawn: return invite_by_posix_spawn(invitation);
    case Way::vfork_exec: return invite_by_vfork(invitation);
    case Way::system: return std::make_unique<SystemPeer>(invitation);
    case Way::boost_process: return invite_by_boost_process(peer_program(), invitation);
    case Way::daemon: return std::make_unique<DaemonPeer>(invitation);
    default: throw std::logic_error("a Process needs no invitation");
  }
}

void require_good_end(int status) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
  throw std::runtime_error(WIFEXITED(status) ? "the worker ended with code " + std::to_string(WEXITSTATUS(status))
                                             : "the worker ended by signal " + std::to_string(WTERMSIG(status)));
}

ChildPeer::~ChildPeer() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {}
}

void ChildPeer::wait() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0) {
    if (errno != EINTR) fail("waitpid");
  }
  pid_ = -1;
  require_good_end(status);
}

ProcessPeer::~ProcessPeer() {
  if (process_.is_alive()) process_.kill();
}

void ProcessPeer::wait() {
  process_.join();
  require(process_.exitcode() == 0,
          "the worker ended with code 0, not " + std::to_string(process_.exitcode().value_or(255)));
}

}  // namespace matrix
