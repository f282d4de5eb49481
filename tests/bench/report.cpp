// Running the cases round by round, and the printed and written forms of what came out.
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <set>
#include <stdexcept>

#include "harness.hpp"

namespace bench {
namespace {

/// What a ratio must reach (bar) and what we would like to say in public (goal).
struct Mark {
  const char* name;
  const char* peer_name;
  double bar, goal;
};
constexpr Mark kMarks[] = {
    {"lock.pair", "pthread-robust", 0.75, 0.6},
    {"lock.pair", "boost-interprocess_mutex", 1.1, 0.8},
    {"lock.handover", "pthread-pshared", 1.2, 1.0},
    {"lock.contended2", "pthread-robust", 1.2, 2.0},
    {"lock.recovery", "limit-5ms", 1.0, 0.2},
    {"event.broadcast64", "pthread-cond", 0.5, 0.4},
    {"start.spawn.10m", "boost-process", 0.8, 0.6},
    {"start.spawn.1g", "boost-process", 0.1, 0.03},
    {"start.forkserver", "fork-waitpid", 0.6, 0.3},
    {"start.spawn.10m", "python-spawn", 0.03, 0.01},
    {"queue.rtt.8", "kernel-pipe-spin", 0.4, 0.2},
    {"queue.rtt.8", "cache-line", 2.0, 1.2},
    {"queue.oneway.8", "boost-message_queue", 3, 10},
    {"queue.oneway.8", "kernel-pipe", 6, 20},
    {"queue.oneway.8", "python-Queue", 50, 150},
    {"queue.oneway.1k", "boost-message_queue", 3.5, 6},
    {"queue.oneway.64k", "unix-seqpacket", 1.4, 2},
    {"queue.oneway.1m", "unix-seqpacket", 0.75, 1.2},
    {"queue.2x2.8", "boost-message_queue", 1.7, 3},
    {"queue.2x2.8", "zmq-pushpull", 1.7, 3},
    {"queue.2x2.8", "kernel-pipe", 1.7, 3},
    {"queue.2x2.1k", "boost-message_queue", 1.7, 3},
    {"queue.2x2.1k", "zmq-pushpull", 1.7, 3},
    {"queue.2x2.1k", "kernel-pipe", 1.7, 3},
    {"queue.2x2.64k", "unix-seqpacket", 1.0, 1.4},
    {"queue.typed", "queue-raw-bytes", 1.2, 1.05},
    {"pipe.rtt.8", "cache-line", 1.6, 1.1},
    {"pipe.rtt.8.sleep", "kernel-pipe", 1.4, 1.0},
    {"pipe.rtt.8.onecore", "kernel-pipe", 3, 1.5},
    {"pipe.oneway.8", "kernel-pipe", 20, 40},
    {"pipe.oneway.64k", "unix-seqpacket", 1.4, 2},
    {"pipe.rtt.1m.zerocopy", "pipe-rtt-8", 2, 1.2},
    {"pipe.rtt.1m.zerocopy", "iceoryx-zerocopy", 0.3, 0.12},
    {"pipe.oneway.8", "python-Pipe", 80, 300},
    {"pool.chunk1", "python-Pool", 10, 25},
    {"pool.apply", "python-Pool", 0.1, 0.03},
    {"pool.coarse", "thread-pool", 1.05, 1.01},
    {"manager.get", "python-Manager", 1.5, 4},
    {"manager.get", "redis-unix-socket", 0.8, 2},
    {"manager.set", "python-Manager", 1.5, 4},
    {"manager.set", "redis-unix-socket", 0.8, 2},
    {"manager.get.clients8", "python-Manager", 1.5, 4},
    {"manager.get.clients8", "redis-unix-socket", 0.8, 2},
    {"manager.set.clients8", "python-Manager", 1.5, 4},
    {"manager.set.clients8", "redis-unix-socket", 0.8, 2},
    {"remote.call", "unix-socket-echo", 1.3, 0.3},
};

const Mark* mark_of(const Row& row) {
  for (const Mark& mark : kMarks) {
    if (row.name == mark.name && row.peer_name == mark.peer_name) return &mark;
  }
  return nullptr;
}

struct Summary {
  double value, least, most;
};

/// `rounds`: the samples of each round.
Summary summarise(const std::vector<Samples>& rounds, double q) {
  Samples of_rounds, all;
  for (const Samples& samples : rounds) {
    of_rounds.push_back(quantile(samples, q));
    all.insert(all.end(), samples.begin(), samples.end());
  }
  const double value = q < 0.9 ? median(of_rounds) : quantile(all, q);
  return {value, *std::min_element(of_rounds.begin(), of_rounds.end()),
          *std::max_element(of_rounds.begin(), of_rounds.end())};
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

std::string number(double value) {
  char text[64];
  std::snprintf(text, sizeof text, "%.17g", value);
  return text;
}

std::string first_line(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.rfind(key, 0) != 0) continue;
    const auto at = line.find(": ");
    return key.empty() || at == std::string::npos ? line : line.substr(at + 2);
  }
  return "unknown";
}

std::string range(double value, double least, double most) {
  return digits(value) + " (" + digits(least) + "–" + digits(most) + ")";
}

/// Pads by characters, not bytes: "–" and "µ" are several bytes.
std::string padded(const std::string& text, std::size_t width) {
  const auto characters = static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
  return characters < width ? text + std::string(width - characters, ' ') : text;
}

}  // namespace

