// main() of every GoogleTest program here.
#include <gtest/gtest.h>

#include "brood/init.hpp"
#include "support/supervisor.hpp"

// For LeakSanitizer: glibc keeps the list of a thread's destructors where it finds them only in threads that it has stopped.
extern "C" const char* __lsan_default_suppressions();  // NOLINT(bugprone-reserved-identifier)
extern "C" const char* __lsan_default_suppressions() { return "leak:__cxa_thread_atexit_impl\n"; }

int main(int argc, char** argv) {
  brood::init(argc, argv);  // a child made by spawn or forkserver turns off here
  if (support::needs_supervisor()) return support::supervise(argv);
  ::testing::InitGoogleTest(&argc, argv);
  support::report_progress_to_supervisor();
  return RUN_ALL_TESTS();
}
