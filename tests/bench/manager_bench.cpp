// Calls to objects in other processes.
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <numeric>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "brood/remote.hpp"
#include "channel.hpp"
#include "topics.hpp"

namespace bench {
namespace {

constexpr double kNsPerUs = 1000;

/// What is called.
class Echo {
 public:
  std::uint64_t echo(std::uint64_t number) { return number; }
  void pin_here(int processor) { pin(processor); }
};

/// Microseconds of so many round trips, each timed, behind a tenth as many that are not.
template <class Trip>
Samples time_trips(int count, Trip trip) {
  for (int i = 0; i < count / 10; ++i) trip(static_cast<std::uint64_t>(i));
  Samples samples(static_cast<std::size_t>(count));
  for (double& sample : samples) {
    const std::uint64_t from = now_ns();
    trip(from);
    sample = static_cast<double>(now_ns() - from) / kNsPerUs;
  }
  return samples;
}

void check(std::uint64_t sent, std::uint64_t came) {
  if (sent != came) throw std::runtime_error("another number came back");
}

Samples remote_call(int count) {
  auto echo = brood::Remote<Echo>::with({.process = {.start_method = brood::StartMethod::fork}});
  echo.call<&Echo::pin_here>(1);
  pin(0);
  return time_trips(count, [&](std::uint64_t number) { check(number, echo.call<&Echo::echo>(number)); });
}

void read_all(int socket, std::uint64_t& number) {
  ssize_t got = 0;
  while ((got = ::read(socket, &number, sizeof number)) < 0 && errno == EINTR) {}
  if (got == 0) _exit(0);  // the other side has what it wanted
  if (got != static_cast<ssize_t>(sizeof number)) throw std::runtime_error("read from the socket");
}
void write_all(int socket, std::uint64_t number) {
  if (::write(socket, &number, sizeof number) != static_cast<ssize_t>(sizeof number))
    throw std::runtime_error("write to the socket");
}

/// The least that a service over a socket could cost: eight bytes there and back.
Samples unix_socket_echo(int count) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) throw std::runtime_error("socketpair");
  const pid_t echo = fork_party([&] {
    ::close(ends[0]);
    pin(1);
    for (;;) {
      std::uint64_t number = 0;
      read_all(ends[1], number);
      write_all(ends[1], number);
    }
  });
  ::close(ends[1]);
  pin(0);
  Samples samples = time_trips(count, [&](std::uint64_t number) {
    write_all(ends[0], number);
    std::uint64_t came = 0;
    read_all(ends[0], came);
    check(number, came);
  });
  ::close(ends[0]);
  join_party(echo);
  return samples;
}

/// How many one client does in a second, one after the other, from how long each took in microseconds.
Cell as_rate(Cell trips) {
  return [trips = std::move(trips)] {
    const Samples each = trips();
    return Samples{1e6 * static_cast<double>(each.size()) / std::reduce(each.begin(), each.end(), 0.0)};
  };
}

/// A dictionary of a server: each contender with a server of its own, in programs of their own.
void dict_cases(Report& report, const Settings& settings) {
  if (std::string_view(BENCH_PEERS).find(" manager ") == std::string_view::npos)
    return report.note("manager.get, manager.set: bench_manager was not built, there was no OpenSSL");
  const std::string program = std::filesystem::path(settings.self).replace_filename("bench_manager");
  const std::string redis = find_program("redis-server");
  if (redis.empty()) report.note("manager.get, manager.set: no redis-server in $PATH, so no rows of it");
  for (const std::string& what : {std::string("get"), std::string("set")}) {
    for (const int clients : {1, 8}) {
      const int count = settings.count(clients == 1 ? 20'000 : 5'000, 50);
      const std::string arguments = " " + what + " " + std::to_string(clients) + " " + std::to_string(count);
      const auto cell = [=](const std::string& kind) {
        return [=] { return read_samples("exec '" + program + "' " + kind + arguments + " '" + redis + "'"); };
      };
      std::vector<Contender> peers = python_peer(settings, "python-Manager", "manager" + arguments);
      if (!redis.empty()) peers.push_back({"redis-unix-socket", cell("redis")});
      const std::string name = "manager." + what + (clients == 1 ? "" : ".clients8");
      if (clients != 1) {
        report.measure({.topic = "manager",
                        .figures = {{name}},
                        .unit = "1/s",
                        .lower_is_better = false,
                        .ours = cell("brood"),
                        .peers = peers});
        continue;
      }
      report.measure({.topic = "manager",
                      .figures = {{name + ".rtt"}, {name + ".rtt.p99", 0.99}},
                      .unit = "µs",
                      .ours = cell("brood"),
                      .peers = peers});
      for (Contender& peer : peers) peer.cell = as_rate(peer.cell);
      report.measure({.topic = "manager",
                      .figures = {{name}},
                      .unit = "1/s",
                      .lower_is_better = false,
                      .ours = as_rate(cell("brood")),
                      .peers = peers});
    }
  }
}

}  // namespace

void manager_cases(Report& report, const Settings& settings) {
  dict_cases(report, settings);
  const int count = settings.count(20'000, 100);
  const Workload trips{.shape = Shape::round_trip, .milliseconds = settings.count(200, 3)};
  report.measure({.topic = "manager",
                  .figures = {{"remote.call"}, {"remote.call.p99", 0.99}},
                  .unit = "µs",
                  .ours = [=] { return remote_call(count); },
                  .peers = {{"unix-socket-echo", [=] { return unix_socket_echo(count); }},
                            {"pipe-rtt-8", [=] { return run_pipe(trips); }}}});
}

}  // namespace bench
