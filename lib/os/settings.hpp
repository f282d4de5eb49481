// What a new process changes about itself before anything of it runs: streams, directory, limits, rights.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

namespace brood::inline v1::os {

/// For a standard stream: stays as it is; from or to /dev/null; (standard error) where standard output goes.
inline constexpr int kStreamStays = -1;
inline constexpr int kStreamNull = -2;
inline constexpr int kStreamLikeOutput = -3;

struct Limit {
  std::int32_t resource = 0;
  std::uint64_t soft = 0;
  std::uint64_t hard = 0;
};

/// Plain memory only: it is read between clone and exec. What it points to must stay until then.
struct Settings {
  int streams[3] = {kStreamNull, kStreamStays, kStreamStays};  ///< or a descriptor, which is copied there
  bool new_session = false;
  const std::int32_t* process_group = nullptr;  ///< 0: one of its own
  const std::int32_t* nice = nullptr;
  const unsigned long* cpus = nullptr;  ///< a mask, as sched_setaffinity takes it
  std::size_t cpu_bytes = 0;
  const Limit* limits = nullptr;
  std::size_t limit_count = 0;
  const char* directory = nullptr;
  const std::uint32_t* groups = nullptr;
  std::size_t group_count = 0;
  bool replace_groups = false;
  const std::uint32_t* group = nullptr;
  const std::uint32_t* user = nullptr;
};

/// In the order in which they are taken: what needs rights comes before these are given up.
enum class SettingsStep : std::uint8_t {
  none,
  session,
  process_group,
  nice,
  cpus,
  limit,
  stream,
  directory,
  groups,
  group,
  user,
};
struct SettingsFailure {
  SettingsStep step = SettingsStep::none;
  std::uint32_t which = 0;  ///< of the limits or streams
  int error = 0;            ///< errno
};

/// Applies them to the calling process, which has one thread. Naked system calls only, so that it can run in memory that is
/// lent by another process; what has been done before a failure stays.
[[nodiscard]] SettingsFailure apply_settings(const Settings& settings) noexcept;

}  // namespace brood::inline v1::os
