// The creator's side of a Remote: its host, and the hosts that replace it.
#include <unistd.h>

#include <atomic>
#include <condition_variable>
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
#include "os/forks.hpp"
#include "process/child.hpp"
#include "process/current.hpp"
#include "process/light.hpp"
#include "remote/host.hpp"

namespace brood::inline v1::detail {
namespace {

/// A host that left the conversation ends soon after; if not, it was stopped by hand or is writing a core.
constexpr std::chrono::seconds kUntilEnded{5};

constinit std::atomic<unsigned> g_last_name = 0;

/// "Remote-2"; in the process "3" of a family: "Remote-3:2".
std::string next_name() {
  const std::string path = process::current().path;
  return "Remote-" + (path.empty() ? path : path + ":") + std::to_string(++g_last_name);
}

}  // namespace

struct RemoteCore::Impl {
  Impl(RemoteOptions given, std::string of) : options(std::move(given)), type(std::move(of)) {
    if (options.threads == 0) throw UsageError("RemoteOptions: a host without threads answers nothing; 1 is the least");
    if (options.process.name.empty()) options.process.name = next_name();
  }
  using Lock = std::unique_lock<std::mutex>;

  [[nodiscard]] bool is_creators() const noexcept { return os::forks() == forks; }
  /// Errors: UsageError.
  void require_creator() const {
    if (!is_creators()) [[unlikely]]
      throw UsageError(title() + " belongs to process " + std::to_string(creator) +
                       ", which made it; a child makes its own, or is sent what it needs through a Queue");
  }
  [[nodiscard]] std::string title() const { return "Remote<" + type + "> '" + options.process.name + "'"; }

  /// Waits while another thread starts a host.
  [[nodiscard]] Lock settled() {
    Lock lock(mutex);
    no_longer_starting.wait(lock, [this] { return !is_starting; });
    return lock;
  }
  /// The mutex is free meanwhile, so that a constructor which never ends can be killed.
  void launch(Lock& lock, std::chrono::milliseconds pause);
  void launch_unlocked(std::chrono::milliseconds pause);
  [[nodiscard]] ProcessOptions process_options() const;
  void stop();

  [[nodiscard]] static std::exception_ptr explain(Process& host, const std::string& title,
                                                  const std::exception_ptr& why);

