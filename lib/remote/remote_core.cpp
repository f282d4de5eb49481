// The creator's side of a Remote: its host, and the hosts that replace it.
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <mutex>
#include <ostream>
#include <thread>
#include <utility>

#include "brood/error.hpp"
#include "brood/finalizer.hpp"
#include "brood/process.hpp"
#include "brood/remote.hpp"
#include "call/line.hpp"
#include "process/child.hpp"
#include "remote/host.hpp"

namespace brood::inline v1::detail {
namespace {

/// A host that left the conversation ends soon after; if not, it was stopped by hand or is writing a core.
constexpr std::chrono::seconds kUntilEnded{5};

constinit std::atomic<unsigned> g_last_name = 0;

}  // namespace

struct RemoteCore::Impl {
  Impl(RemoteOptions given, std::string of) : options(std::move(given)), type(std::move(of)) {
    if (options.threads == 0) throw UsageError("RemoteOptions: a host without threads answers nothing; 1 is the least");
    if (options.process.name.empty()) options.process.name = "Remote-" + std::to_string(++g_last_name);
  }

  /// Errors: UsageError.
  void require_creator() const {
    if (::getpid() != creator)
      throw UsageError(title() + " belongs to process " + std::to_string(creator) +
                       ", which made it; a child makes its own, or is sent what it needs through a Queue");
  }
  [[nodiscard]] std::string title() const { return "Remote<" + type + "> '" + options.process.name + "'"; }

  void launch() {
    auto [mine, theirs] = remote::make_line();
    auto host =
        std::make_shared<Process>(options.process, remote::run_host, theirs, options.threads, constructor.bytes);
    host->start();
    theirs.connection.close();
    try {
      remote::expect_made(mine.connection);
    } catch (const EndOfFile&) {
      host->join();
      throw StartError("the host of " + title() + " ended while it made the object: exit code " +
                       process::exit_text(*host->exitcode()));
    } catch (...) {
      host->join();
      throw;
    }
    process = host;
    line = std::make_shared<call::Line>(
        std::move(mine.connection),
        [](call::Line&, std::uint64_t, Decoder&, Encoder&) {
          throw UsageError("the creator of a Remote has no objects to call");
        },
        [host, title = title()](const std::exception_ptr& why) { return explain(*host, title, why); });
  }

  [[nodiscard]] static std::exception_ptr explain(Process& host, const std::string& title,
                                                  const std::exception_ptr& why) {
    const std::int64_t pid = host.pid().value_or(0);
    std::string text = "the host of " + title + " (pid " + std::to_string(pid) + ") ";
    std::optional<int> code;
    if (host.join_for(kUntilEnded)) {
      code = host.exitcode();
      text += "is gone: exit code " + process::exit_text(*code);
    } else {
      text += "has left the conversation: " + describe_exception(why, " <- ");
    }
    return std::make_exception_ptr(PeerGone(text, pid, code));
  }

  /// With the mutex held.
  void stop() {
    if (!line) return;
    if (!line->over()) {
      try {
        line->say_stop();
      } catch (const PeerGone&) {
        // It ended by itself meanwhile: all the better.
      }
    }
    process->join();
    line->give_up(std::make_exception_ptr(PeerGone(title() + " was stopped")));
    line.reset();
  }

  RemoteOptions options;
  const std::string type;
  const pid_t creator = ::getpid();
  mutable std::mutex mutex;
  PackedCall constructor;
  std::shared_ptr<Process> process;  ///< the last host; calls that explain their end share it
  std::shared_ptr<call::Line> line;  ///< there from start() to stop()
  unsigned restarts = 0;
  Finalizer at_exit;
};

RemoteCore::RemoteCore(RemoteOptions options, std::string type)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(type))) {}
RemoteCore::RemoteCore(RemoteCore&& other) noexcept = default;

RemoteCore& RemoteCore::operator=(RemoteCore&& other) noexcept {
  if (this != &other) {
    const RemoteCore ends_now(std::move(*this));
    impl_ = std::move(other.impl_);
  }
  return *this;
}

