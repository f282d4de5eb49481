// soak: kills, stops and restarts running processes for as long as it is told, and looks for what must not be.
// See README.md.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <random>
#include <string>

#include "stress/chaos.hpp"
#include "stress/figures.hpp"
#include "stress/victims.hpp"

namespace stress {
namespace {

enum class Mode { soak, kill, brief };

struct Arguments {
  Mode mode = Mode::soak;
  double seconds = 0;
  std::uint64_t seed = 0;
  bool has_seed = false;
};

constexpr double kKillSeconds = 60;
constexpr double kBriefSeconds = 12;
constexpr double kRoundSeconds = 12;

[[noreturn]] void usage(int status) {
  std::fputs(
      "usage: soak SECONDS [--seed N]          kills, stops and restarts over all objects at once\n"
      "       soak kill [SECONDS] [--seed N]   each way to die behind each door, then queue, condition and barrier (60 "
      "s)\n"
      "       soak brief [--seed N]            a little of both\n"
      "       --seconds N is SECONDS; without --seed the seed is random, and printed\n",
      status == 0 ? stdout : stderr);
  std::exit(status);
}

Arguments parse(int argc, char** argv) {
  Arguments out;
  const auto number = [](const char* text) {
    char* end = nullptr;
    const double parsed = std::strtod(text, &end);
    if (*text == '\0' || *end != '\0' || !(parsed > 0)) usage(2);
    return parsed;
  };
  const auto value = [&](int& i) { return i + 1 < argc ? argv[++i] : (usage(2), nullptr); };
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--help") usage(0);
    if (argument == "--seconds") {
      out.seconds = number(value(i));
    } else if (argument == "--seed") {
      char* end = nullptr;
      out.seed = std::strtoull(value(i), &end, 10);
      if (*end != '\0') usage(2);
      out.has_seed = true;
    } else if (i == 1 && argument == "kill") {
      out.mode = Mode::kill;
    } else if (i == 1 && argument == "brief") {
      out.mode = Mode::brief;
    } else {
      out.seconds = number(argument.c_str());
    }
  }
  if (out.seconds == 0) {
    if (out.mode == Mode::soak) usage(2);
    out.seconds = out.mode == Mode::kill ? kKillSeconds : kBriefSeconds;
  }
  if (!out.has_seed) out.seed = std::random_device{}();
  return out;
}

/// One line now and then; on a terminal one line that changes.
class Progress {
 public:
  explicit Progress(double seconds) noexcept : began_ns_(now_ns()), seconds_(seconds) {}
  [[nodiscard]] double elapsed() const noexcept { return static_cast<double>(now_ns() - began_ns_) / 1e9; }
  [[nodiscard]] double left() const noexcept { return seconds_ - elapsed(); }
  void show(const Tally& tally) {
    constexpr double kPlainEvery = 10;
    const bool terminal = ::isatty(STDOUT_FILENO) != 0;
    if (!terminal && elapsed() < next_) return;
    next_ = elapsed() + kPlainEvery;
    std::printf("%ssoak: %.0f of %.0f s, %llu kills, %llu stops, %llu restarts, %llu operations, %llu violations%s",
                terminal ? "\r" : "", elapsed(), seconds_, n(tally.kills), n(tally.stops), n(tally.restarts),
                n(tally.operations), n(board().violations.load()), terminal ? " " : "\n");
    std::fflush(stdout);
    shown_ = terminal;
  }
  void done() {
    if (shown_) std::puts("");
    shown_ = false;
  }

