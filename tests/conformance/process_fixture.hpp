// The fixture of the conformance tests of processes themselves, whose parameter is the start method.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "brood/process.hpp"
#include "brood/queue.hpp"
#include "conformance/bodies.hpp"
#include "process/process_support.hpp"
#include "support/tsan.hpp"

namespace conformance {

using brood::StartMethod;
using process_test::await;
using process_test::expect_scenario;
using process_test::Pipe;
using process_test::Ran;
using process_test::run_program;
using process_test::tell;
using process_test::test_program;

/// What these tests run with. The thread sanitizer lets a clone of a program with threads neither start threads safely nor
/// handle signals in time, so there it is the two that begin with a program of their own.
inline std::vector<StartMethod> all_methods() {
  if (SUPPORT_TSAN) return {StartMethod::spawn, StartMethod::forkserver};
  return {StartMethod::fork, StartMethod::spawn, StartMethod::forkserver};
}
#define BROOD_METHODS(Suite) \
  INSTANTIATE_TEST_SUITE_P(Methods, Suite, ::testing::ValuesIn(all_methods()), process_test::method_name)

class EveryMethod : public process_test::EveryMethod {
 protected:
  static StartMethod method() { return GetParam(); }
  /// With the start method added.
  static brood::ProcessOptions with(brood::ProcessOptions options = {}) {
    options.start_method = GetParam();
    return options;
  }
  /// The exit code of this target.
  template <class F, class... Args>
  static int code_of(F target, Args&&... args) {
    brood::Process p(with(), target, std::forward<Args>(args)...);
    p.start();
    p.join();
    return p.exitcode().value_or(-999);
  }
};
using Once = support::NoLeaks;

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
inline std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

}  // namespace conformance
