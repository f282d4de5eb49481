// The plain ways to start a process, and memory that makes fork dear.
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>
#include <system_error>

#include "topics.hpp"

namespace bench {
namespace {

void wait_for(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) throw std::system_error(errno, std::generic_category(), "waitpid");
  }
  if (status != 0) throw std::runtime_error("the child failed");
}

}  // namespace

void fork_and_wait() {
  const pid_t pid = ::fork();
  if (pid < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (pid == 0) ::_exit(0);
  wait_for(pid);
}

void posix_spawn_and_wait(const std::string& self) {
  std::string name = self;
  std::string argument = kExitAtOnce;
  char* arguments[] = {name.data(), argument.data(), nullptr};
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, self.c_str(), nullptr, nullptr, arguments, environ);
  if (error != 0) throw std::system_error(error, std::generic_category(), "posix_spawn");
  wait_for(pid);
}

void touch_ballast(std::size_t megabytes) {
  const std::size_t size = megabytes << 20;
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap of the ballast");
  // Small pages are what programs have, and what fork copies the tables of. Kernels without huge pages refuse: good
  // too.
  (void)::madvise(memory, size, MADV_NOHUGEPAGE);
  auto* bytes = static_cast<volatile unsigned char*>(memory);
  for (std::size_t at = 0; at < size; at += 4096) bytes[at] = 1;
}

}  // namespace bench
