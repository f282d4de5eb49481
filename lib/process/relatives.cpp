#include "brood/relatives.hpp"

#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <ostream>
#include <utility>
#include <vector>

#include "brood/error.hpp"
#include "os/process_identity.hpp"
#include "os/reap.hpp"
#include "process/current.hpp"

namespace brood::inline v1 {
namespace {

constexpr std::size_t kFirstCpus = 1024;
constexpr std::size_t kMostCpus = 1UL << 20;

}  // namespace

std::string CurrentProcess::name() const { return process::current().name; }
void CurrentProcess::set_name(std::string_view name) { process::rename_current(std::string(name)); }
std::int64_t CurrentProcess::pid() const noexcept { return ::getpid(); }
std::string CurrentProcess::authkey() const { return process::authkey(); }
void CurrentProcess::set_authkey(std::string key) { process::set_authkey(std::move(key)); }
bool CurrentProcess::daemon() const { return process::current().daemon; }

std::ostream& operator<<(std::ostream& out, const CurrentProcess& process) {
  const process::Identity self = process::current();
  out << "<Process name='" << self.name << "' pid=" << process.pid();
  if (self.parent_pid != 0) out << " parent=" << self.parent_pid;
  return out << " started" << (self.daemon ? " daemon>" : ">");
}

CurrentProcess current_process() noexcept { return {}; }
std::string current_process_name() { return process::current().name; }

std::string ParentProcess::name() const { return process::current().parent_name; }
std::int64_t ParentProcess::pid() const { return process::current().parent_pid; }
int ParentProcess::sentinel() const { return process::parent_pidfd(); }
bool ParentProcess::is_alive() const { return !os::pidfd_ended(process::parent_pidfd()); }
void ParentProcess::join() const { (void)join_deadline(Deadline::never()); }
bool ParentProcess::join_deadline(Deadline deadline) const { return os::wait_ended(process::parent_pidfd(), deadline); }

std::ostream& operator<<(std::ostream& out, const ParentProcess& process) {
  return out << "<ParentProcess name='" << process.name() << "' pid=" << process.pid()
             << (process.is_alive() ? " started>" : " stopped>");
}

std::optional<ParentProcess> parent_process() {
  if (process::current().parent_pid == 0) return std::nullopt;
  return ParentProcess();
}

unsigned cpu_count() {
  const long online = ::sysconf(_SC_NPROCESSORS_ONLN);
  if (online < 1) throw OsError(errno != 0 ? errno : ENOSYS, "cannot count the CPUs of this machine");
  return static_cast<unsigned>(online);
}

unsigned usable_cpu_count() {
  // The kernel refuses a mask that is shorter than its own.
  for (std::size_t cpus = kFirstCpus; cpus <= kMostCpus; cpus *= 2) {
    const std::size_t size_bytes = CPU_ALLOC_SIZE(cpus);
    std::vector<cpu_set_t> set((size_bytes + sizeof(cpu_set_t) - 1) / sizeof(cpu_set_t));
    if (::sched_getaffinity(0, size_bytes, set.data()) == 0)
      return static_cast<unsigned>(CPU_COUNT_S(size_bytes, set.data()));
    if (errno != EINVAL) break;
  }
  return cpu_count();
}

}  // namespace brood::inline v1
