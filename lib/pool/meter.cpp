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

std::string spoken_time(std::chrono::nanoseconds time) {
  std::array<char, 32> text{};
  const double s = std::chrono::duration<double>(time).count();
  if (s >= 1) std::snprintf(text.data(), text.size(), "%.2f s", s);
  else if (s >= 1e-3) std::snprintf(text.data(), text.size(), "%.2f ms", s * 1e3);
  else std::snprintf(text.data(), text.size(), "%.1f us", s * 1e6);
  return text.data();
}

/// "1 died", "2 workers"
std::string spoken_count(std::uint64_t count, const char* of, const char* plural = "") {
  return std::to_string(count) + " " + of + (count == 1 ? "" : plural);
}

int percent_busy(std::chrono::nanoseconds busy, std::chrono::nanoseconds waiting) {
  const double all = std::chrono::duration<double>(busy + waiting).count();
  return all > 0 ? static_cast<int>(std::lround(100 * std::chrono::duration<double>(busy).count() / all)) : 0;
}

/// What the workers did, since the pool began: narrower than any terminal.
std::string table_of(const PoolInsight& now) {
  constexpr std::size_t kMostWorkers = 8;
  std::string out = "  worker       pid     tasks            busy     waiting         p50         p99\n";
  std::chrono::nanoseconds busy{0};
  std::chrono::nanoseconds waiting{0};
  std::size_t shown = 0;
  for (const WorkerInsight& one : now.workers) {
    busy += one.busy;
    waiting += one.waiting;
    if (++shown > kMostWorkers) continue;
    std::array<char, 128> line{};
    std::snprintf(line.data(), line.size(), "%8u %9lld %9llu %10s %3d%% %11s %11s %11s\n", one.number,
                  static_cast<long long>(one.pid), static_cast<unsigned long long>(one.tasks),
                  spoken_time(one.busy).c_str(), percent_busy(one.busy, one.waiting), spoken_time(one.waiting).c_str(),
                  spoken_time(one.p50).c_str(), spoken_time(one.p99).c_str());
    out += line.data();
  }
  if (shown > kMostWorkers) out += "     and " + std::to_string(shown - kMostWorkers) + " more\n";
  out += "  " + spoken_count(shown, "worker", "s") + ", " + std::to_string(percent_busy(busy, waiting)) + "% busy; " +
         spoken_count(now.finished, "task", "s");
  if (now.failed != 0) out += ", " + spoken_count(now.failed, "failed");
  if (now.retried != 0) out += ", " + spoken_count(now.retried, "retried");
  if (now.lost != 0) out += ", " + spoken_count(now.lost, "lost");
  if (now.deaths != 0) out += "; " + spoken_count(now.deaths, "worker", "s") + " died";
  if (now.recycled != 0) out += "; " + spoken_count(now.recycled, "worker", "s") + " recycled";
  return out + "\n";
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
  if (Deadline::clock_ns() >= next_ns_.load(std::memory_order_relaxed)) show(false, nullptr);
}

void Meter::end(const Figures& figures) { show(true, figures); }

void Meter::show(bool is_last, const Figures& figures) {
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
  if (!progress_.callback()) {
    std::string text = line_of(report);
    if (is_last && figures) text += table_of(figures());
    std::fwrite(text.data(), 1, text.size(), stderr);
    return;
  }
  try {
    progress_.callback()(report);
  } catch (...) {
    const std::string text = detail::describe_exception(std::current_exception(), " <- ");
    std::fprintf(stderr, "brood: a progress callback failed: %s\n", text.c_str());
  }
}

std::string Meter::line_of(const ProgressReport& report) const {
  std::string head = report.title.empty() ? "" : report.title + ": ";
  std::string tail = " " + std::to_string(report.done) + "/" + std::to_string(report.total);
  if (report.failed != 0) tail += ", " + std::to_string(report.failed) + " failed";
  tail += ", " + spoken_rate(report.rate);
  if (report.is_last) tail += ", took " + spoken(report.elapsed.count());
  else if (report.left) tail += ", " + spoken(report.left->count()) + " left";
  const double share = total_ == 0 ? 1 : static_cast<double>(report.done) / static_cast<double>(total_);
  std::array<char, 16> percent{};
  std::snprintf(percent.data(), percent.size(), "%3d%%", static_cast<int>(share * 100));
  if (!is_terminal_) return head + percent.data() + tail + "\n";
  constexpr std::size_t kLeast = 10;
  const std::size_t used = head.size() + tail.size() + 4 + 3;
  const std::size_t wide = std::max(columns() > used + kLeast ? columns() - used - 1 : 0, kLeast);
  const auto full = static_cast<std::size_t>(share * static_cast<double>(wide));
  const std::string bar = std::string(full, '#') + std::string(wide - full, '.');
  return "\r" + head + percent.data() + " [" + bar + "]" + tail + "\033[K" + (report.is_last ? "\n" : "");
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
  const auto& seconds = pool::spoken_time;
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
