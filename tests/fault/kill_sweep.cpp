// Kills a process at every instruction of every operation, and lets fresh processes judge what is left. See README.md.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <regex>
#include <string>

#include "brood/domain.hpp"
#include "fault/sweep.hpp"

namespace fault {
namespace {

struct Arguments {
  SweepOptions sweep;
  std::string only;
  bool list = false;
};

[[noreturn]] void usage(int status) {
  std::fputs(
      "usage: kill_sweep [--only REGEX] [--every] [--sample K] [--seed S] [--list] [--verbose]\n"
      "  --only REGEX  only the operations whose name matches\n"
      "  --every       every instruction also of operations of 600 to 2000 of them (takes half as long again)\n"
      "  --sample K    every K-th kill point only\n"
      "  --seed S      of the random kill points (default 1)\n"
      "  --list        the names of the operations\n"
      "  --verbose     every wrong point, not only the first of each operation\n",
      status == 0 ? stdout : stderr);
  std::exit(status);
}

Arguments parse(int argc, char** argv) {
  Arguments out;
  const auto value = [&](int& i) { return i + 1 < argc ? argv[++i] : (usage(2), nullptr); };
  const auto number = [&](int& i) {
    char* end = nullptr;
    const char* text = value(i);
    const long long parsed = std::strtoll(text, &end, 10);
    if (*text == '\0' || *end != '\0' || parsed < 0) usage(2);
    return parsed;
  };
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--only") == 0) out.only = value(i);
    else if (std::strcmp(argv[i], "--sample") == 0) out.sweep.sample = std::max<long>(1, static_cast<long>(number(i)));
    else if (std::strcmp(argv[i], "--seed") == 0) out.sweep.seed = static_cast<std::uint64_t>(number(i));
    else if (std::strcmp(argv[i], "--every") == 0) out.sweep.every = true;
    else if (std::strcmp(argv[i], "--list") == 0) out.list = true;
    else if (std::strcmp(argv[i], "--verbose") == 0) out.sweep.verbose = true;
    else usage(std::strcmp(argv[i], "--help") == 0 ? 0 : 2);
  }
  return out;
}

Operations all_operations() {
  Operations all;
  add_controls(all);
  add_lock_operations(all);
  add_semaphore_operations(all);
  add_event_operations(all);
  add_condition_operations(all);
  add_barrier_operations(all);
  add_queue_operations(all);
  add_queue_batch_operations(all);
  add_queue_end_operations(all);
  add_queue_loan_operations(all);
  add_priority_queue_operations(all);
  add_work_queue_operations(all);
  add_broadcast_operations(all);
  add_broadcast_gift_operations(all);
  add_connection_send_operations(all);
  add_connection_recv_operations(all);
  add_connection_end_operations(all);
  add_connection_loan_operations(all);
  add_wait_operations(all);
  add_value_operations(all);
  add_shared_operations(all);
  add_container_operations(all);
  add_lifetime_operations(all);
  add_pool_operations(all);
  add_domain_operations(all);
  return all;
}

void print_bad(const char* kind, const std::vector<Bad>& bad, bool all) {
  for (std::size_t i = 0; i < bad.size() && (all || i < 3); ++i) {
    const Point& p = bad[i].point;
    std::printf("    %s at k=%ld%s%s: %s [%s] %.1f ms\n", kind, p.steps,
                p.calls != 0 ? (" after call " + std::to_string(p.calls)).c_str() : "", p.inside ? " (inside)" : "",
                bad[i].what.c_str(), bad[i].where.c_str(), bad[i].ms);
  }
}

void print(const Result& r, bool verbose) {
  std::printf("%-64s %7ld %6ld %5zu %5zu %8.1f %6.1f%s\n", r.name.c_str(), r.instructions, r.points, r.wrong.size(),
              r.by_fallback.size(), r.slowest_ms, r.seconds,
              r.control ? (r.wrong.empty() ? "  NOT CAUGHT" : "  caught, as it must be") : "");
  if (!r.control || verbose) print_bad("wrong", r.wrong, verbose);
  if (!r.control) print_bad("by fallback", r.by_fallback, verbose);
  std::fflush(stdout);
}

int run(const Arguments& arguments) {
  const std::regex only(arguments.only);
  long operations = 0;
  long points = 0;
  long wrong = 0;
  long fallback = 0;
  long missed_controls = 0;
  double slowest = 0;
  std::printf("%-64s %7s %6s %5s %5s %8s %6s\n", "operation", "instr", "points", "wrong", "fallb", "max ms", "s");
  for (const Operation& operation : all_operations()) {
    if (!std::regex_search(operation.name, only)) continue;
    if (arguments.list) {
      std::puts(operation.name.c_str());
      continue;
    }
    SweepOptions options = arguments.sweep;
    if (operation.control) options.sample = 1;  // its few wrong points have to be hit
    const Result result = sweep(operation, options);
    print(result, arguments.sweep.verbose);
    if (operation.control) {
      missed_controls += result.wrong.empty() ? 1 : 0;
      continue;
    }
    ++operations;
    points += result.points;
    wrong += static_cast<long>(result.wrong.size());
    fallback += static_cast<long>(result.by_fallback.size());
    slowest = std::max(slowest, result.slowest_ms);
  }
  if (arguments.list) return 0;
  if (missed_controls != 0)
    std::printf("%ld negative controls were not found wrong: the sweep itself is broken\n", missed_controls);
  std::printf("kill: %ld operations, %ld points, %ld wrong, %ld by fallback, max %.0f ms\n", operations, points, wrong,
              fallback, slowest);
  return wrong > 0 || missed_controls != 0 ? 1 : 0;
}

}  // namespace
}  // namespace fault

int main(int argc, char** argv) {
  const fault::Arguments arguments = fault::parse(argc, argv);
  const std::string domain = "/dev/shm/brood-kill-" + std::to_string(::getpid());
  ::setenv("BROOD_DOMAIN", domain.c_str(), 1);
  int status = 2;
  try {
    fault::use_processor(0);
    status = fault::run(arguments);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kill_sweep: %s\n", error.what());
  }
  std::error_code ignored;
  std::filesystem::remove_all(domain, ignored);
  return status;
}
