// Contenders that are programs of their own: libraries that this program shall not load, since every process it starts
// would load them too, and Python.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <filesystem>
#include <string_view>

#include "channel.hpp"
#include "topics.hpp"

namespace bench {
namespace {

/// A program beside this one, if the build found its library. Those are named in BENCH_PEERS: " zmq nng ".
Peer program_peer(const Settings& settings, const std::string& name, const std::string& library,
                  const std::string& package, const std::function<Fit(const Workload&)>& fit) {
  if (std::string_view(BENCH_PEERS).find(" " + library + " ") == std::string_view::npos) {
    const Fit missing = cannot("it was not built, there was no " + package);
    return {name, [missing](const Workload& /*any*/) { return missing; }, {}};
  }
  const std::string path = std::filesystem::path(settings.self).replace_filename("peer_" + library);
  return {name, fit, [path](const Workload& w) { return read_samples("exec '" + path + "' " + to_arguments(w)); }};
}

/// iceoryx's daemon can run once on a machine, and is given its memory when it starts.
bool somebody_runs_roudi() {
  const int fd = ::open("/tmp/iox-unique-roudi.lock", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool locked = ::flock(fd, LOCK_EX | LOCK_NB) != 0;
  ::close(fd);
  return locked;
}

}  // namespace

std::vector<Peer> program_peers(const Settings& settings) {
  const auto any = [](const Workload& /*any*/) { return kFits; };
  const auto iceoryx = [](const Workload& w) {
    if (!w.one_to_one()) return cannot("it broadcasts: each consumer gets all");
    if (find_program("iox-roudi").empty()) return cannot("there is no iox-roudi in $PATH");
    if (somebody_runs_roudi()) return cannot("its daemon runs already, for somebody else");
    return kFits;
  };
  const auto iceoryx_in_place = [=](Workload w) { return w.in_place ? iceoryx(w) : kNotMeant; };
  std::vector<Peer> peers = {
      program_peer(settings, "iceoryx-zerocopy", "iceoryx", "libiceoryx-posh-dev", iceoryx_in_place),
      program_peer(settings, "zmq-pushpull", "zmq", "libzmq3-dev", any),
      program_peer(settings, "nng-pushpull", "nng", "libnng-dev", any),
      program_peer(settings, "iceoryx", "iceoryx", "libiceoryx-posh-dev", iceoryx),
  };
  // Of no python3 there is a note already.
  if (!settings.python.empty()) {
    const auto fit = [](const Workload& w) { return w.shape == Shape::asleep ? kNotMeant : kFits; };
    for (const auto& [name, kind] : {std::pair("python-Queue", "queue"), std::pair("python-Pipe", "pipe")})
      peers.push_back(
          {name, fit, [settings, kind = kind](const Workload& w) {
             return python_peer(settings, {}, std::string("channel ") + kind + " " + to_arguments(w)).front().cell();
           }});
  }
  return peers;
}

}  // namespace bench
