#include "fault/sweep.hpp"

#include <algorithm>
#include <exception>
#include <random>

#include "brood/domain.hpp"
#include "fault/domain_view.hpp"
#include "fault/points.hpp"
#include "fault/symbols.hpp"

namespace fault {
namespace {

/// A verdict that took longer than this came from the fallback timer, which looks round once a second.
constexpr double kFallbackMs = 500;

/// So many victims that were over before their point was reached tell the end of the operation.
constexpr int kEndedInARow = 10;

/// Somebody else in the domain, who has nothing to do with the operation. Every other point is killed without: then the
/// sleepers, or the judge when it joins, must find the death.
class Bystander {
 public:
  Bystander() : actor_([](Self&) {}) { must(actor_.await_done(), "the bystander did not join"); }

 private:
  Actor actor_;
};

/// Nothing but the registry may be left of a scene, and gc() may be needed for it.
void check_nothing_left(Findings& findings) {
  if (DomainView::objects().empty()) return;
  // Again for as long as patience lasts: whoever reads /proc/PID of a dead process at this moment (ps does) keeps its
  // memory, and with it the attachment, a little longer than its parent can see it.
  const double give_up = now_ms() + static_cast<double>(kPatience.count());
  std::vector<std::string> left;
  do {
    findings.fresh("gc()", [](Self&) { (void)brood::gc(); });
    left = DomainView::objects();
  } while (!left.empty() && now_ms() < give_up);
  if (!left.empty()) findings.check(false, "left in the domain after gc(): " + left.front());
}

class Sweep {
 public:
  Sweep(const Operation& operation, const SweepOptions& options)
      : operation_(operation), options_(options), random_(options.seed) {
    result_.name = operation.name;
    result_.control = operation.control;
  }

  Result run() {
    const double start = now_ms();
    const Plan plan = survey();
    result_.instructions = plan.instructions;
    int ended_in_a_row = 0;
    long index = static_cast<long>(random_() % static_cast<std::uint64_t>(options_.sample));
    for (; index < static_cast<long>(plan.points.size()); index += options_.sample) {
      // One victim may be over early, since others were faster; several in a row say that the operation is.
      const bool ended = kill_at(plan.points[static_cast<std::size_t>(index)]).ended;
      ended_in_a_row = ended ? ended_in_a_row + 1 : 0;
      if (ended_in_a_row == kEndedInARow && !plan.selected) break;
    }
    finale();
    result_.seconds = (now_ms() - start) / 1e3;
    return std::move(result_);
  }

 private:
  /// One run through the whole operation, to learn how long it is and where the world changes.
  Plan survey() {
    const auto scene = operation_.make();
    const Bystander bystander;
    scene->set();
    Victim victim([&] { scene->ready(); }, [&] { scene->operate(); });
    scene->placed();
    return make_plan(
        victim, [&](int nth) { return scene->on_sleep(nth); }, density(), random_);
  }

  [[nodiscard]] Density density() const {
    Density out{.stride = operation_.stride, .random_points = operation_.random_points};
    if (options_.every) out.every = out.third;
    return out;
  }

  Arrival kill_at(const Point& point) {
    Arrival at;
    std::string failure;
    double slowest = 0;
    try {
      Findings findings(0);
      {
        auto scene = operation_.make();
        std::unique_ptr<Bystander> bystander;
        if (point.steps % 2 == 0) bystander = std::make_unique<Bystander>();
        scene->set();
        Victim victim([&] { scene->ready(); }, [&] { scene->operate(); });
        scene->placed();
        must(view_.await_quiet(), "before the operation: a death is not buried");
        at = victim.run_to(point, [&](int nth) { return scene->on_sleep(nth); });
        victim.kill();
        findings = Findings(now_ms());
        scene->judge(findings, at);
      }
      check_nothing_left(findings);
      failure = findings.wrong();
      slowest = findings.slowest_ms();
    } catch (const std::exception& error) {
      failure = error.what();
    }
    note(point, at, failure, slowest);
    return at;
  }

  void note(const Point& point, const Arrival& at, const std::string& failure, double slowest) {
    ++result_.points;
    result_.slowest_ms = std::max(result_.slowest_ms, slowest);
    if (failure.empty() && slowest < kFallbackMs) return;
    Bad bad{point, at.ended ? std::string(at.asleep ? "(asleep)" : "(over)") : describe_address(at.at), failure,
            slowest};
    if (at.asleep && !at.ended) bad.where += " (asleep)";
    (failure.empty() ? result_.by_fallback : result_.wrong).push_back(std::move(bad));
  }

  void finale() {
    Findings findings(now_ms());
    try {
      operation_.make()->finale(findings);
    } catch (const std::exception& error) {
      findings.check(false, error.what());
    }
    if (findings.is_wrong()) result_.wrong.push_back({Point{}, "(after all points)", findings.wrong(), 0});
  }

  const Operation& operation_;
  SweepOptions options_;
  std::mt19937_64 random_;
  DomainView view_;
  Result result_;
};

}  // namespace

Result sweep(const Operation& operation, const SweepOptions& options) { return Sweep(operation, options).run(); }

}  // namespace fault
