// The rules of Process: what may be called when, and by whom. The work is done by Child.
#include "brood/process.hpp"

#include <cxxabi.h>
#include <string.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <ostream>
#include <typeinfo>
#include <utility>

#include "brood/domain.hpp"
#include "brood/error.hpp"
#include "process/child.hpp"
#include "process/current.hpp"
#include "process/light.hpp"

namespace brood::inline v1 {

namespace {

thread_local bool t_makes_current_process = false;

}  // namespace

namespace detail {

void refuse_derived(const std::string& name, const std::type_info& found, std::string_view custom) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> readable(abi::__cxa_demangle(found.name(), nullptr, nullptr, &status),
                                                        std::free);
  const std::string type = status == 0 ? readable.get() : found.name();
  const std::string known(custom);
  throw UsageError("Process::start: process '" + name + "' is of the class " + type +
                   ", but what starts it is brood::CustomProcess<" + known +
                   ">, which knows the data and the run() of " + known + " only. Cure: derive " + type +
                   " from brood::CustomProcess<" + type + ">; what it shares with " + known +
                   " goes into a base of both. No process was made.");
}

MakesCurrentProcess::MakesCurrentProcess() noexcept { t_makes_current_process = true; }
MakesCurrentProcess::~MakesCurrentProcess() { t_makes_current_process = false; }

}  // namespace detail

struct Process::Impl {
  Impl(ProcessOptions chosen, detail::PackedCall packed, std::string_view named_type, bool stands_for_this_process)
      : creator(::getpid()),
        type(named_type),
        is_current(stands_for_this_process),
        path(is_current ? process::current().path : process::next_child_path()),
        options(checked(std::move(chosen))),
        call(std::move(packed)),
        name(is_current             ? process::current().name
             : options.name.empty() ? type + "-" + path
                                    : options.name),
        daemon(options.daemon.value_or(process::current().daemon)) {}

  const pid_t creator;
  const std::string type;
  const bool is_current;  ///< stands for the calling process: the object of a CustomProcess in its child
  const std::string path;
  const ProcessOptions options;
  detail::PackedCall call;  ///< until it has been started

  std::mutex mutex;  ///< guards what follows
  std::string name;
  bool daemon;
  bool starting = false;
  bool closed = false;
  std::shared_ptr<process::Child> child;

  static ProcessOptions checked(ProcessOptions options) {
    process::check(options);
    return options;
  }
  [[noreturn]] void misuse(const char* operation, const std::string& why) const {
    throw UsageError(std::string(operation) + ": process '" + name + "' " + why);
  }
  void require_usable(const char* operation) const {
    if (closed) misuse(operation, "is closed; only name, daemon and the printed form can be used");
    if (is_current) misuse(operation, "is this very process; that can be asked only by its parent");
    if (creator != ::getpid()) {
      misuse(operation, "belongs to process " + std::to_string(creator) + ", which made it; this is process " +
                            std::to_string(::getpid()) + ", which has only a copy");
    }
  }
  /// Errors: as above; NotStarted.
  std::shared_ptr<process::Child> started(const char* operation) {
    const std::lock_guard guard(mutex);
    require_usable(operation);
    if (!child) throw NotStarted(std::string(operation) + ": process '" + name + "' has not been started");
    return child;
  }
  /// Null before the start.
  std::shared_ptr<process::Child> maybe_started(const char* operation) {
    const std::lock_guard guard(mutex);
    require_usable(operation);
    return child;
  }

  /// Errors: UsageError if the child, as another user, could not open a shared object of the call.
  void require_shareable() const;
  /// What a light child loads. Errors: UsageError if the target is no part of a library; StartError.
  [[nodiscard]] std::string library() const;
  /// Takes the turn to start. Errors: UsageError.
  StartMethod begin_start();
  void end_start(std::shared_ptr<process::Child> made) noexcept;
};

std::string Process::Impl::library() const {
  std::string found = process::library_for(call, options.library.string());
  if (found.empty()) {
    misuse(
        "Process::start",
        "cannot be started by light: its target, or the code that made this Process, is part of a program, and a light "
        "child loads only a library. Cures: put the target into a shared library that is linked with brood, with a "
        "function that makes and returns the Process; or use StartMethod::spawn or StartMethod::forkserver. No process "
        "was made.");
  }
  return found;
}

