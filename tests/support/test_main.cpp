// main() of every GoogleTest program here.
#include <gtest/gtest.h>

#include "support/supervisor.hpp"
#ifdef BROOD_HAS_INIT
#include "brood/init.hpp"
#endif

int main(int argc, char** argv) {
#ifdef BROOD_HAS_INIT
  brood::init(argc, argv);  // a child made by spawn or forkserver turns off here
#endif
  if (support::needs_supervisor()) return support::supervise(argv);
  ::testing::InitGoogleTest(&argc, argv);
  support::report_progress_to_supervisor();
  return RUN_ALL_TESTS();
}
