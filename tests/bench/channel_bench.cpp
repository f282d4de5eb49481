// Channels against the peers: for each case ours, and all that can do the same.
#include <map>
#include <set>
#include <utility>

#include "channel.hpp"
#include "topics.hpp"

namespace bench {
namespace {

/// What was left out, told once for each peer and reason.
class LeftOut {
 public:
  void add(const std::string& peer, const std::string& why, const std::string& name) {
    std::string& cases = cases_[{peer, why}];
    cases += (cases.empty() ? "" : ", ") + name;
  }
  void tell(Report& report) const {
    for (const auto& [who, cases] : cases_) report.note(who.first + " is not in " + cases + ": " + who.second);
  }

 private:
  std::map<std::pair<std::string, std::string>, std::string> cases_;
};

/// A channel of ours, measured in any workload beside all peers that can do it.
class Channels {
 public:
  Channels(Report& report, const Settings& settings) : report_(report) {
    for (const auto& some : {kernel_peers(), boost_peers(), program_peers(settings)})
      peers_.insert(peers_.end(), some.begin(), some.end());
    // Ours, of eight bytes by value: what a message in place should not cost more than.
    const auto fit = [](const Workload& w) { return w.in_place ? kFits : kNotMeant; };
    peers_.push_back({"pipe-rtt-8", fit, [](Workload w) {
                        w.size_bytes = 8;
                        w.in_place = false;
                        return run_pipe(w);
                      }});
  }
  /// `only`: these peers; none named: all.
  void measure(const std::string& name, const Workload& w, Samples (*ours)(const Workload&),
               std::set<std::string> only = {}) {
    if (only.empty()) {
      for (const Peer& peer : peers_)
        if (peer.name != "python-Pipe") only.insert(peer.name);
    }
    if (!report_.wants(name)) return;
    const bool is_rate = w.shape == Shape::rate;
    Case c{.topic = "channel",
           .figures = {{name}},
           .unit = is_rate ? "1/s" : "µs",
           .lower_is_better = !is_rate,
           .ours = [=] { return ours(w); },
           .peers = {}};
    if (!is_rate) c.figures.push_back({name + ".p99", 0.99});
    for (const Peer& peer : peers_) {
      if (!only.contains(peer.name)) continue;
      const Fit fit = peer.fit(w);
      if (fit.fits) c.peers.push_back({peer.name, [run = peer.run, w] { return run(w); }});
      else if (!fit.why.empty()) left_out_.add(peer.name, fit.why, name);
    }
    report_.measure(c);
  }
  void tell_what_was_left_out() const { left_out_.tell(report_); }

 private:
  Report& report_;
  std::vector<Peer> peers_;
  LeftOut left_out_;
};

}  // namespace

void channel_cases(Report& report, const Settings& settings) {
  constexpr std::pair<const char*, std::size_t> kSizes[] = {
      {"8", 8}, {"64", 64}, {"1k", 1 << 10}, {"64k", 1 << 16}, {"1m", 1 << 20}};
  const int milliseconds = settings.count(200, 3);
  Channels channels(report, settings);
  channels.measure("queue.rtt.8", {.shape = Shape::round_trip, .milliseconds = milliseconds}, run_queue);
  channels.measure("queue.rtt.8.sleep", {.shape = Shape::asleep, .milliseconds = milliseconds}, run_queue);
  for (const auto& [suffix, size] : kSizes)
    channels.measure(std::string("queue.oneway.") + suffix, {.size_bytes = size, .milliseconds = milliseconds},
                     run_queue);
  // What is not plain data costs an encoding more; of large messages that is the greater part.
  for (const auto& [suffix, size] : kSizes) {
    if (size >= 1 << 10)
      channels.measure(std::string("queue.oneway.") + suffix + ".bytes",
                       {.size_bytes = size, .milliseconds = milliseconds}, run_queue_of_bytes,
                       {"unix-seqpacket", "boost-message_queue"});
  }
  for (const auto& [suffix, size] : kSizes)
    channels.measure(std::string("queue.2x2.") + suffix,
                     {.size_bytes = size, .producers = 2, .consumers = 2, .milliseconds = milliseconds}, run_queue);
  channels.measure("queue.4x4.8", {.producers = 4, .consumers = 4, .milliseconds = milliseconds}, run_queue);

  // Pipes: one to one. What cannot be told from a queue is not measured again.
  const Workload trips{.shape = Shape::round_trip, .milliseconds = milliseconds};
  const std::set<std::string> kPairs = {"kernel-pipe",  "kernel-pipe-spin", "unix-seqpacket",
                                        "cache-line",   "futex-wake",       "zmq-pushpull",
                                        "nng-pushpull", "iceoryx",          "python-Pipe"};
  channels.measure("pipe.rtt.8", trips, run_pipe, kPairs);
  channels.measure("pipe.rtt.8.sleep", {.shape = Shape::asleep, .milliseconds = milliseconds}, run_pipe, kPairs);
  channels.measure("pipe.rtt.8.onecore", {.shape = Shape::round_trip, .milliseconds = milliseconds, .one_core = true},
                   run_pipe, {"kernel-pipe", "unix-seqpacket"});
  for (const auto& [suffix, size] : kSizes)
    channels.measure(std::string("pipe.oneway.") + suffix, {.size_bytes = size, .milliseconds = milliseconds}, run_pipe,
                     kPairs);
  channels.measure("pipe.rtt.1m.zerocopy",
                   {.shape = Shape::round_trip, .size_bytes = 1 << 20, .milliseconds = milliseconds, .in_place = true},
                   run_pipe_in_place, {"iceoryx-zerocopy", "pipe-rtt-8"});
  channels.tell_what_was_left_out();

  const int batches = settings.count(200, 5);
  report.measure({.topic = "channel",
                  .figures = {{"queue.typed"}},
                  .unit = "ns",
                  .ours = [=] { return queue_typed(batches); },
                  .peers = {{"queue-raw-bytes", [=] { return queue_raw_bytes(batches); }}}});
}

}  // namespace bench
