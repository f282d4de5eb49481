// Settings: streams, directory, environment, limits and rights of a child, from the options to the child itself.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "brood/process_options.hpp"
#include "os/settings.hpp"

namespace brood::inline v1::process {

inline constexpr std::size_t kStreams = 3;

/// What travels.
struct Settings {
  /// As os::Settings says; a number from 0 on is a descriptor here, and in an order the number of a passenger.
  std::array<std::int32_t, kStreams> streams{os::kStreamNull, os::kStreamStays, os::kStreamStays};
  std::string directory;
  std::map<std::string, std::optional<std::string>> environment;
  bool clear_environment = false;
  std::vector<std::int32_t> cpus;
  std::optional<std::int32_t> nice;
  std::vector<ResourceLimit> limits;
  bool new_session = false;
  std::optional<std::int32_t> process_group;
  std::optional<std::uint32_t> user;
  std::optional<std::uint32_t> group;
  std::optional<std::vector<std::uint32_t>> groups;
};

/// The form that can be applied between clone and exec. Refers to what it is made of.
class OsSettings {
 public:
  explicit OsSettings(const Settings& settings);
  OsSettings(const OsSettings&) = delete;
  OsSettings& operator=(const OsSettings&) = delete;
  [[nodiscard]] const os::Settings& get() const noexcept { return it_; }

 private:
  os::Settings it_;
  std::vector<unsigned long> cpus_;
  std::vector<os::Limit> limits_;
};

/// Descriptors that belong to one child's streams.
struct Streams {
  std::array<base::UniqueFd, kStreams> ours;    ///< the parent's ends of pipes
  std::array<base::UniqueFd, kStreams> theirs;  ///< what the child gets a copy of
  void close() noexcept;
};

/// Errors: UsageError for options that contradict themselves or name nothing that can exist.
void check(const ProcessOptions& options);

/// Opens what has to be opened. In the result streams are descriptors of this process. With the launch mutex held, until
/// the streams are registered. Errors: StartError.
[[nodiscard]] Settings open_streams(const ProcessOptions& options, Streams& streams);

/// In a child of fork or forkserver, alone in its process; streams are descriptors. Errors: StartError.
void apply(const Settings& settings);

/// The words of an error message: "change to the working directory '/x': No such file or directory".
[[nodiscard]] std::string describe(const os::SettingsFailure& failure, const Settings& settings);

/// Our environment with the changes of the settings, as NAME=VALUE.
[[nodiscard]] std::vector<std::string> environment_for(const Settings& settings);

}  // namespace brood::inline v1::process
