// The eight ways in which a worker's process comes to be.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>

#include "brood/process.hpp"
#include "matrix/invitation.hpp"
#include "matrix/worker.hpp"

namespace matrix {

enum class Way { fork, spawn, forkserver, posix_spawn, vfork_exec, system, boost_process, daemon };
inline constexpr std::array kWays = {Way::fork,       Way::spawn,  Way::forkserver,    Way::posix_spawn,
                                     Way::vfork_exec, Way::system, Way::boost_process, Way::daemon};
/// As it stands in test names.
[[nodiscard]] std::string to_string(Way way);
/// Of the ways that brood::Process knows.
[[nodiscard]] std::optional<brood::StartMethod> start_method(Way way);

/// A worker's process. Ended by force, if it still runs, when this goes.
class Peer {
 public:
  Peer() = default;
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  virtual ~Peer() = default;
  /// Waits until it has ended by itself. Errors: std::runtime_error if it ended badly.
  virtual void wait() = 0;
};

/// A worker in another program, or in a daemon: it gets words.
[[nodiscard]] std::unique_ptr<Peer> invite(Way way, const Invitation& invitation);
/// A file of its own, since Boost's headers take long to compile.
[[nodiscard]] std::unique_ptr<Peer> invite_by_boost_process(const std::string& program, const Invitation& invitation);
/// The words on matrix_peer's command line, without the program itself.
[[nodiscard]] std::vector<std::string> peer_arguments(const Invitation& invitation);

/// A child that this process has to reap.
class ChildPeer : public Peer {
 public:
  explicit ChildPeer(pid_t pid) : pid_(pid) {}
  ~ChildPeer() override;
  void wait() override;

 private:
  pid_t pid_;
};
/// Errors: std::runtime_error unless the status of wait() says exit(0).
void require_good_end(int status);

/// A worker in a Process: it gets the objects themselves.
class ProcessPeer : public Peer {
 public:
  template <class Object>
  ProcessPeer(brood::StartMethod method, Object& object, brood::Lock& guard, Tally& tally, const std::string& address)
      : process_({.start_method = method}, &worker<Object>, object, guard, tally, address) {
    process_.start();
  }
  ~ProcessPeer() override;
  void wait() override;

 private:
  brood::Process process_;
};

template <class Object>
[[nodiscard]] std::unique_ptr<Peer> start(Way way, Object& object, brood::Lock& guard, Tally& tally,
                                          const std::string& address) {
  if (const auto method = start_method(way))
    return std::make_unique<ProcessPeer>(*method, object, guard, tally, address);
  return invite(way, {.object = Name<Object>::text,
                      .address = address,
                      .subject = object.handle().str(),
                      .guard = guard.handle().str(),
                      .tally = tally.handle().str()});
}

}  // namespace matrix
