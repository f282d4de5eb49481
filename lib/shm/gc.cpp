#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/interprocess/mapped_region.hpp>
#include <cerrno>
#include <cstdlib>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/hex.hpp"
#include "base/unique_fd.hpp"
#include "brood/domain.hpp"
#include "brood/error.hpp"
#include "os/files.hpp"
#include "shm/attachments.hpp"
#include "shm/domain.hpp"
#include "shm/mappable.hpp"
#include "shm/segment.hpp"

namespace brood::inline v1::shm {
namespace {

constexpr std::size_t kMostTidiers = 4;
constinit std::array<std::atomic<TidyPins>, kMostTidiers> g_tidy_pins{};

constexpr std::size_t kFirstPage = 4096;

struct Watcher {
  std::atomic<LookAgain> look_again;
  std::atomic<Kind> kind;
};
/// One kind has users that wait for others to go; more get more entries.
constinit Watcher g_watcher{};

/// Nothing: it cannot be read (out of descriptors?), which says nothing about what is in it.
std::optional<std::vector<std::string>> read_domain() {
  DIR* dir = ::opendir(domain_directory().c_str());
  if (dir == nullptr) return std::nullopt;
  std::vector<std::string> files;
  while (const dirent* entry = ::readdir(dir)) {
    if (entry->d_name[0] != '.') files.emplace_back(entry->d_name);
  }
  ::closedir(dir);
  return files;
}
std::vector<std::string> list_domain() { return read_domain().value_or(std::vector<std::string>()); }

/// The fields of a container that decide about its pins; `exists` is false once nobody can receive from it.
struct Container {
  bool exists = false;
  std::uint64_t pins_spent = 0;
  Handle handle;
  std::uint64_t fingerprint = 0;
};

bool read_header(int fd, SegmentHeader& header) noexcept {
  return ::pread(fd, static_cast<void*>(&header), sizeof header, 0) == static_cast<ssize_t>(sizeof header) &&
         header.magic == kMagic;
}

/// Named containers are found by listing, since a pin knows only the identity.
Container find_container(std::uint64_t id, const std::vector<std::string>& files) {
  const auto look = [&](const std::string& file, Container& out) {
    const base::UniqueFd fd(os::open_file(domain_path(file).c_str(), false));
    if (!fd && fd.get() != -ENOENT) {
      out = {true, 0, {}, 0};  // it is there and cannot be opened now (out of descriptors?): its pins stay
      return true;
    }
    SegmentHeader header{};
    if (!fd || !read_header(fd.get(), header) || header.id != id) return false;
    const std::string name = file.front() == '=' ? file.substr(1) : std::string();
    out = {true, header.pins_spent.load(std::memory_order_relaxed), Handle(static_cast<Kind>(header.kind), id, name),
           header.type_fingerprint};
    return true;
  };
  Container out;
  if (look(base::hex16(id), out)) return out;
  for (const auto& file : files) {
    if (file.front() == '=' && look(file, out)) return out;
  }
  return out;
}

/// A pin stands for a message that can still be received, as far as its container's header tells.
bool may_be_needed(const Container& container, const PinName& pin) noexcept {
  return container.exists && pin.message >= container.pins_spent;
}

/// Takes the exclusive lock of a file that nobody maps and removes it. Returns its bytes, or nothing.
struct Freed {
  bool done = false;
  std::size_t bytes = 0;
  std::uint64_t id = 0;
  bool had_pins = false;
};
/// Somebody has the file open: tells those who may wait for a user to go.
void let_look_again(int fd) noexcept {
  const LookAgain look_again = g_watcher.look_again.load();
  SegmentHeader header{};
  if (look_again == nullptr || !read_header(fd, header) ||
      header.kind != static_cast<std::uint16_t>(g_watcher.kind.load()))
    return;
  try {
    const boost::interprocess::mapped_region region(Mappable(fd), boost::interprocess::read_write, 0, kFirstPage);
    look_again(static_cast<char*>(region.get_address()) + kBodyOffset);
  } catch (const boost::interprocess::interprocess_exception&) {
    return;  // no address space for a page: whoever waits looks again after the next death
  }
}

enum class Refused : std::uint8_t { no, in_use, out_of_descriptors };

Freed free_file(const std::string& path, Refused& refused) noexcept {
  Freed out;
  refused = Refused::no;
  const base::UniqueFd fd(os::open_file(path.c_str(), true));
  if (!fd) {
    if (fd.get() == -EMFILE || fd.get() == -ENFILE) refused = Refused::out_of_descriptors;
    return out;
  }
  if (os::lock_exclusive(fd.get()) != 0) {
    refused = Refused::in_use;
    let_look_again(fd.get());
    return out;
  }
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0 || st.st_nlink == 0) return out;
  if (st.st_nlink > 1) return out;  // a handle is in transit
  // With the exclusive lock held nobody can join, and who has not joined can neither make nor open an object.
  if (path == domain_path(kRegistryFile)) {
    const auto files = read_domain();
    if (!files || files->size() > 1) return out;
  }
  SegmentHeader header{};
  if (!read_header(fd.get(), header) || header.magic != kMagic) return out;  // no file of ours
  out.had_pins = header.may_have_pins.load(std::memory_order_relaxed) != 0;
  out.id = header.id;
  if (::unlink(path.c_str()) != 0) return out;
  out.done = true;
  out.bytes = static_cast<std::size_t>(st.st_blocks) * 512;
  return out;
}

bool reclaim_once(const std::string& file) noexcept {
  Refused refused{};
  const Freed freed = free_file(domain_path(file), refused);
  refused != Refused::no&& file != kRegistryFile ? remember_orphan(file) : forget_orphan(file);
  if (freed.done && freed.had_pins) (void)drop_pins(freed.id, {});
  return freed.done;
}

}  // namespace

