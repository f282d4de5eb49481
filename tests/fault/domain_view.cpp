#include "fault/domain_view.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

#include "brood/domain.hpp"
#include "fault/actor.hpp"
#include "os/process_identity.hpp"
#include "shm/segment.hpp"

namespace fault {
namespace {

using brood::registry::Registry;
using brood::registry::SlotState;
using brood::registry::StateWord;

constexpr std::size_t kMapped = brood::shm::kBodyOffset + sizeof(Registry);

std::string registry_path() { return brood::domain_directory() + "/registry"; }

bool has_ended(const brood::registry::Slot& slot) {
  const brood::os::Watch watch = brood::os::watch(slot.identity);
  return watch.state == brood::os::Watch::State::gone || (watch.pidfd && brood::os::pidfd_ended(watch.pidfd.get()));
}

template <class Found>
unsigned count_slots(const Registry& registry, SlotState state, Found found) {
  unsigned count = 0;
  const std::uint32_t used = registry.heads.slots_used.load();
  for (std::uint32_t i = 1; i < used; ++i) {
    const auto& slot = registry.slots[i];
    const StateWord word = StateWord::unpack(slot.state.load());
    count += word.state == state && found(slot, word) ? 1 : 0;
  }
  return count;
}

}  // namespace

std::vector<std::string> DomainView::objects() {
  std::vector<std::string> files;
  DIR* dir = ::opendir(brood::domain_directory().c_str());
  if (dir == nullptr) return files;
  while (const dirent* entry = ::readdir(dir)) {
    const std::string name = entry->d_name;
    if (name != "." && name != ".." && name != "registry") files.push_back(name);
  }
  ::closedir(dir);
  return files;
}

bool DomainView::has_registry() { return ::access(registry_path().c_str(), F_OK) == 0; }

void DomainView::forget() noexcept {
  if (mapped_ != nullptr)
    ::munmap(
        const_cast<void*>(static_cast<const void*>(reinterpret_cast<const char*>(mapped_) - brood::shm::kBodyOffset)),
        kMapped);
  mapped_ = nullptr;
}

const Registry* DomainView::look() {
  // Without a file lock, so that this is no attachment.
  const int fd = ::open(registry_path().c_str(), O_RDONLY | O_CLOEXEC);
  struct stat st {};
  if (fd < 0 || ::fstat(fd, &st) != 0) {
    if (fd >= 0) ::close(fd);
    forget();
    return nullptr;
  }
  if (mapped_ == nullptr || inode_ != st.st_ino) {
    forget();
    void* memory = ::mmap(nullptr, kMapped, PROT_READ, MAP_SHARED, fd, 0);
    if (memory != MAP_FAILED) {
      mapped_ = reinterpret_cast<const Registry*>(static_cast<const char*>(memory) + brood::shm::kBodyOffset);
      inode_ = st.st_ino;
    }
  }
  ::close(fd);
  return mapped_;
}

bool DomainView::has_unburied(const Registry& registry) {
  const auto ended = [](const auto& slot, StateWord) { return has_ended(slot); };
  return count_slots(registry, SlotState::alive, ended) + count_slots(registry, SlotState::leaving, ended) > 0;
}

bool DomainView::await_quiet() {
  const Registry* registry = look();
  if (registry == nullptr) return true;
  const auto is_living = [](const auto& slot, StateWord) { return !has_ended(slot); };
  if (count_slots(*registry, SlotState::alive, is_living) == 0)
    return true;  // nobody is there who could bury, or be woken
  const double until = now_ms() + static_cast<double>(kPatience.count());
  std::uint32_t seen = registry->heads.death.load();
  for (;;) {
    const timespec moment{0, 150'000};
    ::nanosleep(&moment, nullptr);
    const std::uint32_t now = registry->heads.death.load();
    if (now == seen && !has_unburied(*registry)) return true;
    seen = now;
    if (now_ms() > until) return false;
  }
}

std::uint64_t DomainView::deaths_by_tick() {
  const Registry* registry = look();
  return registry == nullptr ? 0 : registry->heads.deaths_by_tick.load();
}

std::uint32_t DomainView::slots_used() {
  const Registry* registry = look();
  return registry == nullptr ? 0 : registry->heads.slots_used.load();
}

unsigned DomainView::abandoned_slots() {
  const Registry* registry = look();
  if (registry == nullptr) return 0;
  return count_slots(*registry, SlotState::joining, [](const auto&, StateWord word) {
    return ::kill(static_cast<pid_t>(word.pid), 0) != 0 && errno == ESRCH;
  });
}

}  // namespace fault