void Process::Impl::require_shareable() const {
  if (call.handles.empty() || !options.user || *options.user == ::geteuid()) return;
  misuse("Process::start", "runs as user " + std::to_string(*options.user) +
                               ", who cannot open the shared objects among its arguments: they belong to user " +
                               std::to_string(::geteuid()) +
                               ", and nobody shares with another user. Cures: pass values, talk through its standard "
                               "streams (Stdio::pipe()) or a socket (brood::Listener). No process was made.");
}

StartMethod Process::Impl::begin_start() {
  const process::Identity self = process::current();
  const std::lock_guard guard(mutex);
  require_usable("Process::start");
  if (child || starting) misuse("Process::start", "was started before; make a new Process for each run");
  if (self.daemon && !process::daemon_may_have_children())
    misuse("Process::start",
           "cannot be started: this process ('" + self.name + "') is a daemon, and daemons may not have children");
  const StartMethod chosen = options.start_method ? *options.start_method : process::settled_start_method();
  process::require_entry(chosen, "Process::start: process '" + name + "'");
  starting = true;
  return chosen;
}

void Process::Impl::end_start(std::shared_ptr<process::Child> made) noexcept {
  const std::lock_guard guard(mutex);
  starting = false;
  child = std::move(made);
  if (child) call = {};
}

Process::Process(ProcessOptions options) : Process(std::move(options), detail::PackedCall{}) {}
Process::Process(ProcessOptions options, detail::PackedCall call)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(call), "Process", false)) {}
// Once: the processes that are members of this one are others.
Process::Process(ProcessOptions options, std::string_view type_name)
    : impl_(std::make_unique<Impl>(std::move(options), detail::PackedCall{}, type_name,
                                   std::exchange(t_makes_current_process, false))) {}
Process::Process(Process&& other) noexcept = default;

Process& Process::operator=(Process&& other) noexcept {
  if (this != &other) {
    finish();
    impl_ = std::move(other.impl_);
  }
  return *this;
}

Process::~Process() { finish(); }

void Process::finish() noexcept {
  if (!impl_ || !impl_->child || impl_->creator != ::getpid()) return;
  process::Child& child = *impl_->child;
  if (child.is_daemon() && !child.ended()) {
    child.ask_to_end();
    child.end_after(Deadline::never().capped(process::kGraceNs));
  }
  (void)child.wait(Deadline::never());
  (void)child.exit_code();  // reaps
}

Process::Impl& Process::impl() const {
  if (!impl_) throw UsageError("this Process was moved from; nothing can be asked of it");
  return *impl_;
}

std::optional<detail::PackedCall> Process::pack_run() const { return std::nullopt; }

void Process::start() {
  Impl& it = impl();
  const StartMethod method = it.begin_start();
  std::shared_ptr<process::Child> child;
  try {
    const process::Identity self = process::current();
    process::Order order;
    order.identity = {it.name, it.path, it.daemon, ::getpid(), self.name};
    order.authkey = process::authkey();
    // A method that was named for this one process settles nothing.
    order.start_method = get_start_method_if_set();
    // In a light process the others do not work, but for fork.
    if (method == StartMethod::light && order.start_method != StartMethod::fork) order.start_method = method;
    // Another user's domain is closed to us, and ours to him.
    if (it.options.user.value_or(::geteuid()) == ::geteuid()) order.domain = domain_directory();
    order.legacies = process::all_legacies();
    if (auto packed = pack_run()) it.call = std::move(*packed);
    it.require_shareable();
    order.call = it.call.bytes;
    const std::string library = method == StartMethod::light ? it.library() : std::string();
    child = process::start_child(method, library, order, it.options, it.daemon);
  } catch (const StartError& error) {
    it.end_start(nullptr);
    throw StartError("cannot start process '" + it.name + "': " + error.what());
  } catch (const OsError& error) {
    it.end_start(nullptr);
    if (typeid(error) != typeid(OsError)) throw;  // PermissionDenied, say, has a text of its own
    std::string why = error.what();
    // The exception adds the kernel's words once more.
    const std::string reason = ": " + error.code().message();
    if (why.ends_with(reason)) why.resize(why.size() - reason.size());
    throw OsError(error.code().value(), "cannot start process '" + it.name + "': " + why);
  } catch (...) {
    it.end_start(nullptr);
    throw;
  }
  it.end_start(std::move(child));
}

