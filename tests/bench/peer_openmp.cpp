// OpenMP, measured as brood_bench measures the others: prints one sample a line. For scale: no queue, no result that travels.
//
// usage: peer_openmp rate COUNT SAMPLES CHUNK          tasks a second of plus_one(); CHUNK 0: as the others choose
//        peer_openmp coarse TASKS MICROSECONDS SAMPLES  milliseconds of wall time
#include <omp.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "harness.hpp"
#include "pool_tasks.hpp"

namespace {

constexpr int kThreads = 2;

void rate(int count, int samples, int chunk) {
  const std::vector<int> items = bench::numbers(count);
  if (chunk == 0) chunk = (count + 4 * kThreads - 1) / (4 * kThreads);
  for (int sample = -1; sample < samples; ++sample) {  // the first one starts the threads
    std::vector<int> results(items.size());
    const std::uint64_t from = bench::now_ns();
#pragma omp parallel for schedule(dynamic, chunk) num_threads(kThreads)
    for (int i = 0; i < count; ++i) {
      results[static_cast<std::size_t>(i)] = bench::plus_one(items[static_cast<std::size_t>(i)]);
      asm volatile("" ::: "memory");  // a task is a task: not four at once
    }
    const auto ns = static_cast<double>(bench::now_ns() - from);
    bench::check_plus_one(results, count);
    if (sample >= 0) std::printf("%.17g\n", count / ns * 1e9);
  }
}

void coarse(int tasks, int microseconds, int samples) {
  for (int sample = -1; sample < samples; ++sample) {
    const int all = sample < 0 ? kThreads : tasks;
    const std::uint64_t from = bench::now_ns();
#pragma omp parallel for schedule(dynamic, 1) num_threads(kThreads)
    for (int i = 0; i < all; ++i) (void)bench::compute(microseconds);
    if (sample >= 0) std::printf("%.17g\n", static_cast<double>(bench::now_ns() - from) / 1e6);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  bench::pin_to_two();
  const std::string what = argv[1];
  if (what == "rate") rate(std::atoi(argv[2]), std::atoi(argv[3]), std::atoi(argv[4]));
  else coarse(std::atoi(argv[2]), std::atoi(argv[3]), std::atoi(argv[4]));
  return 0;
}