  RemoteOptions options;
  const std::string type;
  const pid_t creator = ::getpid();
  const unsigned forks = os::forks();
  mutable std::mutex mutex;
  std::condition_variable no_longer_starting;
  bool is_starting = false;
  bool has_new_host = false;  ///< while it is starting: `process` is the one that starts
  PackedCall constructor;
  std::shared_ptr<Process> process;  ///< the last host; calls that explain their end share it
  std::shared_ptr<call::Line> line;  ///< there from start() to stop()
  unsigned restarts = 0;
  Finalizer at_exit;
};

void RemoteCore::Impl::launch(Lock& lock, std::chrono::milliseconds pause) {
  is_starting = true;
  has_new_host = false;
  lock.unlock();
  try {
    launch_unlocked(pause);
  } catch (...) {
    lock.lock();
    is_starting = false;
    no_longer_starting.notify_all();
    throw;
  }
  lock.lock();
  is_starting = false;
  no_longer_starting.notify_all();
}

void RemoteCore::Impl::launch_unlocked(std::chrono::milliseconds pause) {
  if (line) {
    // What the last host still said is for those who wait for it.
    line->drain();
    line->finish(std::make_exception_ptr(PeerGone("the host of " + title() + " is gone")));
  }
  if (pause.count() > 0) std::this_thread::sleep_for(pause);
  auto [mine, theirs] = remote::make_line();
  auto host =
      std::make_shared<Process>(process_options(), remote::run_host, theirs, options.threads, constructor.bytes);
  host->start();
  theirs.connection.close();
  {
    const Lock lock(mutex);
    process = host;
    has_new_host = true;
    no_longer_starting.notify_all();
  }
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
  auto fresh = std::make_shared<call::Line>(
      std::move(mine.connection),
      [](call::Line&, const call::Line::Asked&, Decoder&, Encoder&) -> std::shared_ptr<const void> {
        throw UsageError("the creator of a Remote has no objects to call");
      },
      [host, title = title()](const std::exception_ptr& why) { return explain(*host, title, why); });
  const Lock lock(mutex);
  line = std::move(fresh);
}

/// What a light host loads is where A is, not where the target of the Process is: that is part of brood.
ProcessOptions RemoteCore::Impl::process_options() const {
  ProcessOptions out = options.process;
  if (out.start_method.value_or(process::settled_start_method()) != StartMethod::light) return out;
  const std::string library = process::library_for(constructor, out.library.string());
  if (library.empty()) {
    throw UsageError(
        title() +
        " cannot be started by light: the code that starts it is part of a program, and a light host loads only a "
        "library. "
        "Cures: start it in a function of a shared library that is linked with brood; or use StartMethod::spawn or "
        "StartMethod::forkserver. No process was made.");
  }
  out.library = library;
  return out;
}

std::exception_ptr RemoteCore::Impl::explain(Process& host, const std::string& title, const std::exception_ptr& why) {
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

void RemoteCore::Impl::stop() {
  std::shared_ptr<call::Line> ended;
  std::shared_ptr<Process> host;
  {
    const Lock lock = settled();
    if (line && line->is_answered_by_this_thread()) {
      throw UsageError(title() +
                       " cannot be stopped by a callback from it: the host waits for the callback, and would be waited "
                       "for; stop it when the call has returned");
    }
    ended = std::exchange(line, nullptr);
    host = process;
  }
  if (ended) {
    ended->say_stop();
    ended->drain();
  }
  if (host) host->join();
  if (ended) ended->finish(std::make_exception_ptr(PeerGone(title() + " was stopped")));
}

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
  if (!impl_->is_creators()) {
    // A copy that fork made. Its threads and its host are the parent's.
    (void)impl_.release();
    return;
  }
  try {
    stop();
  } catch (...) {
    const std::string text = describe_exception(std::current_exception(), " <- ");
    std::fprintf(stderr, "brood: %s\n", text.c_str());
    if (impl_->process) impl_->process->kill();
  }
}

RemoteCore::Impl& RemoteCore::impl() const {
  if (!impl_) throw UsageError("this Remote was moved from");
  impl_->require_creator();
  return *impl_;
}

void RemoteCore::start(PackedCall constructor) {
  Impl& it = impl();
  {
    const Impl::Lock lock = it.settled();
    if (it.line && !it.line->is_over() && it.process->is_alive())
      throw UsageError(it.title() + " runs already; stop() it first");
  }
  it.stop();
  Impl::Lock lock = it.settled();
  if (it.line) throw UsageError(it.title() + " was started by another thread meanwhile");
  it.constructor = std::move(constructor);
  it.restarts = 0;
  it.at_exit.cancel();  // the one of an earlier start; replacing it would run it
  it.launch(lock, {});
  it.at_exit = Finalizer([impl = impl_.get()] { impl->stop(); });
}

void RemoteCore::stop() {
  Impl& it = impl();
  it.stop();
  const Impl::Lock lock = it.settled();
  if (!it.line) it.at_exit.cancel();
}

void RemoteCore::kill() {
  Impl& it = impl();
  std::shared_ptr<Process> host;
  {
    Impl::Lock lock(it.mutex);
    // A constructor may run in a host that start() has not told us of yet.
    it.no_longer_starting.wait(lock, [&it] { return !it.is_starting || it.has_new_host; });
    if (!it.process) throw NotStarted(it.title() + " has no host: it was not started");
    host = it.process;
  }
  host->kill();
}

std::shared_ptr<call::Line> RemoteCore::line() {
  Impl& it = impl();
  Impl::Lock lock = it.settled();
  if (!it.line)
    throw NotStarted(it.title() + (it.process ? " was stopped; start() makes a new object" : " was not started"));
  const bool is_over = it.line->is_over();
  if (it.restarts >= it.options.restarts) {
    if (!is_over) return it.line;
    std::rethrow_exception(Impl::explain(*it.process, it.title(), it.line->over()));
  }
  // One that died while nobody listened is replaced before the call, not after one that fails.
  if (!is_over && it.process->is_alive()) return it.line;
  it.process->join();
  ++it.restarts;
  it.launch(lock, it.options.restart_pause);
  return it.line;
}

bool RemoteCore::is_running() const {
  const Impl& it = impl();
  const Impl::Lock lock(it.mutex);
  return it.line && !it.line->is_over() && it.process->is_alive();
}
std::optional<std::int64_t> RemoteCore::pid() const {
  const Impl& it = impl();
  const Impl::Lock lock(it.mutex);
  return it.process ? it.process->pid() : std::nullopt;
}
std::optional<int> RemoteCore::exitcode() const {
  const Impl& it = impl();
  const Impl::Lock lock(it.mutex);
  return it.process ? it.process->exitcode() : std::nullopt;
}
unsigned RemoteCore::restarts() const {
  const Impl& it = impl();
  const Impl::Lock lock(it.mutex);
  return it.restarts;
}

std::string RemoteCore::printed() const {
  if (!impl_) return "<Remote moved from>";
  const Impl& it = *impl_;
  std::string out = "<Remote " + it.type + " '" + it.options.process.name + "'";
  if (!it.is_creators()) return out + " of another process>";  // whose threads may have held the mutex
  const Impl::Lock lock(it.mutex);
  if (it.is_starting && !it.has_new_host) return out + " starting>";
  if (!it.process) return out + " not started>";
  out += " pid=" + std::to_string(it.process->pid().value_or(0));
  if (it.is_starting) return out + " starting>";
  if (!it.line) return out + " stopped>";
  return out + (it.process->is_alive() ? " running>" : " dead>");
}

std::ostream& print(std::ostream& out, const RemoteCore& core) { return out << core.printed(); }

}  // namespace brood::inline v1::detail