void Process::join() { (void)join_deadline(Deadline::never()); }

bool Process::join_deadline(Deadline deadline) {
  const auto child = impl().started("Process::join");
  if (!child->wait(deadline)) return false;
  (void)child->exit_code();  // reaps
  return true;
}

bool Process::is_alive() const {
  const auto child = impl().maybe_started("Process::is_alive");
  return child && !child->ended();
}

std::optional<int> Process::exitcode() const {
  const auto child = impl().maybe_started("Process::exitcode");
  return child ? child->exit_code() : std::nullopt;
}

bool Process::core_dumped() const {
  const auto child = impl().maybe_started("Process::core_dumped");
  return child && child->exit_code() && child->core_dumped();
}

std::optional<std::int64_t> Process::pid() const {
  if (impl().is_current) return ::getpid();
  const auto child = impl().maybe_started("Process::pid");
  if (!child) return std::nullopt;
  return child->pid();
}

std::string Process::name() const {
  Impl& it = impl();
  if (it.is_current) return current_process_name();
  const std::lock_guard guard(it.mutex);
  return it.name;
}

void Process::set_name(std::string_view name) {
  Impl& it = impl();
  if (it.is_current) process::rename_current(std::string(name));
  const std::lock_guard guard(it.mutex);
  it.name = name;
  if (it.child) it.child->set_name(it.name);
}

bool Process::daemon() const {
  Impl& it = impl();
  const std::lock_guard guard(it.mutex);
  return it.daemon;
}

void Process::set_daemon(bool daemon) {
  Impl& it = impl();
  const std::lock_guard guard(it.mutex);
  it.require_usable("Process::set_daemon");
  if (it.child || it.starting)
    it.misuse("Process::set_daemon", "has been started; whether it is a daemon is settled then");
  it.daemon = daemon;
}

void Process::terminate() { impl().started("Process::terminate")->send_signal(SIGTERM); }
void Process::kill() { impl().started("Process::kill")->send_signal(SIGKILL); }
void Process::interrupt() { impl().started("Process::interrupt")->send_signal(SIGINT); }

void Process::close() {
  Impl& it = impl();
  std::shared_ptr<process::Child> child;  // goes when the mutex has gone
  const std::lock_guard guard(it.mutex);
  if (it.closed) return;
  it.require_usable("Process::close");
  if (it.starting || (it.child && !it.child->ended()))
    it.misuse("Process::close", "is still running; join it first, or terminate and join it");
  if (it.child) (void)it.child->exit_code();  // reaps
  it.closed = true;
  child = std::move(it.child);
}

Descriptor Process::take_stream(std::size_t number, const char* operation) {
  base::UniqueFd taken = impl().started(operation)->take_stream(number);
  if (!taken) impl().misuse(operation, "has no pipe there (Stdio::pipe() in its options), or it was taken before");
  return Descriptor(taken.release());
}
Descriptor Process::take_stdin() { return take_stream(STDIN_FILENO, "Process::take_stdin"); }
Descriptor Process::take_stdout() { return take_stream(STDOUT_FILENO, "Process::take_stdout"); }
Descriptor Process::take_stderr() { return take_stream(STDERR_FILENO, "Process::take_stderr"); }

int Process::sentinel() const { return impl().started("Process::sentinel")->pidfd(); }

std::ostream& operator<<(std::ostream& out, const Process& process) {
  if (!process.impl_) return out << "<Process moved-from>";
  Process::Impl& it = *process.impl_;
  const std::lock_guard guard(it.mutex);
  const bool ours = it.creator == ::getpid();
  const auto code = it.child && ours ? it.child->exit_code() : std::nullopt;
  out << '<' << it.type << " name='" << (it.is_current ? current_process_name() : it.name) << "'";
  if (it.child) out << " pid=" << it.child->pid();
  out << " parent=" << (it.is_current ? process::current().parent_pid : it.creator);
  if (it.closed) out << " closed";
  else if (it.is_current) out << " started";
  else if (!ours) out << " unknown";
  else if (!it.child) out << " initial";
  else out << (code ? " stopped" : " started");
  if (code) out << " exitcode=" << process::exit_text(*code);
  return out << (it.daemon ? " daemon>" : ">");
}

}  // namespace brood::inline v1
