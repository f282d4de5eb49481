// Where an exception was thrown: the stack as it stood before it was unwound.                      (room: os)
#pragma once

#include <array>
#include <cstddef>
#include <string>

namespace brood::inline v1::os {

/// The return addresses of the functions that were active, innermost first.
struct ThrownFrom {
  static constexpr std::size_t kMost = 64;  ///< of a deeper stack: the innermost
  std::array<const void*, kMost> addresses = {};
  std::size_t count = 0;
  bool is_cut = false;
};

/// Calls body(context). An exception that leaves it passes on, and has left in `from` where it was thrown; nothing else
/// changes about it.
///
/// How: the body is called by a few instructions of our own, with a personality routine of our own in their unwind table. The
/// runtime asks each such routine first, while the whole stack is still there, and unwinds only once it knows who catches.
/// Source: Itanium C++ ABI, Exception Handling, Level I (1.3, the two phases).
/// On machines other than x86-64 and aarch64 the stack is not looked at.
void call_and_note_throw(void (*body)(void* context), void* context, ThrownFrom& from);

/// One line for each function: `#0 work(int)+0x1c in /path/program`. Names come from the modules' symbol tables; of a stripped
/// module only the offset is said, for addr2line.
[[nodiscard]] std::string describe(const ThrownFrom& from, const std::string& indent);

}  // namespace brood::inline v1::os
