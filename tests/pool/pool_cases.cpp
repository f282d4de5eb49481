// A program with Pools that it leaves to others to end, told by its arguments what to do.
//   pool_cases METHOD CASE [STATE]
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "brood/init.hpp"
#include "brood/pool.hpp"
#include "support/keep.hpp"

namespace {

using namespace std::chrono_literals;

int square(int x) { return x * x; }
[[noreturn]] void say_pid_and_sleep() {
  std::printf("%d\n", ::getpid());
  std::fflush(stdout);
  for (;;) ::pause();
}
int busy(int /*x*/) { say_pid_and_sleep(); }
int busy_quietly(int /*x*/) {
  for (;;) ::pause();
}
int own_pid(int /*x*/) { return ::getpid(); }
std::string large(int n) { return std::string(static_cast<std::size_t>(n), 'x'); }

/// One at namespace scope, which is destroyed behind main().
std::optional<brood::Pool> g_pool;

void say_pids(brood::Pool& pool) {
  for (const auto& worker : pool.insight().workers) std::printf("%lld\n", static_cast<long long>(worker.pid));
  std::fflush(stdout);
}

int killed(const brood::PoolOptions& given, const std::string& state) {
  brood::PoolOptions options = given;
  if (state == "initializing") options.initializer = {[] { say_pid_and_sleep(); }};
  brood::Pool pool(2, options);
  if (state == "initializing") {
    std::this_thread::sleep_for(50ms);  // at whatever they are
    say_pids(pool);
  } else if (state == "busy") {
    auto all = pool.map_async(busy, std::vector{1, 2}, {.chunk_size = 1});
    (void)all.wait_for(50ms);
    say_pids(pool);
  } else if (state == "streaming") {
    (void)pool.apply(own_pid, 1);
    say_pids(pool);
    auto all = pool.map_async(large, std::vector(1000, 1'000'000), {.chunk_size = 1});
    (void)all.wait_for(5ms);
  } else {
    (void)pool.apply(own_pid, 1);
    say_pids(pool);
  }
  ::raise(SIGKILL);
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  brood::init(argc, argv);
  if (argc < 3) return 2;
  const std::string method = argv[1];
  const std::string what = argv[2];
  brood::PoolOptions options;
  options.process.start_method = method == "fork"    ? brood::StartMethod::fork
                                 : method == "spawn" ? brood::StartMethod::spawn
                                                     : brood::StartMethod::forkserver;
  if (what == "killed" && argc > 3) return killed(options, argv[3]);
  if (what == "static") {
    g_pool.emplace(2, options);
    std::cout << g_pool->apply(square, 7) << std::endl;
    return 0;
  }
  if (what == "leaked") {
    auto* const leaked = support::keep(new brood::Pool(2, options));
    std::cout << leaked->apply(square, 7) << std::endl;
    return 0;
  }
  if (what == "exit") {
    brood::Pool pool(2, options);
    std::cout << pool.apply(square, 7) << std::endl;
    std::exit(3);
  }
  if (what == "in action") {
    auto pool = std::make_unique<brood::Pool>(2, options);
    std::cout << pool->apply(square, 7) << std::endl;
    std::promise<void> over;
    pool->submit(square, 3).on_done([&](const brood::Future<int>&) {
      pool.reset();
      over.set_value();
    });
    over.get_future().wait();
    return 0;
  }
  if (what == "exit in action") {
    brood::Pool pool(2, options);
    std::cout << pool.apply(square, 7) << std::endl;
    auto never = pool.submit(busy_quietly, 1);
    never.on_done([](const brood::Future<int>&) { std::exit(3); });
    pool.terminate();
  }
  return 2;
}
