// The harness: contenders in processes of their own, one at a time, in turn; medians; rows of ratios.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace bench {

using Samples = std::vector<double>;

// --- time, processors, sleeping
// ----------------------------------------------------------------------------------------

/// Nanoseconds of CLOCK_MONOTONIC, the same in all processes.
[[nodiscard]] std::uint64_t now_ns();
/// Runs the calling thread on the n-th processor this program may use (n modulo their number).
void pin(int n);
/// Keeps the calling thread, and the threads and processes it will make, on the first two of those processors.
void pin_to_two();
/// Sleeps until thread `tid` of process `pid` sleeps in the kernel, then as long again as lets its processor go idle.
/// Contenders may be measured as "woken" only if they slept; a fixed pause would sometimes be too short.
void await_asleep(pid_t pid, pid_t tid);
/// The same for many main threads.
void await_all_asleep(const std::vector<pid_t>& pids);
[[nodiscard]] pid_t this_thread();
/// About n steps of work that the compiler may not remove.
inline void work(int n) {
  for (int i = 0; i < n; ++i) asm volatile("" ::: "memory");
}

/// A count in shared memory that processes wait for. Plain futex, so that waiting costs no processor and uses nothing
/// of any contender.
class Gate {
 public:
  void add(std::uint32_t n = 1);
  void await(std::uint32_t at_least) const;
  [[nodiscard]] std::uint32_t count() const { return count_.load(); }

 private:
  alignas(64) std::atomic<std::uint32_t> count_{0};
};

// --- processes
// ---------------------------------------------------------------------------------------------------------

/// Zeroed memory that all processes forked later share. Never unmapped: cells end with their process.
[[nodiscard]] void* shared_bytes(std::size_t size);
template <class T>
[[nodiscard]] T& shared() {
  return *new (shared_bytes(sizeof(T))) T();
}

/// Forks a process that runs `body` and ends normally. It dies with its parent. Call only where no thread but the
/// caller runs.
pid_t fork_party(const std::function<void()>& body);
/// Errors: std::runtime_error if the party did not end with code 0.
void join_party(pid_t pid);
/// Joins all, in the order of their ends. Errors: std::runtime_error if one ended badly, or another child did (a daemon
/// they need); those that are left are killed, since they may wait for it.
void join_parties(std::vector<pid_t> pids);
/// Kills and reaps.
void kill_party(pid_t pid);

/// A measurement of one contender.
using Cell = std::function<Samples()>;
/// Runs the cell in a process (and process group) of its own, so that pinning, memory, threads and faults stay there.
/// Errors: std::runtime_error if it fails or lasts longer than two minutes; all its processes are gone then.
[[nodiscard]] Samples run_cell(const std::string& what, const Cell& cell);

/// Runs the shell command, and reads what it prints: one sample a line.
/// Errors: std::runtime_error if it fails.
[[nodiscard]] Samples read_samples(const std::string& command);

/// Samples of `body`, which does `inner` operations a call: nanoseconds an operation, one sample a batch of about 0.3
/// ms (so that most batches are not interrupted, and the median is one of those).
template <class Body>
Samples time_batches(int batches, Body body) {
  std::uint64_t inner = 256;
  for (;;) {
    const std::uint64_t from = now_ns();
    for (std::uint64_t i = 0; i < inner; ++i) body();
    if (now_ns() - from > 300'000) break;
    inner *= 2;
  }
  Samples samples;
  for (int batch = 0; batch < batches; ++batch) {
    const std::uint64_t from = now_ns();
    for (std::uint64_t i = 0; i < inner; ++i) body();
    samples.push_back(static_cast<double>(now_ns() - from) / static_cast<double>(inner));
  }
  return samples;
}

// --- statistics
// --------------------------------------------------------------------------------------------------------

[[nodiscard]] double quantile(Samples samples, double q);
inline double median(const Samples& samples) { return quantile(samples, 0.5); }

// --- cases, rows
// -------------------------------------------------------------------------------------------------------

struct Settings {
  bool quick = false;
  int rounds = 7;
  std::string only;     ///< measure only cases whose name contains this; empty: all, and the curves
  std::string python;   ///< path of python3, empty if there is none
  std::string self;     ///< path of this program
  std::string scripts;  ///< directory of the .py files
  /// Full counts, or very small ones for --quick.
  [[nodiscard]] int count(int full, int quick_count) const { return quick ? quick_count : full; }
};

struct Contender {
  std::string name;
  Cell cell;
};

/// What is reported of a measurement: one case may say several things about the same samples.
struct Figure {
  std::string name;  ///< of the case: "lock.pair"
  /// Of the samples. Below 0.9: of each round, then the median of the rounds. From 0.9 on: of the samples of all
  /// rounds.
  double quantile = 0.5;
};

struct Case {
  std::string topic;
  std::vector<Figure> figures;
  std::string unit;
  bool lower_is_better = true;
  Cell ours;
  std::vector<Contender> peers;
  /// Peers that are a number, not a program.
  std::vector<std::pair<std::string, double>> constants = {};
};

struct Row {
  std::string topic, name, peer_name, unit;
  bool lower_is_better;
  double ours, ours_least, ours_most;
  double peer, peer_least, peer_most;
  [[nodiscard]] double ratio() const { return ours / peer; }
};

/// Rows and curves, as they are measured.
class Report {
 public:
  explicit Report(const Settings& settings) : settings_(settings) {}
  /// Whether the case is asked for (--only).
  [[nodiscard]] bool wants(const std::string& case_name) const {
    return case_name.find(settings_.only) != std::string::npos;
  }
  /// Measures all contenders in turn inside each round; each round begins with another one. A peer that fails has no row.
  /// Errors: std::runtime_error if ours fails.
  void measure(const Case& c);
  [[nodiscard]] int failures() const { return failures_; }
  /// A figure of ours that has no peer, as part of a curve: cost against a size.
  void curve(const std::string& title, const std::string& point, const std::string& text);
  void note(const std::string& text);

  void print_header() const;
  void print() const;
  /// Errors: std::runtime_error if the file cannot be written.
  void write_json(const std::string& path) const;

 private:
  const Settings& settings_;
  std::vector<Row> rows_;
  std::vector<std::pair<std::string, std::vector<std::pair<std::string, std::string>>>> curves_;
  std::vector<std::string> notes_;
  int failures_ = 0;
};

/// "12.3", "0.00412": three digits that matter.
[[nodiscard]] std::string digits(double value);

}  // namespace bench
