#include "support/inspect.hpp"

#include <dirent.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <sstream>
#include <string_view>
#include <system_error>

namespace support {
namespace {

namespace fs = std::filesystem;

constexpr long kFutexWaitv = 449;  // Debian 12's headers may lack its name

template <class Number>
std::optional<Number> to_number(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::string contents(const fs::path& path) {
  // Not an ifstream: reading a file of /proc fails when the process ends between open and read, and then that throws.
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> in(std::fopen(path.c_str(), "rbe"), &std::fclose);
  std::string out;
  char buffer[4096];
  for (std::size_t got = 1; in && got > 0;) {
    got = std::fread(buffer, 1, sizeof buffer, in.get());
    out.append(buffer, got);
  }
  return out;
}

/// Nothing when the process ended while we looked.
std::optional<ProcessInfo> read_process(pid_t pid) {
  const fs::path directory = fs::path("/proc") / std::to_string(pid);
  const std::string stat = contents(directory / "stat");
  // "pid (name) state parent …", where the name may itself contain spaces and parentheses.
  const auto open = stat.find('(');
  const auto close = stat.rfind(')');
  if (open == std::string::npos || close == std::string::npos || close < open) return std::nullopt;
  ProcessInfo process;
  process.pid = pid;
  std::istringstream rest(stat.substr(close + 1));
  if (!(rest >> process.state >> process.parent)) return std::nullopt;
  process.command = contents(directory / "cmdline");
  std::replace(process.command.begin(), process.command.end(), '\0', ' ');
  if (process.command.empty()) process.command = "[" + stat.substr(open + 1, close - open - 1) + "]";
  return process;
}

std::vector<ProcessInfo> all_processes() {
  std::vector<ProcessInfo> found;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const auto pid = to_number<pid_t>(entry.path().filename().string());
    if (!pid) continue;
    if (auto process = read_process(*pid)) found.push_back(std::move(*process));
  }
  return found;
}

}  // namespace

std::string describe(const ProcessInfo& process) {
  return "pid " + std::to_string(process.pid) + " (state " + process.state + ", parent " +
         std::to_string(process.parent) + "): " + process.command;
}

std::vector<ProcessInfo> children_of(pid_t parent) {
  auto all = all_processes();
  all.erase(std::remove_if(all.begin(), all.end(), [&](const ProcessInfo& p) { return p.parent != parent; }),
            all.end());
  return all;
}

std::vector<ProcessInfo> descendants_of(pid_t ancestor) {
  const auto all = all_processes();
  std::vector<ProcessInfo> found;
  std::set<pid_t> family = {ancestor};
  // Pids wrap round, so a child may be listed before its parent: repeat until nobody new is found.
  for (std::size_t known = 0; known != family.size();) {
    known = family.size();
    for (const auto& process : all) {
      if (family.count(process.parent) != 0 && family.insert(process.pid).second) found.push_back(process);
    }
  }
  return found;
}

std::map<int, std::string> open_descriptors() {
  std::map<int, std::string> found;
  DIR* directory = ::opendir("/proc/self/fd");
  if (directory == nullptr) throw std::system_error(errno, std::generic_category(), "opendir /proc/self/fd");
  const int own = ::dirfd(directory);
  while (const dirent* entry = ::readdir(directory)) {
    const auto fd = to_number<int>(entry->d_name);
    if (!fd || *fd == own) continue;
    std::error_code gone;
    const auto target = fs::read_symlink(fs::path("/proc/self/fd") / entry->d_name, gone);
    if (!gone) found.emplace(*fd, target.string());
  }
  ::closedir(directory);
  return found;
}

std::set<std::string> files_below(const fs::path& directory) {
  std::set<std::string> found;
  std::error_code missing;
  for (auto it = fs::recursive_directory_iterator(directory, missing); it != fs::recursive_directory_iterator();
       it.increment(missing)) {
    found.insert(fs::path(it->path()).lexically_relative(directory).string());
  }
  return found;
}

fs::path test_domain() {
  const char* directory = std::getenv("BROOD_DOMAIN");
  return directory != nullptr ? directory : "";
}

bool library_helper_rests() {
  std::error_code gone;
  for (const auto& task : fs::directory_iterator("/proc/self/task", gone)) {
    if (contents(task.path() / "comm") != "brood-helper\n") continue;
    // The number of the call in which it is blocked; "running" if it is not.
    const std::string call = contents(task.path() / "syscall");
    const auto number = to_number<long>(std::string_view(call).substr(0, call.find(' ')));
    if (!number || (*number != SYS_futex && *number != kFutexWaitv)) return false;
  }
  return true;
}

}  // namespace support
