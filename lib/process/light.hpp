// Light processes: children that load one library and no program.
#pragma once

#include <string>

#include "brood/detail/callable.hpp"

namespace brood::inline v1::process {

enum class LightStage : unsigned char {
  none,     ///< this is a program
  loading,  ///< the launcher is loading the library: its static objects are being made
  running,
};
[[nodiscard]] LightStage light_stage() noexcept;

/// The file that the child loads for this call: `chosen`, else the module that made the call, else (nothing is called) that
/// of brood itself. Empty if what it is to find there is part of a program.
/// Errors: StartError if the module's file is gone, or was replaced since it was loaded here.
[[nodiscard]] std::string library_for(const detail::PackedCall& call, const std::string& chosen);

}  // namespace brood::inline v1::process
