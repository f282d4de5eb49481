// A new program in a new process: vfork-like, with the error told precisely and the pidfd made by the same call.
#pragma once

#include <sys/types.h>

#include "base/unique_fd.hpp"
#include "os/settings.hpp"

namespace brood::inline v1::os {

struct SpawnRequest {
  const char* program = nullptr;
  int program_fd = -1;  ///< unless negative, executed in the place of `program`
  char* const* arguments = nullptr;
  char* const* environment = nullptr;
  int kept_fd = -1;                    ///< the one descriptor that loses close-on-exec, in the child only
  const Settings* settings = nullptr;  ///< never null
};

struct Spawned {
  int error = 0;            ///< 0 or a negative errno; then, and after a failure of a setting, there is no child
  const char* step = "";    ///< what failed: "make a process to execute", followed by the program
  SettingsFailure setting;  ///< or this
  pid_t pid = 0;
  base::UniqueFd pidfd;
};

/// Starts the program with these settings, an empty signal mask and, by the nature of exec, no signal
/// handlers. Signals that are ignored stay ignored (nohup), except SIGCHLD: a child may want to wait for its children.
///
/// Cost does not depend on the size of the caller: memory is lent to the child until exec, not copied.
[[nodiscard]] Spawned spawn(const SpawnRequest& request) noexcept;

}  // namespace brood::inline v1::os
