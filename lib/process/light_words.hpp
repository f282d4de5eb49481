// What the launcher of light processes and the library know of each other. The launcher is a program of its own that links
// nothing of ours: plain constants and layouts only.
#pragma once

#include <cstddef>
#include <cstdint>

namespace brood::inline v1::process {

/// Before every message of a child, and all of most.
struct Wire {
  std::uint32_t said;
  std::int32_t number;
};
/// The child cannot run the target: a text follows.
inline constexpr std::uint32_t kSaidFailed = 6;
inline constexpr std::size_t kTextBytes = 8UL * 1024;

/// What the launcher calls in the library when it has been loaded; does not return. Until then the entry variable is there.
using LightEntry = void (*)();
inline constexpr const char* kLightEntryName = "brood_v1_enter_light";

inline constexpr int kCannotRun = 255;

}  // namespace brood::inline v1::process

/// The launcher exports it, and nobody else: by it the library knows where it is before anything of it has run.
// NOLINTNEXTLINE(readability-identifier-naming): a symbol of C
extern "C" [[gnu::weak]] const char brood_v1_light_launcher;
