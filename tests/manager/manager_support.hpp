// What the tests of managers share.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include "brood/brood.hpp"
#include "brood/manager.hpp"
#include "process/process_support.hpp"

namespace manager_test {

using namespace std::chrono_literals;

/// A manager of its own for each test, and children of each start method.
class Managed : public process_test::EveryMethod {
 protected:
  Managed() : manager({.process = {.start_method = GetParam()}}) {}
  brood::Manager manager;
};
/// For what has nothing to do with the method.
class ManagedOnce : public process_test::Processes {
 protected:
  brood::Manager manager;
};

/// Sleeps until it is so. For what another process brings about, of which nothing else tells.
template <class Condition>
void until(Condition condition) {
  while (!condition()) std::this_thread::sleep_for(1ms);
}

}  // namespace manager_test
