// Who this process is: its name, its place among the processes that its first ancestor started, its defaults.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

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
void become(Identity identity);

/// "3" or "3:1": the number of the next process constructed here.
[[nodiscard]] std::string next_child_path();

[[nodiscard]] StartMethod settled_start_method();
void inherit_start_method(StartMethod method);

/// The door is there: init() ran in this program.
void arm(std::vector<std::string> arguments);
[[nodiscard]] bool is_armed() noexcept;
/// Command line for children that execute this program.
[[nodiscard]] std::vector<std::string> arguments();

void warn_of_threads_before_fork();

}  // namespace brood::inline v1::process
