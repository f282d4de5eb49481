// main() of every GoogleTest program here.
#include <gtest/gtest.h>

#include "brood/init.hpp"
#include "support/supervisor.hpp"

int main(int argc, char** argv) {
  brood::init(argc, argv);  // a child made by spawn or forkserver turns off here
  if (support::needs_supervisor()) return support::supervise(argv);
  ::testing::InitGoogleTest(&argc, argv);
  support::report_progress_to_supervisor();
  return RUN_ALL_TESTS();
}
