// What many processes at once cost.
#include <sys/resource.h>

#include <stdexcept>

#include "brood/event.hpp"
#include "brood/process.hpp"
#include "topics.hpp"

namespace bench {
namespace {

using brood::StartMethod;

void await_end(brood::Event& end) { end.wait(); }

/// Milliseconds a process: start all, all alive at once; then let them go and join all.
Samples many_cell(StartMethod method, int processes) {
  // Two descriptors a process.
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  brood::Event end;
  std::vector<brood::Process> all;
  all.reserve(static_cast<std::size_t>(processes));
  const std::uint64_t from = now_ns();
  for (int i = 0; i < processes; ++i)
    all.emplace_back(brood::ProcessOptions{.start_method = method}, await_end, end).start();
  const std::uint64_t started = now_ns();
  end.set();
  for (brood::Process& process : all) process.join();
  const std::uint64_t joined = now_ns();
  for (const brood::Process& process : all) {
    if (process.exitcode() != 0) throw std::runtime_error("brood: one of many children failed");
  }
  return {static_cast<double>(started - from) / 1e6, static_cast<double>(joined - started) / 1e6};
}

}  // namespace

void process_curves(Report& report, const Settings& settings) {
  for (const StartMethod method : {StartMethod::fork, StartMethod::spawn, StartMethod::forkserver}) {
    const std::string name(to_string(method));
    for (const int processes : {10, 100, 1000}) {
      if (settings.quick && processes > 10) continue;
      const Samples times = run_cell("many processes by " + name, [=] { return many_cell(method, processes); });
      report.curve("processes alive at once, each sleeping on one Event: ms for all of them (ms a process)",
                   name + ", " + std::to_string(processes),
                   "start " + digits(times[0]) + " (" + digits(times[0] / processes) + "), set and join " +
                       digits(times[1]) + " (" + digits(times[1] / processes) + ")");
    }
  }
}

}  // namespace bench
