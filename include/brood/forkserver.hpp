// The forkserver: what it has loaded, and how many children it keeps ready.                       (room: process)
//
//   brood::set_forkserver_preload({"libmodel.so"});   // loaded once; every child has it from its first instruction
//   brood::set_forkserver_spares(16);                 // a burst of sixteen starts waits for no fork
//
// Complete example: examples/23_forkserver.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace brood::inline v1 {

/// What becomes of a module that the server cannot load.
enum class PreloadError : std::uint8_t {
  ignore,  ///< nothing is said; a target in it is loaded, or fails, in the child
  warn,    ///< a line on the server's standard error
  fail,    ///< start() throws StartError with the loader's words, and there is no server
};

inline constexpr std::size_t kMostForkserverSpares = 64;

/// Shared libraries that the server loads before it forks any child, in this order: paths, or names that the loader finds.
/// Their static initialisers run in the server, once. A server that runs already is replaced at the next start; its
/// children go on.
/// Errors: UsageError for an empty name. Threads: safe.
/// Source: Python multiprocessing.set_forkserver_preload.
void set_forkserver_preload(std::vector<std::string> modules, PreloadError on_error = PreloadError::ignore);

/// How many children the server keeps forked ahead, 1 to kMostForkserverSpares; 1 unless chosen otherwise. Each costs a
/// process with some hundred KiB of its own. A server that runs already is replaced at the next start; its children go on.
/// Errors: UsageError for another number. Threads: safe.
void set_forkserver_spares(std::size_t count);

/// Start the server now, if it does not run, instead of with the first start() that needs it.
/// Errors: UsageError without init() (as Process::start); StartError, OsError.
void ensure_forkserver();

}  // namespace brood::inline v1
