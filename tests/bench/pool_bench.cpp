// Pools of workers: tasks without work, one call, coarse tasks, a million tiny ones; and how it grows with the workers.
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "brood/pool.hpp"
#include "pool_tasks.hpp"
#include "thread_pool.hpp"
#include "topics.hpp"

namespace bench {
namespace {

constexpr int kWorkers = 2;

double ms_since(std::uint64_t from) { return static_cast<double>(now_ns() - from) / 1e6; }

/// Tasks a second of so many that do next to nothing.
template <class Pool, class Map>
Samples rate(Pool& pool, Map map, int count, int samples) {
  const std::vector<int> items = numbers(count);
  check_plus_one(map(pool, numbers(64)), 64);  // all workers are there
  Samples out;
  for (int i = 0; i < samples; ++i) {
    const std::uint64_t from = now_ns();
    const std::vector<int> results = map(pool, items);
    out.push_back(count / ms_since(from) * 1e3);
    check_plus_one(results, count);
  }
  return out;
}
Samples our_rate(int count, int samples, int chunk) {
  pin_to_two();
  brood::Pool pool(kWorkers);
  return rate(
      pool, [=](auto& p, const auto& items) { return p.map(plus_one, items, {.chunk_size = chunk}); }, count, samples);
}
Samples threads_rate(int count, int samples, int chunk) {
  pin_to_two();
  ThreadPool pool(kWorkers);
  return rate(
      pool, [=](auto& p, const auto& items) { return p.map(plus_one, items, static_cast<std::size_t>(chunk)); }, count,
      samples);
}

/// Microseconds of one task there and back, each timed, behind a tenth as many that are not.
template <class Trip>
Samples trips(Trip trip, int count) {
  Samples out;
  for (int i = -count / 10; i < count; ++i) {
    const std::uint64_t from = now_ns();
    const int result = trip(i);
    if (i >= 0) out.push_back(static_cast<double>(now_ns() - from) / 1e3);
    if (result != i + 1) throw std::runtime_error("another result came back");
  }
  return out;
}
Samples our_trips(int count) {
  pin_to_two();
  brood::Pool pool(kWorkers);
  return trips([&](int i) { return pool.apply(plus_one, i); }, count);
}
Samples threads_trips(int count) {
  pin_to_two();
  ThreadPool pool(kWorkers);
  return trips([&](int i) { return pool.map(plus_one, std::vector{i}).front(); }, count);
}

/// Milliseconds of wall time of `tasks` that compute for so long each.
template <class Map>
Samples coarse(Map map, int tasks, int microseconds, int samples) {
  (void)map(std::vector(2 * kWorkers, 1));
  const std::vector<int> items(static_cast<std::size_t>(tasks), microseconds);
  Samples out;
  for (int i = 0; i < samples; ++i) {
    const std::uint64_t from = now_ns();
    const std::vector<int> results = map(items);
    out.push_back(ms_since(from));
    if (results != items) throw std::runtime_error("a result is wrong");
  }
  return out;
}
Samples our_coarse(int tasks, int microseconds, int samples) {
  pin_to_two();
  brood::Pool pool(kWorkers);
  return coarse([&](const auto& items) { return pool.map(compute, items, {.chunk_size = 1}); }, tasks, microseconds,
                samples);
}
Samples threads_coarse(int tasks, int microseconds, int samples) {
  pin_to_two();
  ThreadPool pool(kWorkers);
  return coarse([&](const auto& items) { return pool.map(compute, items, 1); }, tasks, microseconds, samples);
}

/// Contenders that are programs of their own.
std::vector<Contender> peers(const Settings& settings, const std::string& arguments, const std::string& openmp) {
  std::vector<Contender> out = python_peer(settings, "python-Pool", "pool Pool " + arguments);
  for (Contender& one : python_peer(settings, "python-ProcessPoolExecutor", "pool ProcessPoolExecutor " + arguments))
    out.push_back(std::move(one));
  if (!openmp.empty() && std::string_view(BENCH_PEERS).find(" openmp ") != std::string_view::npos) {
    const std::string path = std::filesystem::path(settings.self).replace_filename("peer_openmp");
    out.push_back({"openmp", [=] { return read_samples("exec '" + path + "' " + openmp); }});
  }
  return out;
}
std::vector<Contender> with_threads(Cell threads, std::vector<Contender> others) {
  others.insert(others.begin(), {"thread-pool", std::move(threads)});
  return others;
}

std::string words(std::initializer_list<int> numbers) {
  std::string out;
  for (const int number : numbers) out += (out.empty() ? "" : " ") + std::to_string(number);
  return out;
}

/// What so many workers do: trivial tasks a second; 1 ms of work and 1 ms of sleep, in tasks a second.
Samples scaling_cell(int workers, int trivial, int tasks) {
  brood::Pool pool(workers);
  (void)pool.map(doze, std::vector(static_cast<std::size_t>(4 * workers), 1000), {.chunk_size = 1});
  const std::vector<int> small = numbers(trivial);
  const std::vector<int> items(static_cast<std::size_t>(tasks), 1000);
  const auto a_second = [](int count, auto body) {
    const std::uint64_t from = now_ns();
    body();
    return count / ms_since(from) * 1e3;
  };
  return {a_second(trivial, [&] { (void)pool.map(plus_one, small, {.chunk_size = 1}); }),
          a_second(trivial, [&] { (void)pool.map(plus_one, small); }),
          a_second(tasks, [&] { (void)pool.map(compute, items, {.chunk_size = 1}); }),
          a_second(tasks, [&] { (void)pool.map(doze, items, {.chunk_size = 1}); })};
}

}  // namespace

void pool_cases(Report& report, const Settings& settings) {
  const int samples = settings.count(5, 1);
  {
    const int count = settings.count(20'000, 200);
    report.measure({.topic = "pool",
                    .figures = {{"pool.chunk1"}},
                    .unit = "tasks/s",
                    .lower_is_better = false,
                    .ours = [=] { return our_rate(count, samples, 1); },
                    .peers = with_threads(
                        [=] { return threads_rate(count, samples, 1); },
                        peers(settings, "rate " + words({count, samples, 1}), "rate " + words({count, samples, 1})))});
  }
  {
    const int count = settings.count(1'000'000, 2000);
    report.measure(
        {.topic = "pool",
         .figures = {{"pool.million"}},
         .unit = "tasks/s",
         .lower_is_better = false,
         .ours = [=] { return our_rate(count, samples, 0); },
         .peers = with_threads([=] { return threads_rate(count, samples, 0); },
                               peers(settings, "rate " + words({count, 1, 0}), "rate " + words({count, samples, 0})))});
  }
  {
    const int count = settings.count(5000, 50);
    report.measure(
        {.topic = "pool",
         .figures = {{"pool.apply"}, {"pool.apply.p99", 0.99}},
         .unit = "µs",
         .ours = [=] { return our_trips(count); },
         .peers = with_threads([=] { return threads_trips(count); }, peers(settings, "apply " + words({count}), {}))});
  }
  {
    const int tasks = settings.count(200, 8);
    const int microseconds = settings.count(10'000, 500);
    report.measure({.topic = "pool",
                    .figures = {{"pool.coarse"}},
                    .unit = "ms",
                    .ours = [=] { return our_coarse(tasks, microseconds, 1); },
                    .peers = with_threads([=] { return threads_coarse(tasks, microseconds, 1); },
                                          peers(settings, "coarse " + words({tasks, microseconds, 1}),
                                                "coarse " + words({tasks, microseconds, 1})))});
  }
}

void pool_curves(Report& report, const Settings& settings) {
  const int trivial = settings.count(100'000, 200);
  const int tasks = settings.count(1000, 20);
  for (const int workers : {1, 2, 4, 8}) {
    const Samples found =
        run_cell("a pool of " + std::to_string(workers), [=] { return scaling_cell(workers, trivial, tasks); });
    report.curve("pool: tasks a second against workers, on all processors", std::to_string(workers) + " workers",
                 "empty, chunk 1: " + digits(found[0]) + ", automatic chunks: " + digits(found[1]) +
                     "; 1 ms of work: " + digits(found[2]) + "; 1 ms of sleep: " + digits(found[3]));
  }
}

}  // namespace bench
