// For programs that want no line of ours in main: linked with -Wl,--wrap=main, the program's start goes through here.
// Works in static, position independent and link-time optimised programs alike; see README.md for what was tried and
// does not.
#include "brood/init.hpp"

// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming): the linker's names
extern "C" int __real_main(int argc, char** argv, char** envp);
extern "C" int __wrap_main(int argc, char** argv, char** envp) {
  brood::init(argc, argv);
  return __real_main(argc, argv, envp);
}
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)
