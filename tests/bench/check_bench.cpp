// Runs `brood_bench --quick` and checks that all rows are there and well formed, and that nothing is left: no process,
// no file in /dev/shm. Says nothing about speed.
//
// usage: check_bench PATH_OF_BROOD_BENCH [PEER…]     the peers in programs of their own that were built: openmp zmq …
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>

#include "json.hpp"

namespace {

struct Wanted {
  const char* topic;
  const char* name;
  std::vector<const char*> peers;
  bool lower_is_better = true;
};

/// Python's rows are there only where python3 is, so they are not demanded.
const Wanted kWanted[] = {
    {"sync",
     "lock.pair",
     {"pthread-robust", "boost-interprocess_mutex", "pthread-pshared", "sem_t", "boost-named_mutex", "std-mutex"}},
    {"sync",
     "lock.handover",
     {"pthread-pshared", "pthread-robust", "sem_t", "boost-interprocess_mutex", "boost-named_mutex", "std-mutex"}},
    {"sync",
     "lock.contended2",
     {"pthread-robust", "pthread-pshared", "sem_t", "boost-interprocess_mutex", "boost-named_mutex", "std-mutex"},
     false},
    {"sync",
     "lock.contended2.body",
     {"pthread-robust", "pthread-pshared", "sem_t", "boost-interprocess_mutex", "boost-named_mutex", "std-mutex"},
     false},
    {"sync", "lock.recovery", {"limit-5ms", "pthread-robust"}},
    {"sync", "lock.recovery.p50", {"limit-5ms", "pthread-robust"}},
    {"sync", "lock.recovery.waiters5", {"limit-5ms", "pthread-robust"}},
    {"sync", "lock.recovery.waiters5.p50", {"limit-5ms", "pthread-robust"}},
    {"sync", "lock.recovery.1g", {"limit-5ms", "pthread-robust"}},
    {"sync", "lock.recovery.1g.p50", {"limit-5ms", "pthread-robust"}},
    {"sync", "lock.recovery.heal", {"limit-5ms"}},
    {"sync", "lock.recovery.heal.p50", {"limit-5ms"}},
    {"sync", "semaphore.pair", {"sem_t"}},
    {"sync", "bounded_semaphore.pair", {"sem_t"}},
    {"sync", "event.broadcast1", {"pthread-cond", "boost-interprocess_condition"}},
    {"sync", "event.broadcast8", {"pthread-cond", "boost-interprocess_condition"}},
    {"sync", "event.broadcast64", {"pthread-cond", "boost-interprocess_condition"}},
    {"sync", "condition.ping", {"pthread-cond", "boost-interprocess_condition"}},
    {"sync", "barrier.cycle2", {"pthread-barrier"}},
    {"sync", "barrier.cycle8", {"pthread-barrier"}},
    {"process", "start.spawn.10m", {"boost-process", "boost-process-v2", "posix-spawn", "fork-waitpid"}},
    {"process", "start.spawn.1g", {"boost-process", "boost-process-v2", "posix-spawn", "fork-waitpid"}},
    {"process", "start.light.10m", {"boost-process", "boost-process-v2", "posix-spawn", "fork-waitpid"}},
    {"process", "start.light.1g", {"boost-process", "boost-process-v2", "posix-spawn", "fork-waitpid"}},
    {"process", "start.forkserver", {"fork-waitpid"}},
    {"process", "start.forkserver.1g", {"fork-waitpid"}},
    {"process", "start.fork", {"fork-waitpid"}},
    {"process", "start.fork.1g", {"fork-waitpid"}},
    {"channel",
     "queue.rtt.8",
     {"kernel-pipe", "kernel-pipe-spin", "unix-seqpacket", "posix-mq", "boost-message_queue", "cache-line"}},
    {"channel",
     "queue.rtt.8.p99",
     {"kernel-pipe", "kernel-pipe-spin", "unix-seqpacket", "posix-mq", "boost-message_queue", "cache-line"}},
    {"channel",
     "queue.rtt.8.sleep",
     {"kernel-pipe", "unix-seqpacket", "posix-mq", "boost-message_queue", "futex-wake"}},
    {"channel",
     "queue.rtt.8.sleep.p99",
     {"kernel-pipe", "unix-seqpacket", "posix-mq", "boost-message_queue", "futex-wake"}},
    {"channel",
     "queue.oneway.8",
     {"kernel-pipe", "kernel-pipe-spin", "unix-seqpacket", "posix-mq", "boost-message_queue"},
     false},
    {"channel",
     "queue.oneway.64",
     {"kernel-pipe", "kernel-pipe-spin", "unix-seqpacket", "posix-mq", "boost-message_queue"},
     false},
    {"channel",
     "queue.oneway.1k",
     {"kernel-pipe", "kernel-pipe-spin", "unix-seqpacket", "posix-mq", "boost-message_queue"},
     false},
    {"channel",
     "queue.oneway.64k",
     {"kernel-pipe", "kernel-pipe-spin", "unix-seqpacket", "boost-message_queue"},
     false},
    // A socket's buffer of more than a mebibyte is a matter of limits and privileges.
    {"channel", "queue.oneway.1m", {"kernel-pipe", "kernel-pipe-spin", "boost-message_queue"}, false},
    {"channel", "queue.oneway.1k.bytes", {"unix-seqpacket", "boost-message_queue"}, false},
    {"channel", "queue.oneway.64k.bytes", {"unix-seqpacket", "boost-message_queue"}, false},
    {"channel", "queue.oneway.1m.bytes", {"boost-message_queue"}, false},
    {"channel", "queue.2x2.8", {"kernel-pipe", "unix-seqpacket", "posix-mq", "boost-message_queue"}, false},
    {"channel", "queue.2x2.64", {"kernel-pipe", "unix-seqpacket", "posix-mq", "boost-message_queue"}, false},
    {"channel", "queue.2x2.1k", {"kernel-pipe", "unix-seqpacket", "posix-mq", "boost-message_queue"}, false},
    {"channel", "queue.2x2.64k", {"unix-seqpacket", "boost-message_queue"}, false},
    {"channel", "queue.2x2.1m", {"boost-message_queue"}, false},
    {"channel", "queue.4x4.8", {"kernel-pipe", "unix-seqpacket", "posix-mq", "boost-message_queue"}, false},
    {"channel", "pipe.rtt.8", {"kernel-pipe", "kernel-pipe-spin", "unix-seqpacket", "cache-line"}},
    {"channel", "pipe.rtt.8.p99", {"kernel-pipe", "kernel-pipe-spin", "unix-seqpacket", "cache-line"}},
    {"channel", "pipe.rtt.8.sleep", {"kernel-pipe", "unix-seqpacket", "futex-wake"}},
    {"channel", "pipe.rtt.8.sleep.p99", {"kernel-pipe", "unix-seqpacket", "futex-wake"}},
    {"channel", "pipe.rtt.8.onecore", {"kernel-pipe", "unix-seqpacket"}},
    {"channel", "pipe.rtt.8.onecore.p99", {"kernel-pipe", "unix-seqpacket"}},
    {"channel", "pipe.oneway.8", {"kernel-pipe", "kernel-pipe-spin", "unix-seqpacket"}, false},
    {"channel", "pipe.oneway.64", {"kernel-pipe", "kernel-pipe-spin", "unix-seqpacket"}, false},
    {"channel", "pipe.oneway.1k", {"kernel-pipe", "kernel-pipe-spin", "unix-seqpacket"}, false},
    {"channel", "pipe.oneway.64k", {"kernel-pipe", "kernel-pipe-spin", "unix-seqpacket"}, false},
    {"channel", "pipe.oneway.1m", {"kernel-pipe", "kernel-pipe-spin"}, false},
    {"channel", "pipe.rtt.1m.zerocopy", {"pipe-rtt-8"}},
    {"channel", "pipe.rtt.1m.zerocopy.p99", {"pipe-rtt-8"}},
    {"channel", "queue.typed", {"queue-raw-bytes"}},
    {"shared", "container.write.1page", {"boost-managed-named_mutex"}},
    {"shared", "container.write.10pages", {"boost-managed-named_mutex"}},
    {"shared", "container.read", {"boost-managed-named_mutex"}},
    {"shared", "map.insert.1k", {"boost-managed-named_mutex"}},
    {"shared", "map.insert.1m", {"boost-managed-named_mutex"}},
    {"shared", "map.insert.1m.by100", {"boost-managed-named_mutex"}},
    {"pool", "pool.chunk1", {"thread-pool"}, false},
    {"pool", "pool.million", {"thread-pool"}, false},
    {"pool", "pool.apply", {"thread-pool"}},
    {"pool", "pool.apply.p99", {"thread-pool"}},
    {"pool", "pool.coarse", {"thread-pool"}},
    {"manager", "remote.call", {"unix-socket-echo", "pipe-rtt-8"}},
    {"manager", "remote.call.p99", {"unix-socket-echo", "pipe-rtt-8"}},
};
/// Of a program of its own; its peers, python3 and redis-server, may not be there.
const Wanted kWantedOfManager[] = {
    {"manager", "manager.get", {}, false},
    {"manager", "manager.get.rtt", {}},
    {"manager", "manager.get.rtt.p99", {}},
    {"manager", "manager.set", {}, false},
    {"manager", "manager.set.rtt", {}},
    {"manager", "manager.set.rtt.p99", {}},
    {"manager", "manager.get.clients8", {}, false},
    {"manager", "manager.set.clients8", {}, false},
};

/// Peers that are there only if their libraries were.
struct Library {
  const char* library;
  const char* peer_name;
  bool shares;  ///< several consumers share one stream
};
const Library kLibraries[] = {
    {"zmq", "zmq-pushpull", true}, {"nng", "nng-pushpull", true}, {"iceoryx", "iceoryx", false}};

int g_faults = 0;

void fault(const std::string& text) {
  std::fprintf(stderr, "check_bench: %s\n", text.c_str());
  ++g_faults;
}

void check_rows(const std::vector<bench::JsonObject>& rows, const std::set<std::string>& built) {
  const std::set<std::string> keys = {"topic", "case", "peer_name", "ours", "peer", "unit", "ratio", "better"};
  std::set<std::tuple<std::string, std::string, std::string, std::string>> found;
  for (const bench::JsonObject& row : rows) {
    std::set<std::string> has;
    for (const auto& [key, value] : row) has.insert(key);
    if (has != keys) {
      fault("a row has other keys than wanted");
      continue;
    }
    const auto text = [&](const char* key) { return std::get<std::string>(row.at(key)); };
    const auto value = [&](const char* key) { return std::get<double>(row.at(key)); };
    const std::string what = text("case") + " against " + text("peer_name");
    if (!(value("ours") > 0) || !(value("peer") > 0)) fault(what + ": a figure is not positive");
    if (std::fabs(value("ratio") - value("ours") / value("peer")) > 1e-9 * value("ratio"))
      fault(what + ": the ratio is not ours / peer");
    if (text("unit").empty()) fault(what + ": no unit");
    if (!found.emplace(text("topic"), text("case"), text("peer_name"), text("better")).second) fault(what + ": twice");
  }
  const auto demand = [&](const Wanted& wanted, const char* peer) {
    if (!found.contains({wanted.topic, wanted.name, peer, wanted.lower_is_better ? "lower" : "higher"}))
      fault(std::string("no row ") + wanted.topic + " " + wanted.name + " against " + peer);
  };
  for (const Wanted& wanted : kWanted) {
    for (const char* peer : wanted.peers) demand(wanted, peer);
    const std::string name = wanted.name;
    if (name.rfind("pool.", 0) == 0 && name.rfind("pool.apply", 0) != 0 && built.contains("openmp"))
      demand(wanted, "openmp");
    if (name.rfind("queue.", 0) != 0 || name == "queue.typed" || name.ends_with(".bytes")) continue;
    const bool is_shared = name.find("x") != std::string::npos;
    for (const Library& library : kLibraries) {
      if (built.contains(library.library) && (library.shares || !is_shared)) demand(wanted, library.peer_name);
    }
  }
  // Where there is one of the peers at all, it has all rows.
  for (const char* peer : {"python-Manager", "redis-unix-socket"}) {
    const bool is_there = std::ranges::any_of(found, [&](const auto& row) { return std::get<2>(row) == peer; });
    if (!built.contains("manager") || !is_there) continue;
    for (const Wanted& wanted : kWantedOfManager) demand(wanted, peer);
  }
}

/// Reaps the descendants that come to us as their subreaper. The forkserver of a cell may need a moment to see its
/// parent's end.
void check_nobody_left() {
  for (int tenths = 0; tenths < 50; ++tenths) {
    pid_t pid = 0;
    while ((pid = ::waitpid(-1, nullptr, WNOHANG)) > 0) {}
    if (pid < 0 && errno == ECHILD) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  fault("processes are left behind");
}

std::set<std::string> names_in(const char* path) {
  DIR* directory = ::opendir(path);
  if (directory == nullptr) throw std::runtime_error(std::string("cannot read ") + path);
  std::set<std::string> names;
  while (const dirent* entry = ::readdir(directory)) names.insert(entry->d_name);
  ::closedir(directory);
  return names;
}

void check_no_file_left(pid_t pid, const std::set<std::string>& before) {
  const std::string mine = "brood-bench-" + std::to_string(pid);
  for (const std::string& name : names_in("/dev/shm")) {
    // The domain; or what a peer made in this run: a queue of Boost's, memory of iceoryx's daemon.
    if (name == mine ||
        (!before.contains(name) && (name.rfind("brood-bench-mq-", 0) == 0 || name.rfind("iceoryx", 0) == 0)))
      fault("left behind: /dev/shm/" + name);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: check_bench PATH_OF_BROOD_BENCH [PEER…]\n");
    return 2;
  }
  char json[] = "/tmp/check_bench-XXXXXX";
  const int fd = ::mkstemp(json);
  if (fd < 0) {
    std::perror("mkstemp");
    return 1;
  }
  ::close(fd);
  const std::set<std::string> before = names_in("/dev/shm");
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::execl(argv[1], argv[1], "--quick", "--json", json, static_cast<char*>(nullptr));
    std::perror(argv[1]);
    ::_exit(127);
  }
  int status = -1;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
  if (status != 0) fault("brood_bench ended with status " + std::to_string(status));
  check_nobody_left();
  check_no_file_left(pid, before);
  try {
    std::ifstream file(json);
    check_rows(bench::parse_rows({std::istreambuf_iterator<char>(file), {}}), {argv + 2, argv + argc});
  } catch (const std::exception& error) {
    fault(error.what());
  }
  ::unlink(json);
  std::printf("check_bench: %d faults\n", g_faults);
  return g_faults == 0 ? 0 : 1;
}
