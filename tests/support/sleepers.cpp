#include "support/sleepers.hpp"

#include <fstream>
#include <iterator>
#include <string>

#include "registry/registry.hpp"

namespace support {
namespace {

namespace registry = brood::registry;

/// State of a thread as in /proc/PID/task/TID/stat.
char state_of(std::uint32_t pid, std::uint32_t tid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/task/" + std::to_string(tid) + "/stat");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const auto end = text.rfind(')');
  return end == std::string::npos || end + 2 >= text.size() ? '?' : text[end + 2];
}

}  // namespace

std::size_t sleepers_on(const brood::Handle& object) {
  (void)registry::self();
  auto& all = registry::registry();
  std::size_t count = 0;
  for (std::uint32_t i = 1; i < all.heads.slots_used.load(); ++i) {
    auto& slot = all.slots[i];
    const auto owner = registry::StateWord::unpack(slot.state.load());
    if (owner.state != registry::SlotState::alive) continue;
    for (auto& record : slot.threads) {
      if (record.operation.load() == 0 || record.object.load() != object.id()) continue;
      if (state_of(owner.pid, record.tid.load()) == 'S') ++count;
    }
  }
  return count;
}

void await_sleepers(const brood::Handle& object, std::size_t count) {
  await([&] { return sleepers_on(object) == count; });
}

}  // namespace support
