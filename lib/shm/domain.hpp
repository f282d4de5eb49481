// Where segments live, and what their files are called.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "brood/handle.hpp"

namespace brood::inline v1::shm {

/// Makes the domain directory if it is missing and checks that it is ours alone. Called before each create.
/// Errors: PermissionDenied (foreign owner, open to others), OsError.
void ensure_domain();
/// The same check without making it: false if there is none. Before anything in it is removed.
[[nodiscard]] bool domain_exists();
/// Removes the directory if nothing is left in it.
void remove_domain_if_empty() noexcept;

/// Full path of a file in the domain.
[[nodiscard]] std::string domain_path(std::string_view file);
inline constexpr std::string_view kRegistryFile = "registry";
/// `=name` for named objects, sixteen hex digits for the others.
[[nodiscard]] std::string object_file(std::uint64_t id, std::string_view name);
[[nodiscard]] std::string object_path(const Handle& handle);

/// A pin: a hard link that keeps a target alive while its handle lies in message number `message` of `container`.
struct PinName {
  std::uint64_t container = 0;
  std::uint64_t message = 0;
  std::uint64_t target = 0;
};
[[nodiscard]] std::string pin_file(const PinName& pin);
[[nodiscard]] std::optional<PinName> parse_pin_file(std::string_view file) noexcept;

}  // namespace brood::inline v1::shm
