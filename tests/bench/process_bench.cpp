// Starting processes against the peers.
#include <dlfcn.h>

#include <stdexcept>

#include "brood/process.hpp"
#include "topics.hpp"

namespace bench {
namespace {

using brood::StartMethod;

void nothing() {}

/// Milliseconds of each call, in a process that has so much memory. The first call is not counted: it starts the
/// forkserver, resolves symbols, reads files.
Samples start_cell(int megabytes, int times, const std::function<void()>& once) {
  once();
  touch_ballast(static_cast<std::size_t>(megabytes));
  Samples samples;
  for (int i = 0; i < times; ++i) {
    const std::uint64_t from = now_ns();
    once();
    samples.push_back(static_cast<double>(now_ns() - from) / 1e6);
  }
  return samples;
}

/// Light children load a library, which brood_bench is not. It brings a libbrood of its own, as an application's would; nothing
/// is shared with the one in here.
std::function<void()> light_start_and_join() {
  void* library = ::dlopen(BENCH_LIGHT_LIBRARY, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw std::runtime_error(::dlerror());
  return reinterpret_cast<void (*)()>(::dlsym(library, "bench_light_start_and_join"));
}

void start_and_join(StartMethod method) {
  brood::Process process({.start_method = method}, nothing);
  process.start();
  process.join();
  if (process.exitcode() != 0) throw std::runtime_error("brood: the child failed");
}

}  // namespace

void process_cases(Report& report, const Settings& settings) {
  struct Size {
    std::string suffix;
    int megabytes;
    int times;
    int dear_times;  ///< of what takes tens of milliseconds
  };
  const Size sizes[] = {
      {"10m", settings.count(10, 1), settings.count(60, 3), settings.count(60, 3)},
      {"1g", settings.count(1024, 16), settings.count(60, 3), settings.count(10, 2)},
  };
  const auto cell = [](int megabytes, int times, const std::function<void()>& once) {
    return [=] { return start_cell(megabytes, times, once); };
  };
  const auto ours = [&](StartMethod method, int megabytes, int times) {
    return cell(megabytes, times, [=] { start_and_join(method); });
  };
  const auto python = [&](const std::string& method, const Size& size, int times) {
    return python_peer(settings, "python-" + method,
                       "start " + method + " " + std::to_string(size.megabytes) + " " + std::to_string(times));
  };
  const std::string self = settings.self;
  const auto programs = [&](const Size& size) {
    return std::vector<Contender>{
        {"boost-process", cell(size.megabytes, size.dear_times, [=] { boost_process_and_wait(self); })},
        {"boost-process-v2", cell(size.megabytes, size.dear_times, [=] { boost_process_v2_and_wait(self); })},
        {"posix-spawn", cell(size.megabytes, size.times, [=] { posix_spawn_and_wait(self); })},
        {"fork-waitpid", cell(size.megabytes, size.dear_times, fork_and_wait)},
    };
  };
  for (const Size& size : sizes) {
    std::vector<Contender> peers = programs(size);
    for (const Contender& c : python("spawn", size, settings.count(6, 1))) peers.push_back(c);
    report.measure({.topic = "process",
                    .figures = {{"start.spawn." + size.suffix}},
                    .unit = "ms",
                    .ours = ours(StartMethod::spawn, size.megabytes, size.times),
                    .peers = peers});
  }
  for (const Size& size : sizes) {
    // In the process that measures: it must not be loaded where the other methods fork and spawn.
    const auto light = [size] { return start_cell(size.megabytes, size.times, light_start_and_join()); };
    report.measure({.topic = "process",
                    .figures = {{"start.light." + size.suffix}},
                    .unit = "ms",
                    .ours = light,
                    .peers = programs(size)});
  }
  for (const Size& size : sizes) {
    std::vector<Contender> peers = {{"fork-waitpid", cell(sizes[0].megabytes, sizes[0].times, fork_and_wait)}};
    for (const Contender& c : python("forkserver", size, settings.count(10, 1))) peers.push_back(c);
    // The forkserver's own name has no size: it is the row with the bar, measured in the small parent.
    const std::string name = &size == &sizes[0] ? "start.forkserver" : "start.forkserver." + size.suffix;
    report.measure({.topic = "process",
                    .figures = {{name}},
                    .unit = "ms",
                    .ours = ours(StartMethod::forkserver, size.megabytes, size.times),
                    .peers = peers});
  }
  for (const Size& size : sizes) {
    std::vector<Contender> peers = {{"fork-waitpid", cell(size.megabytes, size.dear_times, fork_and_wait)}};
    for (const Contender& c : python("fork", size, settings.count(10, 1))) peers.push_back(c);
    const std::string name = &size == &sizes[0] ? "start.fork" : "start.fork." + size.suffix;
    report.measure({.topic = "process",
                    .figures = {{name}},
                    .unit = "ms",
                    .ours = ours(StartMethod::fork, size.megabytes, size.dear_times),
                    .peers = peers});
  }
}

}  // namespace bench
