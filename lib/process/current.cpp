#include "process/current.hpp"

#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <iostream>
#include <mutex>

#include "base/fork_order.hpp"
#include "brood/error.hpp"
#include "os/files.hpp"
#include "os/process_identity.hpp"
#include "os/program.hpp"
#include "process/light.hpp"
#include "registry/registry.hpp"

namespace brood::inline v1 {
namespace process {
namespace {

constexpr std::size_t kAuthkeyWords = 4;  // of 8 bytes

void print_fork_warning(const std::string& text) { std::cerr << text << std::endl; }

struct State {
  std::mutex mutex;
  Identity identity;
  pid_t owner = 0;  ///< whose identity it is; 0: the main process's
  base::UniqueFd parent_pidfd;
  std::uint64_t parent_inode = 0;
  std::optional<std::string> authkey;  ///< made when it is first asked for
  std::uint64_t children = 0;          ///< constructed so far
  std::optional<StartMethod> method;
  std::atomic<bool> armed = false;
  std::vector<std::string> arguments;
  std::string executable;
  ForkWarning fork_warning = print_fork_warning;
  bool fork_warning_given = false;
};

State& state() {
  // Never destroyed: the exit handlers of others may start processes. Its mutex is taken across fork, so that no child
  // inherits it locked by a thread that it does not have.
  static auto* const it = [] {
    auto* made = new State;
    base::hold_across_fork(base::ForkOrder::process, {[] { state().mutex.lock(); }, [] { state().mutex.unlock(); }});
    return made;
  }();
  return *it;
}

[[maybe_unused]] const State& g_made_at_load = state();

constinit std::atomic<bool> g_daemon_may_have_children = false;

}  // namespace

void let_daemon_have_children() noexcept { g_daemon_may_have_children.store(true); }
bool daemon_may_have_children() noexcept { return g_daemon_may_have_children.load(); }

Identity current() {
  const std::lock_guard guard(state().mutex);
  // What the application forked by itself is no child of ours.
  return state().owner == ::getpid() || state().owner == 0 ? state().identity : Identity();
}

void become(Identity identity, base::UniqueFd parent_pidfd) {
  registry::set_process_name(identity.name);
  auto& it = state();
  const std::lock_guard guard(it.mutex);
  it.identity = std::move(identity);
  it.owner = ::getpid();
  it.parent_pidfd = std::move(parent_pidfd);
  it.parent_inode = it.parent_pidfd ? os::pidfd_inode(it.parent_pidfd.get()) : 0;
  it.children = 0;
  it.fork_warning_given = false;
}

void rename_current(std::string name) {
  registry::set_process_name(name);
  auto& it = state();
  const std::lock_guard guard(it.mutex);
  if (it.owner != 0 && it.owner != ::getpid()) it.identity = {};  // the application forked
  it.owner = ::getpid();
  it.identity.name = std::move(name);
}

std::string authkey() {
  auto& it = state();
  const std::lock_guard guard(it.mutex);
  if (!it.authkey) {
    std::array<std::uint64_t, kAuthkeyWords> words;
    for (std::uint64_t& word : words) word = os::random_u64();
    it.authkey.emplace(reinterpret_cast<const char*>(words.data()), sizeof words);
  }
  return *it.authkey;
}

void set_authkey(std::string key) {
  auto& it = state();
  const std::lock_guard guard(it.mutex);
  it.authkey = std::move(key);
}

int parent_pidfd() {
  auto& it = state();
  const std::lock_guard guard(it.mutex);
  if (!it.parent_pidfd)
    throw OsError(EMFILE, "this process had no descriptor free for its parent when it was started (ulimit -n)");
  if (os::pidfd_inode(it.parent_pidfd.get()) != it.parent_inode)
    throw OsError(EBADF, "this process has closed the descriptor by which brood watches its parent");
  return it.parent_pidfd.get();
}

std::string next_child_path() {
  auto& it = state();
  const std::lock_guard guard(it.mutex);
  const std::string number = std::to_string(++it.children);
  return it.identity.path.empty() ? number : it.identity.path + ":" + number;
}

StartMethod settled_start_method() {
  auto& it = state();
  const std::lock_guard guard(it.mutex);
  if (!it.method) it.method = StartMethod::forkserver;
  return *it.method;
}

void inherit_start_method(std::optional<StartMethod> method) {
  const std::lock_guard guard(state().mutex);
  state().method = method;
}

void arm(std::vector<std::string> arguments) {
  auto& it = state();
  const std::lock_guard guard(it.mutex);
  it.arguments = std::move(arguments);
  it.armed = true;
}

bool is_armed() noexcept { return state().armed; }

void require_entry(StartMethod method, const std::string& subject) {
  if (method == StartMethod::fork) return;
  const LightStage stage = light_stage();
  if (stage == LightStage::loading) {
    throw UsageError(
        subject +
        " cannot be started now: this process is a light child whose library is still being loaded, and it "
        "would start one of its own as this one was. Cure: start it from the target, not from a static "
        "object. No process was made.");
  }
  if (method == StartMethod::light || (stage == LightStage::none && is_armed())) return;
  if (stage == LightStage::running) {
    throw UsageError(subject + " cannot be started by " + std::string(to_string(method)) +
                     ": this process is a light one and has no program that could be executed again. Cures: use "
                     "StartMethod::light, which is the default here; or StartMethod::fork. No process was made.");
  }
  throw UsageError(subject + " cannot be started by " + std::string(to_string(method)) +
                   ": the child executes this program again and would run main() instead of the target, since "
                   "brood::init() was not called. Cures: call brood::init(argc, argv) first in main(); or link with "
                   "brood-main (-Wl,--wrap=main), which does it; or use StartMethod::fork, or StartMethod::light for a "
                   "target in a library. No process was made.");
}

std::vector<std::string> arguments() {
  auto& it = state();
  const std::lock_guard guard(it.mutex);
  if (it.arguments.empty()) it.arguments = os::own_arguments();
  // exec with an empty argument list is refused, or patched up, by the kernel.
  return it.arguments.empty() ? std::vector<std::string>{"brood-child"} : it.arguments;
}

std::string chosen_executable() {
  auto& it = state();
  const std::lock_guard guard(it.mutex);
  return it.executable;
}

void warn_of_threads_before_fork() {
  auto& it = state();
  const unsigned others = os::foreign_threads();
  if (others == 0) return;
  ForkWarning hook;
  {
    const std::lock_guard guard(it.mutex);
    if (it.fork_warning_given) return;
    it.fork_warning_given = true;
    hook = it.fork_warning;
  }
  if (!hook) return;
  hook("brood: process " + std::to_string(::getpid()) + " has " + std::to_string(others) + " other thread" +
       (others == 1 ? "" : "s") +
       " and uses the start method fork; locks that they hold now stay locked for ever in the child. Prefer forkserver "
       "or spawn.");
}

}  // namespace process

std::string_view to_string(StartMethod method) noexcept {
  switch (method) {
    case StartMethod::fork: return "fork";
    case StartMethod::spawn: return "spawn";
    case StartMethod::forkserver: return "forkserver";
    case StartMethod::light: return "light";
  }
  return "unknown";
}

std::ostream& operator<<(std::ostream& out, StartMethod method) { return out << to_string(method); }

std::optional<StartMethod> get_start_method_if_set() {
  auto& it = process::state();
  const std::lock_guard guard(it.mutex);
  return it.method;
}

std::vector<StartMethod> get_all_start_methods() {
  return {StartMethod::forkserver, StartMethod::spawn, StartMethod::fork, StartMethod::light};
}

void reset_start_method() {
  auto& it = process::state();
  const std::lock_guard guard(it.mutex);
  it.method.reset();
}

void set_executable(const std::filesystem::path& path) {
  if (!path.empty() && !path.is_absolute())
    throw UsageError("set_executable(): the path must be absolute, got '" + path.string() + "'");
  auto& it = process::state();
  const std::lock_guard guard(it.mutex);
  it.executable = path.string();
}

StartMethod get_start_method() { return process::settled_start_method(); }

void set_start_method(StartMethod method, bool force) {
  if (method > process::kLastStartMethod)
    throw UsageError("set_start_method(): " + std::to_string(static_cast<unsigned>(method)) + " is no start method");
  auto& it = process::state();
  const std::lock_guard guard(it.mutex);
  if (it.method && !force) {
    throw UsageError("set_start_method(" + std::string(to_string(method)) +
                     "): the start method is settled already, as " + std::string(to_string(*it.method)) +
                     "; choose once, before the first start(), or force it");
  }
  it.method = method;
}

void set_fork_warning(ForkWarning hook) {
  auto& it = process::state();
  const std::lock_guard guard(it.mutex);
  it.fork_warning = std::move(hook);
}

}  // namespace brood::inline v1
