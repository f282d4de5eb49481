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
  std::map<std::string_view, Will> wills;
  std::map<std::string_view, Heir> heirs;
};

void put(std::vector<Legacy>& into, std::string_view name, std::vector<std::byte> bytes) {
  std::erase_if(into, [&](const Legacy& one) { return one.name == name; });
  if (!bytes.empty()) into.push_back({std::string(name), std::move(bytes)});
}

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
  put(it.left, name, std::move(bytes));
}

bool bequeath_at_start(std::string_view name, Will will) {
  Estate& it = estate();
  const std::lock_guard guard(it.mutex);
  return it.wills.emplace(name, will).second;
}

bool expect_legacy(std::string_view name, Heir heir) {
  Estate& it = estate();
  const std::lock_guard guard(it.mutex);
  return it.heirs.emplace(name, heir).second;
}

std::vector<Legacy> all_legacies() {
  std::vector<Legacy> left;
  std::map<std::string_view, Will> wills;
  {
    Estate& it = estate();
    const std::lock_guard guard(it.mutex);
    left = it.left;
    wills = it.wills;
  }
  // Without the mutex: rooms above take theirs first.
  for (const auto& [name, will] : wills) put(left, name, will());
  return left;
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
