#include "process/legacy.hpp"

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

#include "base/fork_order.hpp"

namespace brood::inline v1::process {
namespace {

struct Estate {
  std::mutex mutex;
  std::vector<Legacy> left;
  std::map<std::string_view, Heir> heirs;
};

Estate& estate() {
  // Never destroyed: exit handlers start processes, too.
  static auto* const it = [] {
    auto* made = new Estate;
    base::hold_across_fork(base::ForkOrder::legacy, {[] { estate().mutex.lock(); }, [] { estate().mutex.unlock(); }});
    return made;
  }();
  return *it;
}

[[maybe_unused]] const Estate& g_made_at_load = estate();

}  // namespace

void bequeath(std::string_view name, std::vector<std::byte> bytes) {
  Estate& it = estate();
  const std::lock_guard guard(it.mutex);
  std::erase_if(it.left, [&](const Legacy& one) { return one.name == name; });
  if (!bytes.empty()) it.left.push_back({std::string(name), std::move(bytes)});
}

bool expect_legacy(std::string_view name, Heir heir) {
  Estate& it = estate();
  const std::lock_guard guard(it.mutex);
  return it.heirs.emplace(name, heir).second;
}

std::vector<Legacy> all_legacies() {
  Estate& it = estate();
  const std::lock_guard guard(it.mutex);
  return it.left;
}

void inherit_legacies(std::vector<Legacy> left) {
  std::vector<std::pair<Heir, std::vector<std::byte>>> expected;
  {
    Estate& it = estate();
    const std::lock_guard guard(it.mutex);
    for (const Legacy& one : left) {
      if (const auto heir = it.heirs.find(one.name); heir != it.heirs.end())
        expected.emplace_back(heir->second, one.bytes);
    }
    it.left = std::move(left);
  }
  for (const auto& [heir, bytes] : expected) heir(bytes);
}

}  // namespace brood::inline v1::process
