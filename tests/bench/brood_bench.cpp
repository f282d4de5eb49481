// brood_bench: brood side by side with what people use today. See README.md.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <set>
#include <stdexcept>

#include "brood/domain.hpp"
#include "brood/init.hpp"
#include "topics.hpp"

namespace {

constexpr const char* kUsage =
    "usage: brood_bench [sync] [process] [channel] [shared] [pool] [manager] [--json FILE] [--quick]\n"
    "                   [--rounds N] [--only TEXT]\n"
    "\n"
    "  sync, process, channel, shared, pool, manager\n"
    "                  the topics to measure; none: all\n"
    "  --json FILE     write the rows there, as an array of {topic, case, peer_name, ours, peer, unit, ratio, better}\n"
    "  --quick         tiny counts and sizes: shows that everything runs, measures nothing\n"
    "  --rounds N      rounds of each case (default 7; --quick 1)\n"
    "  --only TEXT     only cases whose name contains TEXT, and no curves: lock.pair, recovery, queue.2x2\n";

const std::set<std::string> kTopics = {"sync", "process", "channel", "shared", "pool", "manager"};

struct Command {
  bench::Settings settings;
  std::set<std::string> topics;
  std::string json;
};

/// Errors: std::invalid_argument.
Command parse(int argc, char** argv) {
  Command command;
  int rounds = 0;
  const auto value_of = [&](int& i) -> std::string {
    if (i + 1 >= argc) throw std::invalid_argument(std::string(argv[i]) + " needs a value");
    return argv[++i];
  };
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (kTopics.contains(argument)) {
      command.topics.insert(argument);
    } else if (argument == "--json") {
      command.json = value_of(i);
    } else if (argument == "--only") {
      command.settings.only = value_of(i);
    } else if (argument == "--quick") {
      command.settings.quick = true;
    } else if (argument == "--rounds") {
      const std::string text = value_of(i);
      char* end = nullptr;
      const long wanted = std::strtol(text.c_str(), &end, 10);
      if (text.empty() || *end != '\0' || wanted < 1 || wanted > 1000)
        throw std::invalid_argument("--rounds needs a number from 1 to 1000");
      rounds = static_cast<int>(wanted);
    } else {
      throw std::invalid_argument("unknown argument: " + argument);
    }
  }
  if (command.topics.empty()) command.topics = kTopics;
  command.settings.rounds = rounds != 0 ? rounds : command.settings.quick ? 1 : 7;
  command.settings.self = std::filesystem::read_symlink("/proc/self/exe");
  command.settings.scripts = BENCH_SCRIPTS;
  command.settings.python = bench::find_program("python3");
  return command;
}

/// Two benchmarks at once would measure each other: the second one waits for the first.
void wait_for_others(const std::string& self) {
  const int fd = ::open(self.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 || ::flock(fd, LOCK_EX | LOCK_NB) == 0) return;
  std::fprintf(stderr, "brood_bench: waiting for another brood_bench to end\n");
  (void)::flock(fd, LOCK_EX);  // kept, with the descriptor, until the end of this process
}

/// A domain of our own, so that nothing of others is woken by our killings, or the other way round.
class PrivateDomain {
 public:
  PrivateDomain() : path_("/dev/shm/brood-bench-" + std::to_string(::getpid())), owner_(::getpid()) {
    ::setenv("BROOD_DOMAIN", path_.c_str(), 1);
  }
  ~PrivateDomain() {
    if (::getpid() != owner_) return;  // a cell that ends
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  PrivateDomain(const PrivateDomain&) = delete;
  PrivateDomain& operator=(const PrivateDomain&) = delete;

  /// What the killed left is freed by the next process; here it is the last one. Errors: std::runtime_error if files
  /// remain.
  void close() const {
    (void)bench::run_cell("gc", [] {
      (void)brood::gc();
      return bench::Samples{0};
    });
    if (!std::filesystem::exists(path_)) return;
    std::string left;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) left += " " + entry.path().filename().string();
    if (!left.empty()) throw std::runtime_error("left behind in " + path_ + ":" + left);
  }

 private:
  std::string path_;
  pid_t owner_;
};

int run(const Command& command) {
  const bench::Settings& settings = command.settings;
  wait_for_others(settings.self);
  const PrivateDomain domain;
  bench::Report report(settings);
  report.print_header();
  if (settings.python.empty())
    report.note("there is no python3 in $PATH: the rows of Python's multiprocessing are left out");
  if (command.topics.contains("sync")) {
    bench::lock_cases(report, settings);
    bench::wake_cases(report, settings);
    if (settings.only.empty()) bench::sync_curves(report, settings);
  }
  if (command.topics.contains("process")) {
    bench::process_cases(report, settings);
    if (settings.only.empty()) bench::process_curves(report, settings);
  }
  if (command.topics.contains("channel")) bench::channel_cases(report, settings);
  if (command.topics.contains("shared")) bench::shared_cases(report, settings);
  if (command.topics.contains("pool")) {
    bench::pool_cases(report, settings);
    if (settings.only.empty()) bench::pool_curves(report, settings);
  }
  if (command.topics.contains("manager")) bench::manager_cases(report, settings);
  report.print();
  if (!command.json.empty()) report.write_json(command.json);
  domain.close();
  return report.failures() == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  // What the peers start. Before init(), so that nobody's start contains what only ours needs.
  if (argc == 2 && std::strcmp(argv[1], bench::kExitAtOnce) == 0) return 0;
  brood::init(argc, argv);
  try {
    return run(parse(argc, argv));
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "brood_bench: %s\n%s", error.what(), kUsage);
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "brood_bench: %s\n", error.what());
    return 1;
  }
}
