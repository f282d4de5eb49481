#include "pool/meter.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <exception>
#include <iomanip>
#include <ostream>
#include <sstream>
#include <string>
#include <utility>

#include "brood/deadline.hpp"
#include "brood/remote_error.hpp"

namespace brood::inline v1 {
namespace pool {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
/// Between two reports.
constexpr std::int64_t kBarNs = kSecond / 10;
constexpr std::int64_t kLineNs = 5 * kSecond;

std::string spoken(std::int64_t ns) {
  const std::int64_t seconds = (ns + kSecond / 2) / kSecond;
  std::array<char, 32> text{};
  if (seconds >= 3600) {
    std::snprintf(text.data(), text.size(), "%lld:%02lld:%02lld", static_cast<long long>(seconds / 3600),
                  static_cast<long long>(seconds / 60 % 60), static_cast<long long>(seconds % 60));
  } else {
    std::snprintf(text.data(), text.size(), "%lld:%02lld", static_cast<long long>(seconds / 60),
                  static_cast<long long>(seconds % 60));
  }
  return text.data();
}

std::string spoken_rate(double rate) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), rate >= 100 ? "%.0f/s" : "%.2g/s", rate);
  return text.data();
}

std::size_t columns() {
  winsize size{};
  constexpr std::size_t kUsual = 80;
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col != 0 ? size.ws_col : kUsual;
}

}  // namespace

Meter::Meter(Progress progress, std::size_t total)
    : progress_(std::move(progress)),
      total_(total),
      began_ns_(Deadline::clock_ns()),
      is_terminal_(!progress_.callback() && ::isatty(STDERR_FILENO) == 1),
      next_ns_(began_ns_ + (is_terminal_ || progress_.callback() ? kBarNs : kLineNs)),
      shown_ns_(began_ns_) {}
Meter::~Meter() = default;

void Meter::note(bool is_failure) {
  if (is_failure) failed_.fetch_add(1, std::memory_order_relaxed);
  // Last: who sees all done sees all failures.
  const std::size_t done = done_.fetch_add(1) + 1;
  constexpr std::size_t kSeldom = 64;  // a look at the clock costs more than the rest
  if (done % kSeldom != 0 && total_ >= kSeldom * kSeldom) return;
  if (Deadline::clock_ns() >= next_ns_.load(std::memory_order_relaxed)) show(false);
}

void Meter::end() { show(true); }

void Meter::show(bool is_last) {
  const std::lock_guard lock(mutex_);
  const std::int64_t now = Deadline::clock_ns();
  if (is_over_ || (!is_last && now < next_ns_.load(std::memory_order_relaxed))) return;
  is_over_ = is_last;
  next_ns_.store(now + (is_terminal_ || progress_.callback() ? kBarNs : kLineNs), std::memory_order_relaxed);
  ProgressReport report;
  report.title = progress_.title();
  report.done = done_.load();
  report.failed = failed_.load(std::memory_order_relaxed);
  report.total = total_;
  report.elapsed = std::chrono::nanoseconds(now - began_ns_);
  report.is_last = is_last;
  // Lately: half of it is of the last five seconds or so. At the end: over all.
  const double seconds = static_cast<double>(std::max<std::int64_t>(now - shown_ns_, 1)) / kSecond;
  const double newest = static_cast<double>(report.done - shown_done_) / seconds;
  const double weight = rate_ == 0 ? 1 : 1 - std::exp2(-seconds / 5);
  rate_ += (newest - rate_) * weight;
  if (is_last)
    rate_ =
        static_cast<double>(report.done) * kSecond / static_cast<double>(std::max<std::int64_t>(now - began_ns_, 1));
  shown_ns_ = now;
  shown_done_ = report.done;
  report.rate = rate_;
  if (rate_ > 0)
    report.left = std::chrono::nanoseconds(
        static_cast<std::int64_t>(static_cast<double>(total_ - report.done) / rate_ * kSecond));
  if (!progress_.callback()) return draw(report);
  try {
    progress_.callback()(report);
  } catch (...) {
    const std::string text = detail::describe_exception(std::current_exception(), " <- ");
    std::fprintf(stderr, "brood: a progress callback failed: %s\n", text.c_str());
  }
}

void Meter::draw(const ProgressReport& report) const {
  std::string head = report.title.empty() ? "" : report.title + ": ";
  std::string tail = " " + std::to_string(report.done) + "/" + std::to_string(report.total);
  if (report.failed != 0) tail += ", " + std::to_string(report.failed) + " failed";
  tail += ", " + spoken_rate(report.rate);
  if (report.is_last) tail += ", took " + spoken(report.elapsed.count());
  else if (report.left) tail += ", " + spoken(report.left->count()) + " left";
  const double share = total_ == 0 ? 1 : static_cast<double>(report.done) / static_cast<double>(total_);
  std::array<char, 16> percent{};
  std::snprintf(percent.data(), percent.size(), "%3d%%", static_cast<int>(share * 100));
  if (!is_terminal_) {
    std::fprintf(stderr, "%s%s%s\n", head.c_str(), percent.data(), tail.c_str());
    return;
  }
  constexpr std::size_t kLeast = 10;
  const std::size_t used = head.size() + tail.size() + 4 + 3;
  const std::size_t wide = std::max(columns() > used + kLeast ? columns() - used - 1 : 0, kLeast);
  const auto full = static_cast<std::size_t>(share * static_cast<double>(wide));
  const std::string bar = std::string(full, '#') + std::string(wide - full, '.');
  std::fprintf(stderr, "\r%s%s [%s]%s\033[K%s", head.c_str(), percent.data(), bar.c_str(), tail.c_str(),
               report.is_last ? "\n" : "");
}

}  // namespace pool

std::string_view to_string(WorkerInsight::State state) noexcept {
  switch (state) {
    case WorkerInsight::State::starting: return "starting";
    case WorkerInsight::State::idle: return "idle";
    case WorkerInsight::State::busy: return "busy";
    case WorkerInsight::State::leaving: return "leaving";
  }
  return "unknown";
}

std::ostream& operator<<(std::ostream& out, const PoolInsight& insight) {
  const auto seconds = [](std::chrono::nanoseconds time) {
    std::ostringstream text;
    const double s = std::chrono::duration<double>(time).count();
    if (s >= 1) text << std::fixed << std::setprecision(2) << s << " s";
    else if (s >= 1e-3) text << std::fixed << std::setprecision(2) << s * 1e3 << " ms";
    else text << std::fixed << std::setprecision(1) << s * 1e6 << " us";
    return text.str();
  };
  std::ostringstream all;
  all << "worker      pid  state       tasks  failed        busy     waiting         p50         p99\n";
  for (const WorkerInsight& one : insight.workers) {
    all << std::setw(6) << one.number << std::setw(9) << one.pid << "  " << std::left << std::setw(8)
        << to_string(one.state) << std::right << std::setw(9) << one.tasks << std::setw(8) << one.failed
        << std::setw(12) << seconds(one.busy) << std::setw(12) << seconds(one.waiting) << std::setw(12)
        << seconds(one.p50) << std::setw(12) << seconds(one.p99) << '\n';
  }
  all << insight.finished << " done in " << seconds(insight.elapsed) << ", " << insight.failed << " failed, "
      << insight.queued << " queued, " << insight.retried << " retried, " << insight.lost
      << " lost; workers: " << insight.deaths << " died, " << insight.timeouts << " killed by limits, "
      << insight.recycled << " recycled\n";
  return out << all.str();
}

}  // namespace brood::inline v1