void Report::measure(const Case& c) {
  if (!wants(c.figures.front().name)) return;
  std::vector<Contender> contenders = {{"brood", c.ours}};
  contenders.insert(contenders.end(), c.peers.begin(), c.peers.end());
  std::vector<std::vector<Samples>> samples(contenders.size());
  std::set<std::size_t> failed;
  for (int round = 0; round < settings_.rounds; ++round) {
    for (std::size_t i = 0; i < contenders.size(); ++i) {
      const std::size_t turn = (i + static_cast<std::size_t>(round)) % contenders.size();
      const std::string what = c.figures.front().name + ", " + contenders[turn].name;
      if (::isatty(STDERR_FILENO) != 0) {
        std::fprintf(stderr, "\r\033[Kround %d of %d: %s ", round + 1, settings_.rounds, what.c_str());
      }
      if (failed.contains(turn)) continue;
      // Some peers stumble now and then on a loaded machine (nng 1.5 with large messages): they have a second attempt.
      for (bool is_second = turn == 0;; is_second = true) {
        try {
          samples[turn].push_back(run_cell(what, contenders[turn].cell));
          break;
        } catch (const std::runtime_error& error) {
          if (turn == 0) throw;  // ours
          if (!is_second) {
            note(std::string("failed once: ") + error.what());
            continue;
          }
          failed.insert(turn);  // what it was before counts no more; the others go on
          note(std::string("FAILED, so there is no row: ") + error.what());
          break;
        }
      }
    }
  }
  failures_ += static_cast<int>(failed.size());
  if (::isatty(STDERR_FILENO) != 0) std::fprintf(stderr, "\r\033[K");
  for (const Figure& figure : c.figures) {
    const Summary ours = summarise(samples[0], figure.quantile);
    const auto add = [&](const std::string& peer_name, const Summary& peer) {
      rows_.push_back({c.topic, figure.name, peer_name, c.unit, c.lower_is_better, ours.value, ours.least, ours.most,
                       peer.value, peer.least, peer.most});
    };
    for (std::size_t i = 1; i < contenders.size(); ++i) {
      if (!failed.contains(i)) add(contenders[i].name, summarise(samples[i], figure.quantile));
    }
    for (const auto& [name, value] : c.constants) add(name, {value, value, value});
  }
}

