// Where a function is, in words that another process of the same program understands.               (room: os)
#pragma once

#include <cstdint>
#include <string>

namespace brood::inline v1::os {

/// A place in the code of a module. Travels through the codec as the aggregate that it is.
struct FunctionId {
  std::string build_id;          ///< of the module, lower-case hexadecimal; "hash-…" if it was linked without one
  std::uint64_t offset = 0;      ///< from the module's load address
  bool is_main_program = false;  ///< the program itself, not a shared library or plugin
  std::string path;              ///< the module's file, absolute; for messages, and to load a plugin again
};

/// Where this code is. `code` is the address of a function (cast to const void*).
/// Errors:  UsageError if no loaded module holds the address, or the module keeps data there.
/// Threads: safe; also in the child of a fork, and from exit handlers.
[[nodiscard]] FunctionId identify(const void* code);

/// The address of such a place in this process.
///
/// The module is found by its build id, so its path need not be the same. A plugin that is not loaded here is loaded
/// from the path in the id, after its file has shown the same build id: until then nothing of it has run.
/// Errors:  StartError naming both build ids if this is another program or another build; StartError if the module
///          cannot be read or loaded, or has no code at this offset.
[[nodiscard]] const void* resolve(const FunctionId& id);

/// Reads now what resolve() needs to know of the program, so that the children forked from here need not.
void learn_modules();

}  // namespace brood::inline v1::os
