// The registry rightly stays until the end of the program: it is made before the first look round.
#include "registry/registry.hpp"
#include "support/leak_check.hpp"

namespace {

const bool kWarm = support::before_first_baseline([] { (void)brood::registry::self(); });

}  // namespace

// Under the thread sanitizer, children forked by the tests may start threads (the library's helper) too.
extern "C" const char* __tsan_default_options();
extern "C" const char* __tsan_default_options() { return "die_after_fork=0"; }
