#include "support/leak_check.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <thread>
#include <utility>

#include "brood/domain.hpp"
#include "support/inspect.hpp"

namespace support {
namespace {

std::vector<std::function<void()>>& warm_ups() {
  static std::vector<std::function<void()>> list;
  return list;
}

void run_warm_ups() {
  for (const auto& warm_up : std::exchange(warm_ups(), {})) warm_up();
}

template <class Thing>
std::vector<Thing> only_in_first(const std::set<Thing>& these, const std::set<Thing>& those) {
  std::vector<Thing> found;
  std::set_difference(these.begin(), these.end(), those.begin(), those.end(), std::back_inserter(found));
  return found;
}

/// Looks again for this long before it calls something a leak: the kernel finishes some endings after they were
/// reported (a killed child's descriptors of a pipe, the unlinking done by the last process that lets go).
constexpr std::chrono::seconds kSettling{2};

}  // namespace

Possessions Possessions::now() {
  Possessions found;
  found.files = files_below(test_domain());
  found.descriptors = open_descriptors();
  for (const auto& child : children_of(::getpid())) {
    found.children.insert(child.pid);
    found.commands.emplace(child.pid, child.command);
  }
  return found;
}

std::vector<std::string> differences(const Possessions& before, const Possessions& after) {
  std::vector<std::string> out;
  for (const auto& file : only_in_first(after.files, before.files)) {
    out.push_back("file left in the domain directory: " + file);
  }
  for (const auto& file : only_in_first(before.files, after.files)) {
    out.push_back("file gone from the domain directory: " + file);
  }
  const std::set<std::pair<int, std::string>> had(before.descriptors.begin(), before.descriptors.end());
  const std::set<std::pair<int, std::string>> has(after.descriptors.begin(), after.descriptors.end());
  for (const auto& [fd, what] : only_in_first(has, had)) {
    out.push_back("descriptor left open: " + std::to_string(fd) + " (" + what + ")");
  }
  for (const auto& [fd, what] : only_in_first(had, has)) {
    out.push_back("descriptor closed that was open before: " + std::to_string(fd) + " (" + what + ")");
  }
  for (const pid_t child : only_in_first(after.children, before.children)) {
    out.push_back("child process left: pid " + std::to_string(child) + " (" + after.commands.at(child) + ")");
  }
  return out;
}

bool before_first_baseline(std::function<void()> warm_up) {
  warm_ups().push_back(std::move(warm_up));
  return true;
}

NoLeaks::NoLeaks() {
  run_warm_ups();
  brood::gc();
  // The helper may still look at a process of the warm-up: that descriptor is no possession of the test's.
  while (!library_helper_rests()) std::this_thread::yield();
  before_ = Possessions::now();
}

NoLeaks::~NoLeaks() {
  const auto give_up = std::chrono::steady_clock::now() + kSettling;
  brood::gc();
  auto found = differences(before_, Possessions::now());
  while (!found.empty() && std::chrono::steady_clock::now() < give_up) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    brood::gc();
    found = differences(before_, Possessions::now());
  }
  for (const auto& line : found) ADD_FAILURE() << line;
}

}  // namespace support
