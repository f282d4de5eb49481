#include "fault/points.hpp"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <set>

#include "brood/domain.hpp"

namespace fault {
namespace {

constexpr long kLongest = 3'000'000;

/// A copy of the shared memory that the tester has mapped, to see when it changes.
class Snapshot {
 public:
  Snapshot() {
    std::FILE* maps = std::fopen("/proc/self/maps", "re");
    if (maps == nullptr) return;
    char line[512];
    while (std::fgets(line, sizeof line, maps) != nullptr) {
      std::uintptr_t from = 0;
      std::uintptr_t to = 0;
      char mode[8];
      if (std::sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %7s", &from, &to, mode) != 3) continue;
      if (std::strcmp(mode, "rw-s") != 0 || std::strstr(line, brood::domain_directory().c_str()) == nullptr) continue;
      const auto* begin = reinterpret_cast<const unsigned char*>(from);
      const std::size_t size = std::min<std::size_t>(to - from, kMostBytes);
      areas_.push_back({begin, std::vector<unsigned char>(begin, begin + size)});
    }
    std::fclose(maps);
  }

  /// True if anything changed since the last look.
  bool changed() {
    bool any = false;
    for (auto& area : areas_) {
      if (std::memcmp(area.now, area.before.data(), area.before.size()) == 0) continue;
      std::memcpy(area.before.data(), area.now, area.before.size());
      any = true;
    }
    return any;
  }

 private:
  static constexpr std::size_t kMostBytes = 256 << 10;
  struct Area {
    const unsigned char* now;
    std::vector<unsigned char> before;
  };
  std::vector<Area> areas_;
};

/// The same place, counted from the last system call before it.
Point from_last_call(long step, bool inside, const std::vector<long>& calls) {
  const auto after = std::upper_bound(calls.begin(), calls.end(), step);
  const auto index = after - calls.begin();
  return {index == 0 ? step : step - calls[static_cast<std::size_t>(index - 1)], inside, index};
}

std::vector<long> thinned(const std::vector<long>& all, std::size_t most) {
  if (all.size() <= most) return all;
  std::vector<long> some;
  for (std::size_t i = 0; i < most; ++i) some.push_back(all[i * (all.size() - 1) / (most - 1)]);
  return some;
}

/// The places that matter, around each system call and each change of shared bytes; every `stride`-th instruction from
/// a random one on (1: none of those), and so many random ones.
std::vector<Point> select(const Victim::Trace& trace, const std::vector<long>& changes, long stride,
                          std::size_t random_points, std::mt19937_64& random) {
  std::set<long> steps;
  for (const long call : trace.calls) {
    steps.insert(call - 1);
    steps.insert(call);
  }
  // Where most of a long operation is one copy, every byte of it is a change.
  const std::size_t most = stride > 1 ? static_cast<std::size_t>(std::max(2L, trace.steps / stride)) : kMostChanges;
  for (const long change : thinned(changes, most)) {
    steps.insert(change - 1);
    steps.insert(change);
  }
  if (stride > 1) {
    std::uniform_int_distribution<long> first(0, stride - 1);
    for (long step = first(random); step <= trace.steps; step += stride) steps.insert(step);
  }
  std::uniform_int_distribution<long> any(0, trace.steps);
  const std::size_t wanted = steps.size() + random_points;
  while (steps.size() < wanted && steps.size() <= static_cast<std::size_t>(trace.steps)) steps.insert(any(random));
  std::vector<Point> points;
  for (const long step : steps) points.push_back(from_last_call(step, false, trace.calls));
  return points;
}

}  // namespace

Plan make_plan(Victim& victim, const OnSleep& on_sleep, const Density& density, std::mt19937_64& random) {
  Snapshot snapshot;
  std::vector<long> changes;
  const Victim::Trace trace = victim.trace(kLongest, on_sleep, [&](long step) {
    if (snapshot.changed()) changes.push_back(step);
  });
  Plan plan;
  plan.instructions = trace.steps;
  plan.selected = density.stride > 1 || trace.steps > density.every;
  if (plan.selected) {
    const long stride = density.stride == 1 && trace.steps <= density.third ? 3 : density.stride;
    plan.points = select(trace, changes, stride, stride > 1 ? 0 : density.random_points, random);
  } else {
    // A little more than was counted: another run may take another turn. The sweep stops when the operation is over.
    for (long step = 0; step <= trace.steps + density.every; ++step) plan.points.push_back({step, false, 0});
  }
  for (const long sleep : trace.sleeps) {
    const Point inside = plan.selected ? from_last_call(sleep, true, trace.calls) : Point{sleep, true, 0};
    plan.points.insert(plan.points.begin(), inside);
  }
  return plan;
}

}  // namespace fault