void Report::curve(const std::string& title, const std::string& point, const std::string& text) {
  if (curves_.empty() || curves_.back().first != title) curves_.emplace_back(title, 0);
  curves_.back().second.emplace_back(point, text);
}

void Report::note(const std::string& text) { notes_.push_back(text); }

void Report::print_header() const {
  utsname system;
  ::uname(&system);
  double load[3] = {};
  ::getloadavg(load, 3);
  std::printf("machine   %s, %ld processors\n", first_line("/proc/cpuinfo", "model name").c_str(),
              ::sysconf(_SC_NPROCESSORS_ONLN));
  std::printf("kernel    %s %s\n", system.sysname, system.release);
  std::printf("compiler  %s\n", BENCH_COMPILER);
  std::printf("rounds    N = %d, all contenders in turn inside each; cells are: median (least–most) of the rounds\n",
              settings_.rounds);
  std::printf("load      %.1f on average in the last minute before\n", load[0]);
  if (settings_.quick) std::printf("          --quick: tiny counts and sizes; THESE FIGURES MEAN NOTHING\n");
  std::printf("\n");
  std::fflush(stdout);
}

void Report::print() const {
  if (!rows_.empty()) {
    std::printf("%-26s %-28s %-8s %s %s %-8s %-7s %-7s\n", "case", "peer", "unit", padded("brood", 26).c_str(),
                padded("peer", 26).c_str(), "ratio", "bar", "goal");
  }
  int missed = 0;
  for (const Row& row : rows_) {
    std::printf("%-26s %-28s %s %s %s %-8s", row.name.c_str(), row.peer_name.c_str(), padded(row.unit, 8).c_str(),
                padded(range(row.ours, row.ours_least, row.ours_most), 26).c_str(),
                padded(range(row.peer, row.peer_least, row.peer_most), 26).c_str(), digits(row.ratio()).c_str());
    if (const Mark* mark = mark_of(row)) {
      const auto reached = [&](double limit) {
        return row.lower_is_better ? row.ratio() <= limit : row.ratio() >= limit;
      };
      const auto print_mark = [&](double limit) {
        std::printf(" %s",
                    padded((row.lower_is_better ? "≤ " : "≥ ") + digits(limit) + (reached(limit) ? " ok" : " MISS"), 12)
                        .c_str());
      };
      print_mark(mark->bar);
      print_mark(mark->goal);
      if (!reached(mark->bar)) ++missed;
    } else {
      std::printf(" %s", row.lower_is_better ? "(lower is better)" : "(higher is better)");
    }
    std::printf("\n");
  }
  for (const auto& [title, points] : curves_) {
    std::printf("\n%s\n", title.c_str());
    for (const auto& [point, text] : points) std::printf("  %s  %s\n", padded(point, 28).c_str(), text.c_str());
  }
  if (!notes_.empty()) std::printf("\n");
  for (const std::string& note : notes_) std::printf("note: %s\n", note.c_str());
  if (!rows_.empty()) std::printf("\nbench: %zu rows, %d below their bar", rows_.size(), missed);
  if (failures_ != 0) std::printf(", %d peers FAILED (see the notes)", failures_);
  std::printf("\n");
  std::fflush(stdout);
}

void Report::write_json(const std::string& path) const {
  std::ofstream file(path);
  file << "[";
  const char* separator = "\n";
  for (const Row& row : rows_) {
    file << separator << "  {\"topic\": " << quoted(row.topic) << ", \"case\": " << quoted(row.name)
         << ", \"peer_name\": " << quoted(row.peer_name) << ", \"ours\": " << number(row.ours)
         << ", \"peer\": " << number(row.peer) << ", \"unit\": " << quoted(row.unit)
         << ", \"ratio\": " << number(row.ratio())
         << ", \"better\": " << (row.lower_is_better ? "\"lower\"" : "\"higher\"") << "}";
    separator = ",\n";
  }
  file << "\n]\n";
  file.close();
  if (!file) throw std::runtime_error("cannot write " + path);
}

}  // namespace bench
