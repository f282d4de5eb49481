#include "brood/version.hpp"

#include <gtest/gtest.h>

#include <string>

TEST(Version, HeaderAndBuildFileAgree) {
  EXPECT_STREQ(BROOD_VERSION_STRING, BROOD_PROJECT_VERSION);
  EXPECT_EQ(std::string(BROOD_VERSION_STRING), std::to_string(BROOD_VERSION_MAJOR) + "." +
                                                   std::to_string(BROOD_VERSION_MINOR) + "." +
                                                   std::to_string(BROOD_VERSION_PATCH));
}