 private:
  static unsigned long long n(std::uint64_t value) noexcept { return value; }
  std::int64_t began_ns_;
  double seconds_;
  double next_ = 0;
  bool shown_ = false;
};

void print_queue(const Verdict& v) {
  std::printf(
      "  queue: %llu put, %llu taken, %llu missing with killed consumers (%llu named by them; %llu killed in get)\n",
      static_cast<unsigned long long>(v.put), static_cast<unsigned long long>(v.taken),
      static_cast<unsigned long long>(v.missing), static_cast<unsigned long long>(v.traced),
      static_cast<unsigned long long>(v.killed_in_get));
  std::fflush(stdout);
}

void print_jobs(const JobVerdict& v) {
  std::printf("  jobs: %llu put, %llu done, %llu given to several workers (one of them to %llu)\n",
              static_cast<unsigned long long>(v.put), static_cast<unsigned long long>(v.done),
              static_cast<unsigned long long>(v.redelivered), static_cast<unsigned long long>(v.most_deliveries));
  std::fflush(stdout);
}

JobVerdict& operator+=(JobVerdict& sum, const JobVerdict& v) {
  sum.put += v.put;
  sum.done += v.done;
  sum.redelivered += v.redelivered;
  sum.most_deliveries = std::max(sum.most_deliveries, v.most_deliveries);
  return sum;
}

Verdict& operator+=(Verdict& sum, const Verdict& v) {
  sum.put += v.put;
  sum.taken += v.taken;
  sum.missing += v.missing;
  sum.traced += v.traced;
  sum.killed_in_get += v.killed_in_get;
  return sum;
}

constexpr std::uint32_t kChaosSeries = 1000;

Tally soak(double seconds, std::uint64_t seed, const Ledger& ledger) {
  board().series.store(kChaosSeries);
  Progress progress(seconds);
  Tally sum;
  Verdict queue;
  JobVerdict jobs;
  for (std::uint64_t round = 0; progress.left() > 0; ++round) {
    const ChaosPlan plan{.roles = all_roles(),
                         .seconds = std::min(progress.left(), kRoundSeconds),
                         .seed = seed + round,
                         .progress = [&](Tally now) { progress.show(now += sum); }};
    const RoundResult result = run_round(plan, ledger);
    sum += result.tally;
    queue += result.queue;
    jobs += result.jobs;
  }
  progress.done();
  print_queue(queue);
  print_jobs(jobs);
  return sum;
}

Tally kill_running(double seconds, std::uint64_t seed, const Ledger& ledger) {
  // Of the whole, for the doors; the rest goes to the four objects that are no doors.
  constexpr double kDoorShare = 0.6;
  Tally sum = kill_victims(seconds * kDoorShare, seed);
  const double rest = seconds * (1 - kDoorShare) / 4;
  const auto part = [&](const char* name, std::vector<Role> roles, std::uint32_t series) {
    board().series.store(kChaosSeries + series);
    const ChaosPlan plan{
        .roles = std::move(roles), .seconds = rest, .seed = seed, .stops = false, .retires = false, .progress = {}};
    const std::uint64_t before = board().violations.load();
    const RoundResult result = run_round(plan, ledger);
    std::printf("  %-42s %5llu kills %3llu wrong", name, static_cast<unsigned long long>(result.tally.kills),
                static_cast<unsigned long long>(board().violations.load() - before));
    const Percentiles times = percentiles(static_cast<int>(kChaosSeries + series), true);
    std::printf("  %s\n", times.count > 0 ? to_string(times).c_str() : "");
    if (result.queue.put > 0) print_queue(result.queue);
    if (result.jobs.put > 0) print_jobs(result.jobs);
    std::fflush(stdout);
    sum += result.tally;
  };
  std::vector<Role> queue(4, Role::producer);
  queue.insert(queue.end(), 4, Role::consumer);
  part("Queue, 4 producers and 4 consumers", std::move(queue), 1);
  part("WorkQueue, 2 bosses and 4 workers",
       {Role::boss, Role::boss, Role::worker, Role::worker, Role::worker, Role::worker}, 4);
  part("Condition, 2 put and 2 take", {Role::putter, Role::putter, Role::taker, Role::taker}, 2);
  part("Barrier, 3 parties", std::vector<Role>(kParties, Role::party), 3);
  return sum;
}

/// The process above the workers. It never joins the domain, so it buries nobody.
int supervise(const Arguments& arguments) {
  make_source_file();
  const Ledger ledger;
  Tally& total = board().total;
  switch (arguments.mode) {
    case Mode::soak: total = soak(arguments.seconds, arguments.seed, ledger); break;
    case Mode::kill: total = kill_running(arguments.seconds, arguments.seed, ledger); break;
    case Mode::brief:
      total = kill_running(arguments.seconds / 2, arguments.seed, ledger);
      total += soak(arguments.seconds / 2, arguments.seed, ledger);
  }
  return 0;
}

/// Waits for the supervisor, and for whatever it left behind. An interrupt ends all of them.
int await_supervisor(pid_t supervisor, const sigset_t& signals) {
  int status = 0;
  for (;;) {
    if (::waitpid(supervisor, &status, WNOHANG) == supervisor) break;
    const int signal = ::sigwaitinfo(&signals, nullptr);
    if (signal == SIGCHLD || signal < 0) continue;
    ::kill(supervisor, SIGKILL);
    ::waitpid(supervisor, &status, 0);
    break;
  }
  // Orphans come to us, and die with their parent; in good order there are none.
  int orphans = 0;
  while (::waitpid(-1, nullptr, 0) > 0) ++orphans;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && orphans > 0)
    violation(std::to_string(orphans) + " processes are left behind");
  return status;
}

/// Everything that this run had in shared memory is gone with its last process.
void check_left_behind(const std::string& domain) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  for (const auto& file : fs::directory_iterator(domain, ignored))
    violation("left behind in the domain: " + file.path().filename().string());
}

int run(const Arguments& arguments) {
  const std::string domain = "/dev/shm/brood-soak-" + std::to_string(::getpid());
  ::setenv("BROOD_DOMAIN", domain.c_str(), 1);
  const char* without = std::getenv("BROOD_WITHOUT");
  std::printf("soak: seed %llu%s%s\n", static_cast<unsigned long long>(arguments.seed),
              without != nullptr ? ", without " : "", without != nullptr ? without : "");
  std::fflush(stdout);
  make_board();
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  sigset_t signals;
  sigset_t before;
  ::sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGCHLD}) ::sigaddset(&signals, signal);
  ::sigprocmask(SIG_BLOCK, &signals, &before);
  const pid_t above = ::getpid();
  const std::int64_t began = now_ns();
  const pid_t supervisor = ::fork();
  if (supervisor == 0) {
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != above) ::_exit(1);
    try {
      std::exit(supervise(arguments));
    } catch (const std::exception& error) {
      std::fprintf(stderr, "soak: %s\n", error.what());
      std::exit(2);
    }
  }
  const int status = supervisor < 0 ? -1 : await_supervisor(supervisor, signals);
  const bool came_to_its_end = status == 0;
  if (came_to_its_end) check_left_behind(domain);
  std::error_code ignored;
  std::filesystem::remove_all(domain, ignored);
  if (!came_to_its_end) {
    std::fprintf(stderr, "soak: the supervisor ended with status %d\n", status);
    return 2;
  }
  const Tally& total = board().total;
  std::printf(
      "soak: %.0f seconds, %llu kills, %llu stops, %llu restarts, %llu operations, %llu violations, recovery %s\n",
      static_cast<double>(now_ns() - began) / 1e9, static_cast<unsigned long long>(total.kills),
      static_cast<unsigned long long>(total.stops), static_cast<unsigned long long>(total.restarts),
      static_cast<unsigned long long>(total.operations), static_cast<unsigned long long>(board().violations.load()),
      to_string(percentiles(kAllSeries, false)).c_str());
  return board().violations.load() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace stress

int main(int argc, char** argv) { return stress::run(stress::parse(argc, argv)); }
