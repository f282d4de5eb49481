// What this kernel offers, found once; each entry can be switched off to test the fallback.
#pragma once

namespace brood::inline v1::os {

/// The environment variable BROOD_WITHOUT (ignored in setuid programs) is a comma-separated list of the names below; it
/// exists so that the fallbacks for older kernels, and the absence of the fallback timer, are tested on any machine.
struct Capabilities {
  bool futex_waitv = true;   ///< sleep on two words at once (Linux 5.16; absent under valgrind and gVisor)
  bool pidfd_info = true;    ///< read the exit status of a process that somebody else reaped (Linux 6.15)
  bool membarrier = true;    ///< expedited barriers (Linux 4.16)
  bool pagemap = true;       ///< /proc/self/pagemap tells which pages of a private mapping are our own
  bool pagemap_scan = true;  ///< and PAGEMAP_SCAN does so in one call for many (Linux 6.7)
  bool tick = true;          ///< sleeps look round once in a while although nothing woke them
};

/// Detected when the program is loaded; safe from any thread.
[[nodiscard]] const Capabilities& capabilities() noexcept;

}  // namespace brood::inline v1::os
