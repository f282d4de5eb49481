// What is measured of a channel, whatever the channel is: queues and pipes share shapes and peers.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "harness.hpp"

namespace bench {

enum class Shape {
  round_trip,  ///< a message there and one back between two processes: µs, one sample a trip
  asleep,      ///< the same, each side asleep in its receive when the message is sent
  rate,        ///< producers send what they can, consumers share it: messages/s, one sample
};

struct Workload {
  Shape shape = Shape::rate;
  std::size_t size_bytes = 8;
  int producers = 1;
  int consumers = 1;
  int milliseconds = 100;
  bool in_place = false;  ///< messages are written and read where they lie, and no more of them than their number
  bool one_core = false;  ///< round trips: both parties on one processor
  [[nodiscard]] bool one_to_one() const { return producers == 1 && consumers == 1; }
  /// Messages that a channel bounded by their number has room for.
  [[nodiscard]] std::size_t depth() const {
    return std::clamp((std::size_t{1} << 20) / size_bytes, std::size_t{4}, std::size_t{1024});
  }
};

/// For contenders in programs of their own.
[[nodiscard]] std::string to_arguments(const Workload& workload);
/// Errors: std::invalid_argument.
[[nodiscard]] Workload from_arguments(int argc, char** argv);
/// Prints what the cell measured, one sample a line; a program's whole main.
int run_as_program(const Cell& cell);

/// Whether a contender can do a workload; if not, and if that is worth telling, why.
struct Fit {
  bool fits = true;
  std::string why = {};
};
inline const Fit kFits{};
inline const Fit kNotMeant{.fits = false};
inline Fit cannot(const std::string& why) { return {.fits = false, .why = why}; }

struct Peer {
  std::string name;
  std::function<Fit(const Workload&)> fit;
  std::function<Samples(const Workload&)> run;
};

/// Pipes, sockets, POSIX message queues, and the floors: channel_kernel.cpp.
[[nodiscard]] std::vector<Peer> kernel_peers();
/// channel_boost.cpp.
[[nodiscard]] std::vector<Peer> boost_peers();
/// ZeroMQ, nng, iceoryx, Python: programs beside this one, and a script. channel_programs.cpp.
[[nodiscard]] std::vector<Peer> program_peers(const Settings& settings);

/// One process, put and get of 24 bytes in turn: ns. channel_queue.cpp.
[[nodiscard]] Samples queue_typed(int batches);
/// The same bytes, below the types.
[[nodiscard]] Samples queue_raw_bytes(int batches);
/// brood::Queue of plain data of 8, 64, 1024, 64 Ki or 1 Mi bytes in any of the workloads.
[[nodiscard]] Samples run_queue(const Workload& workload);
/// The same of std::vector<std::byte>, which is encoded and decoded.
[[nodiscard]] Samples run_queue_of_bytes(const Workload& workload);
/// brood::pipe, one way, of the same sizes, one to one.
[[nodiscard]] Samples run_pipe(const Workload& workload);
/// The same with loans and views.
[[nodiscard]] Samples run_pipe_in_place(const Workload& workload);

}  // namespace bench
