// What can be seen of this machine from a test: processes, descriptors, files of the domain.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace support {

struct ProcessInfo {
  pid_t pid = 0;
  pid_t parent = 0;
  char state = '?';     ///< as in /proc/PID/stat: R, S, D, T, Z, …
  std::string command;  ///< the command line, or the kernel's short name in brackets
};

[[nodiscard]] std::string describe(const ProcessInfo& process);

/// The living and the unreaped children of a process; of this process when called with getpid().
[[nodiscard]] std::vector<ProcessInfo> children_of(pid_t parent);
/// Children, their children, and so on.
[[nodiscard]] std::vector<ProcessInfo> descendants_of(pid_t ancestor);

/// Open descriptors of this process and what each of them is.
[[nodiscard]] std::map<int, std::string> open_descriptors();

/// True if the library's helper thread, if there is one, is blocked in a futex call: it is not looking at any process.
[[nodiscard]] bool library_helper_rests();

/// Paths relative to `directory` of everything in it; empty when it does not exist.
[[nodiscard]] std::set<std::string> files_below(const std::filesystem::path& directory);

/// $BROOD_DOMAIN, the directory of this test program's shared objects.
[[nodiscard]] std::filesystem::path test_domain();

}  // namespace support