RemoteCore::~RemoteCore() {
  if (!impl_) return;
  if (::getpid() != impl_->creator) {
    // A copy that fork made. Its threads and its host are the parent's.
    (void)impl_.release();
    return;
  }
  try {
    stop();
  } catch (...) {
    const std::string text = describe_exception(std::current_exception(), " <- ");
    std::fprintf(stderr, "brood: %s could not be stopped: %s\n", impl_->title().c_str(), text.c_str());
  }
}

RemoteCore::Impl& RemoteCore::impl() const {
  if (!impl_) throw UsageError("this Remote was moved from");
  return *impl_;
}

void RemoteCore::start(PackedCall constructor) {
  Impl& it = impl();
  it.require_creator();
  const std::lock_guard lock(it.mutex);
  if (it.line && !it.line->over()) throw UsageError(it.title() + " runs already; stop() it first");
  it.stop();
  it.constructor = std::move(constructor);
  it.launch();
  it.restarts = 0;
  it.at_exit.cancel();  // the one of an earlier start; replacing it would run it
  it.at_exit = Finalizer([impl = impl_.get()] {
    const std::lock_guard held(impl->mutex);
    impl->stop();
  });
}

void RemoteCore::stop() {
  Impl& it = impl();
  it.require_creator();
  const std::lock_guard lock(it.mutex);
  it.at_exit.cancel();
  it.stop();
}

void RemoteCore::kill() {
  Impl& it = impl();
  it.require_creator();
  std::shared_ptr<Process> host;
  {
    const std::lock_guard lock(it.mutex);
    if (!it.process) throw NotStarted(it.title() + " has no host: it was not started");
    host = it.process;
  }
  host->kill();
}

std::shared_ptr<call::Line> RemoteCore::line() {
  Impl& it = impl();
  it.require_creator();
  const std::lock_guard lock(it.mutex);
  if (!it.line)
    throw NotStarted(it.title() + (it.process ? " was stopped; start() makes a new object" : " was not started"));
  const std::exception_ptr why = it.line->over();
  if (!why) return it.line;
  if (it.restarts >= it.options.restarts) std::rethrow_exception(Impl::explain(*it.process, it.title(), why));
  it.process->join();
  if (it.options.restart_pause.count() > 0) std::this_thread::sleep_for(it.options.restart_pause);
  ++it.restarts;
  it.launch();
  return it.line;
}

bool RemoteCore::is_running() const {
  const Impl& it = impl();
  it.require_creator();
  const std::lock_guard lock(it.mutex);
  return it.line && !it.line->over() && it.process->is_alive();
}
std::optional<std::int64_t> RemoteCore::pid() const {
  const Impl& it = impl();
  const std::lock_guard lock(it.mutex);
  return it.process ? it.process->pid() : std::nullopt;
}
std::optional<int> RemoteCore::exitcode() const {
  const Impl& it = impl();
  it.require_creator();
  const std::lock_guard lock(it.mutex);
  return it.process ? it.process->exitcode() : std::nullopt;
}
unsigned RemoteCore::restarts() const {
  const Impl& it = impl();
  const std::lock_guard lock(it.mutex);
  return it.restarts;
}

std::string RemoteCore::printed() const {
  if (!impl_) return "<Remote moved from>";
  const Impl& it = *impl_;
  const std::lock_guard lock(it.mutex);
  std::string out = "<Remote " + it.type + " '" + it.options.process.name + "'";
  if (!it.process) return out + " not started>";
  out += " pid=" + std::to_string(it.process->pid().value_or(0));
  if (::getpid() != it.creator) return out + " of another process>";
  if (!it.line) return out + " stopped>";
  return out + (it.process->is_alive() ? " running>" : " dead>");
}

std::ostream& print(std::ostream& out, const RemoteCore& core) { return out << core.printed(); }

}  // namespace brood::inline v1::detail