bool reclaim(const std::string& file) noexcept {
  const bool freed = reclaim_once(file);
  for (const auto& orphan : take_orphans_due()) reclaim_once(orphan);
  return freed;
}

void set_tidy_pins(TidyPins tidy) noexcept {
  for (auto& place : g_tidy_pins) {
    TidyPins free = nullptr;
    if (place.compare_exchange_strong(free, tidy) || free == tidy) return;
  }
  std::abort();  // a program with more types of containers than this library has
}

void set_look_again(Kind kind, LookAgain look_again) noexcept {
  g_watcher.kind.store(kind);
  g_watcher.look_again.store(look_again);
}

std::size_t drop_pins(std::uint64_t container, std::span<const std::uint64_t> kept) noexcept {
  std::size_t dropped = 0;
  for (const auto& file : list_domain()) {
    const auto name = parse_pin_file(file);
    if (!name || name->container != container) continue;
    if (std::binary_search(kept.begin(), kept.end(), name->message)) continue;
    dropped += ::unlink(domain_path(file).c_str()) == 0 ? 1 : 0;
    reclaim(base::hex16(name->target));
  }
  return dropped;
}

void retire_pinned(std::uint64_t container) noexcept {
  for (const auto& file : list_domain()) {
    const auto name = parse_pin_file(file);
    if (!name || name->container != container) continue;
    // First its own name: without it nobody can come any more, and without the pin it goes with its last user.
    ::unlink(domain_path(base::hex16(name->target)).c_str());
    ::unlink(domain_path(file).c_str());
  }
}

void pin(std::uint64_t container, std::uint64_t message, const Handle& target) {
  if (!target.name().empty()) return;
  const std::string from = object_path(target);
  const std::string to = domain_path(pin_file({container, message, target.id()}));
  // EEXIST: the same object twice in one message; one pin serves both.
  if (::link(from.c_str(), to.c_str()) == 0 || errno == EEXIST) return;
  if (errno == ENOENT) throw HandleError(target.str() + ": cannot be sent, the object does not exist any more");
  if (errno == ENOSPC)
    throw NoSpace("no room in " + domain_directory() + " for the mark that keeps " + target.str() +
                  " alive in a message");
  throw OsError(errno, "cannot pin " + target.str());
}

void unpin(std::uint64_t container, std::uint64_t message, const Handle& target) noexcept {
  if (!target.name().empty()) return;
  ::unlink(domain_path(pin_file({container, message, target.id()})).c_str());
  reclaim(base::hex16(target.id()));
}

}  // namespace brood::inline v1::shm

namespace brood::inline v1 {

namespace shm {
namespace {

/// Frees what nobody uses, as far as files and their headers tell.
void free_unused(GcReport& report) {
  Refused refused{};
  bool more = true;
  while (more) {  // an object freed in one round may have held the pins of others
    more = false;
    const auto files = list_domain();
    for (const auto& file : files) {
      if (const auto name = parse_pin_file(file)) {
        if (may_be_needed(find_container(name->container, files), *name)) continue;
        if (::unlink(domain_path(file).c_str()) != 0) continue;
        ++report.pins;
        more = true;
        continue;
      }
      if (!base::parse_hex16(file)) continue;  // the registry, a named object, or no file of ours
      const Freed freed = free_file(domain_path(file), refused);
      if (!freed.done) continue;
      report.bytes += freed.bytes;
      ++report.objects;
      more = more || freed.had_pins;
    }
  }
}

/// Lets each container with pins that may be needed look whether they are. True if some were not.
bool tidy_containers(GcReport& report) {
  std::vector<std::uint64_t> seen;
  std::size_t dropped = 0;
  const auto files = list_domain();
  for (const auto& file : files) {
    const auto name = parse_pin_file(file);
    if (!name || std::find(seen.begin(), seen.end(), name->container) != seen.end()) continue;
    const Container container = find_container(name->container, files);
    if (!may_be_needed(container, *name)) continue;
    seen.push_back(name->container);
    for (const auto& tidy : g_tidy_pins) {
      if (const TidyPins ask = tidy.load()) dropped += ask(container.handle, container.fingerprint);
    }
  }
  report.pins += dropped;
  return dropped != 0;
}

}  // namespace
}  // namespace shm

GcReport gc() {
  GcReport report;
  if (!shm::domain_exists()) return report;
  do {
    shm::free_unused(report);
  } while (shm::tidy_containers(report));
  shm::reclaim(std::string(shm::kRegistryFile));
  shm::remove_domain_if_empty();
  return report;
}

}  // namespace brood::inline v1
