// Who this process is: its name, its place among the processes that its first ancestor started, its defaults.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "brood/process.hpp"

namespace brood::inline v1::process {

/// What a child is told about itself.
struct Identity {
  std::string name = "MainProcess";
  std::string path;  ///< "3:1": first child of the third child; empty in the main process
  bool daemon = false;
  std::int64_t parent_pid = 0;  ///< 0 in the main process
  std::string parent_name;
};

[[nodiscard]] Identity current();
/// `parent_pidfd` may be none, if the parent could not make one.
void become(Identity identity, base::UniqueFd parent_pidfd);
void rename_current(std::string name);
/// This process may start children although it is a daemon: those are ended, or end, with it in another way.
void let_daemon_have_children() noexcept;
[[nodiscard]] bool daemon_may_have_children() noexcept;

/// The key of this process for talking to its relatives: its parent's, or chosen, or random bytes made now.
[[nodiscard]] std::string authkey();
void set_authkey(std::string key);
/// By which the parent is watched. Errors: OsError if there is none.
[[nodiscard]] int parent_pidfd();

/// "3" or "3:1": the number of the next process constructed here.
[[nodiscard]] std::string next_child_path();

inline constexpr StartMethod kLastStartMethod = StartMethod::light;

[[nodiscard]] StartMethod settled_start_method();
void inherit_start_method(std::optional<StartMethod> method);

/// The door is there: init() ran in this program.
void arm(std::vector<std::string> arguments);
[[nodiscard]] bool is_armed() noexcept;
/// Errors: UsageError if children of this method could not enter. `subject` says whose start it is.
void require_entry(StartMethod method, const std::string& subject);
/// Command line for children that execute this program.
[[nodiscard]] std::vector<std::string> arguments();

/// What set_executable() was told; empty: nothing.
[[nodiscard]] std::string chosen_executable();

void warn_of_threads_before_fork();

}  // namespace brood::inline v1::process
