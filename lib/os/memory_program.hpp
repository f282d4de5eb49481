// A program that lies in no directory: bytes of ours in a sealed file in memory, to be executed by spawn().
#pragma once

#include <cstdint>
#include <string_view>

#include "base/unique_fd.hpp"

namespace brood::inline v1::os {

struct MemoryProgram {
  int error = 0;          ///< 0 or a negative errno
  const char* step = "";  ///< what failed
  base::UniqueFd fd;      ///< close-on-exec, no standard stream; nobody can change what it holds
  std::uint64_t inode = 0;
};
/// `name` is what /proc/PID/exe shows.
[[nodiscard]] MemoryProgram make_memory_program(const char* name, std::string_view image) noexcept;

/// Whether the descriptor still is that program: an application may close every descriptor that it does not know, and get
/// the number for a file of its own.
[[nodiscard]] bool is_memory_program(int fd, std::uint64_t inode) noexcept;

}  // namespace brood::inline v1::os
