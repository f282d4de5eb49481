#include "shm/segment.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <limits>

#include "base/hex.hpp"
#include "base/unique_fd.hpp"
#include "brood/deadline.hpp"
#include "brood/detail/object.hpp"
#include "brood/domain.hpp"
#include "brood/error.hpp"
#include "os/files.hpp"
#include "shm/attachments.hpp"
#include "shm/domain.hpp"

namespace brood::inline v1::shm {
namespace {

/// How long an opener waits for somebody who is just freeing the object; a stopped one must not hold us for ever.
constexpr std::int64_t kReclaimerPatienceNs = 2'000'000'000;

std::string quoted(Kind kind) { return kind == Kind::none ? "registry" : std::string(to_string(kind)); }

std::string describe(const Handle& handle) {
  if (handle.kind() == Kind::none) return "the registry of the domain " + domain_directory();
  return handle.id() == 0 ? "the " + quoted(handle.kind()) + " named '" + handle.name() + "'" : handle.str();
}

[[noreturn]] void throw_descriptors(int error, const std::string& what) {
  const bool limit = error == EMFILE || error == ENFILE;
  throw OsError(
      error, what + (limit ? " (no free file descriptor: a shared object needs one for an instant while it is made or "
                             "opened; close some, or raise `ulimit -n`)"
                           : ""));
}

/// The limit of the process, not of the filesystem.
[[noreturn]] void throw_file_limit(Kind kind, std::size_t wanted) {
  throw NoSpace("no room for a " + quoted(kind) + " of " + std::to_string(wanted) +
                    " bytes: this process may not make files as large (`ulimit -f`, RLIMIT_FSIZE); raise the limit",
                EFBIG);
}

[[noreturn]] void throw_no_space(Kind kind, std::size_t wanted) {
  const std::string& where = domain_directory();
  throw NoSpace("no room for a " + quoted(kind) + " of " + std::to_string(wanted) +
                " bytes: " + std::to_string(os::free_bytes(where.c_str())) + " bytes are free in " + where +
                "; enlarge it (`mount -o remount,size=…`, docker --shm-size), free objects (brood::gc()), or set "
                "BROOD_DOMAIN to a larger tmpfs");
}

void fill_header(SegmentHeader& header, const CreateRequest& request, std::uint64_t id, std::size_t total) {
  header.magic = kMagic;
  header.layout_version = kLayoutVersion;
  header.kind = static_cast<std::uint16_t>(request.kind);
  header.word_bytes = sizeof(void*);
  header.little_endian = std::endian::native == std::endian::little ? 1 : 0;
  header.id = id;
  header.size_bytes = total;
  header.type_fingerprint = request.payload.fingerprint;
  header.creator_pid = ::getpid();
  header.creator_uid = ::geteuid();
  header.created_unix_ns =
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  const auto shown = request.payload.type_name.substr(0, sizeof header.type_name - 1);
  shown.copy(header.type_name, shown.size());
}

std::string type_name_of(const SegmentHeader& header) {
  return {header.type_name, ::strnlen(header.type_name, sizeof header.type_name)};
}

/// Everything open() promises to check, on a header that anybody of this user may have written.
void check(const SegmentHeader& header, std::size_t file_bytes, const Handle& handle, Kind kind,
           const Payload& payload) {
  const std::string what = describe(handle);
  if (header.magic != kMagic) throw TypeMismatch(what + ": the file is no brood segment (wrong magic); remove it");
  if (header.layout_version != kLayoutVersion) {
    throw TypeMismatch(what + ": its segment has layout version " + std::to_string(header.layout_version) +
                       ", this program speaks " + std::to_string(kLayoutVersion) +
                       "; build all programs of a domain with the same brood");
  }
  if (header.word_bytes != sizeof(void*) ||
      header.little_endian != (std::endian::native == std::endian::little ? 1 : 0)) {
    throw TypeMismatch(what + ": its segment was made by a program with " + std::to_string(header.word_bytes * 8) +
                       "-bit words or another byte order; this one has " + std::to_string(sizeof(void*) * 8) +
                       "-bit words");
  }
  if (header.size_bytes != file_bytes)
    throw TypeMismatch(what + ": its segment is damaged (" + std::to_string(file_bytes) + " bytes, header says " +
                       std::to_string(header.size_bytes) + ")");
  const auto found = static_cast<Kind>(header.kind);
  if (found != kind) throw TypeMismatch(what + " is of kind " + quoted(found) + ", not " + quoted(kind));
  if (file_bytes < kBodyOffset + smallest_body(kind)) {
    throw TypeMismatch(what + ": its segment is damaged (" + std::to_string(file_bytes) + " bytes are too few for a " +
                       quoted(kind) + ")");
  }
  if (handle.id() != 0 && header.id != handle.id())
    throw HandleError(what + ": stale handle, the name now belongs to a newer object");
  if (header.type_fingerprint != payload.fingerprint) {
    throw TypeMismatch(what + " holds '" + type_name_of(header) + "', it was opened for '" +
                       std::string(payload.type_name) +
                       "'; open it with the type it was made for (same fields, same build of both programs)");
  }
}

/// Opens and share-locks the file; nothing if there is none (any more).
base::UniqueFd open_locked(const std::string& path, const std::string& what, Access access = Access::read_write) {
  const Deadline patience = Deadline::after(std::chrono::nanoseconds(kReclaimerPatienceNs));
  for (;;) {
    // A mapping of a descriptor that cannot write can never be made writable.
    base::UniqueFd fd(os::open_file(path.c_str(), access == Access::read_write));
    if (fd.get() == -ENOENT || fd.get() == -ENXIO) return base::UniqueFd();
    if (fd.get() == -EACCES || fd.get() == -ELOOP || fd.get() == -EPERM)
      throw PermissionDenied(what + ": no permission to open " + path);
    if (!fd) throw_descriptors(-fd.get(), "cannot open " + what);
    const int locked = os::lock_shared(fd.get());
    if (locked == 0) {
      struct stat st {};
      if (::fstat(fd.get(), &st) != 0) throw OsError(errno, "fstat " + path);
      if (st.st_nlink == 0) continue;  // freed between our open and our lock; the name may have a new object by now
      if (st.st_uid != ::geteuid()) {
        throw PermissionDenied(what + ": " + path + " belongs to user " + std::to_string(st.st_uid) +
                               ", this process runs as " + std::to_string(::geteuid()));
      }
      return fd;
    }
    if (locked != -EWOULDBLOCK) throw OsError(-locked, "flock " + path);
    if (patience.passed())
      throw HandleError(what + ": somebody is freeing this object and does not finish (a stopped process?)");
    const timespec pause{0, 50'000};  // the exclusive lock is held for a few system calls; there is nothing to sleep on
    ::nanosleep(&pause, nullptr);
  }
}

detail::Object attach_checked(int fd, const Handle& handle, Kind kind, const Payload& payload, std::string file,
                              Access access = Access::read_write) {
  const std::string what = describe(handle);
  struct stat st {};
  if (::fstat(fd, &st) != 0) throw OsError(errno, "fstat of " + what);
  const auto file_bytes = static_cast<std::size_t>(st.st_size);
  if (file_bytes < kBodyOffset) throw TypeMismatch(what + ": the file is too short for a brood segment; remove it");
  // Read before mapping: the header says whether the mapping would make sense at all.
  alignas(SegmentHeader) std::byte raw[sizeof(SegmentHeader)];
  if (::pread(fd, raw, sizeof raw, 0) != static_cast<ssize_t>(sizeof raw))
    throw OsError(errno, "cannot read the header of " + what);
  const auto& header = *reinterpret_cast<const SegmentHeader*>(raw);
  check(header, file_bytes, handle, kind, payload);
  register_exit_handler();
  return detail::Object(attach(fd, file_bytes, kind, header.id, handle.name(),
                               file.empty() ? object_file(header.id, handle.name()) : std::move(file), access));
}

detail::Object open_file_of(const Handle& handle, Kind kind, const Payload& payload, bool may_be_missing,
                            Access access = Access::read_write) {
  const std::string what = describe(handle);
  const base::UniqueFd fd = open_locked(object_path(handle), what, access);
  if (fd) return attach_checked(fd.get(), handle, kind, payload, {}, access);
  if (may_be_missing) return {};
  const char* const why =
      handle.name().empty() ? "it was freed with its last user" : "it was removed, or not made yet (open_or_create())";
  throw HandleError(what + ": there is no such object in the domain " + domain_directory() + "; " + why +
                    ", or it lives in another domain (set BROOD_DOMAIN)");
}

void check_name(std::string_view name) {
  if (is_valid_name(name)) return;
  constexpr std::size_t kShown = 80;
  throw UsageError("'" + std::string(name.substr(0, kShown)) + (name.size() > kShown ? "…" : "") +
                   "' cannot name a shared object: use 1 to 120 characters of [A-Za-z0-9_.-], not starting with a dot");
}

base::UniqueFd open_unnamed_file(Kind kind, std::size_t total, const std::string& what) {
  for (;;) {
    ensure_domain();
    base::UniqueFd fd(os::open_unnamed(domain_directory().c_str()));
    if (fd) return fd;
    switch (-fd.get()) {
      case ENOENT: continue;  // the last process of the domain just removed the directory
      case EOPNOTSUPP:
      case EISDIR:
        throw OsError(EOPNOTSUPP, "the filesystem of " + domain_directory() +
                                      " has no unnamed files; set BROOD_DOMAIN to a directory on a tmpfs");
      case ENOSPC: throw_no_space(kind, total);
      case EACCES:
      case EPERM:
      case EROFS:
        throw PermissionDenied("cannot make " + what + ": this process may not write into the domain directory " +
                               domain_directory() +
                               "; let it (mode 0700), or set BROOD_DOMAIN to another directory on a tmpfs");
      default: throw_descriptors(-fd.get(), "cannot make " + what);
    }
  }
}

/// No file can be longer, whatever the filesystem.
constexpr std::size_t kMostBodyBytes = std::numeric_limits<std::int64_t>::max() / 2;

constinit std::atomic<DrawIdentity> g_draw_identity = nullptr;
std::uint64_t draw_identity() {
  const DrawIdentity draw = g_draw_identity.load();
  return (draw != nullptr ? draw() : os::random_u64()) | 1;  // never 0
}

/// Makes the file whole, then gives it its name. Empty if the name is taken.
detail::Object make_and_publish(const CreateRequest& request, std::uint64_t id, const std::string& file,
                                const std::function<void(void* body)>& init) {
  register_exit_handler();
  if (request.body_bytes > kMostBodyBytes) throw_no_space(request.kind, request.body_bytes);
  const std::size_t total = os::round_up(kBodyOffset + request.body_bytes, os::page_size());
  const std::size_t reserved =
      request.reserved_bytes == 0
          ? total
          : std::min(total, os::round_up(kBodyOffset + request.reserved_bytes, os::page_size()));
  const std::string what =
      "a " + quoted(request.kind) + (request.name.empty() ? "" : " named '" + std::string(request.name) + "'");

  const base::UniqueFd fd = open_unnamed_file(request.kind, total, what);
  if (const int error = os::reserve(fd.get(), total, reserved); error != 0) {
    if (error == -ENOSPC || error == -ENOMEM) throw_no_space(request.kind, reserved);
    if (error == -EFBIG) throw_file_limit(request.kind, reserved);
    throw OsError(-error, "cannot reserve " + std::to_string(reserved) + " bytes for " + what);
  }
  if (const int error = os::lock_shared(fd.get()); error != 0) throw OsError(-error, "flock of a new segment");
  detail::Object made(attach(fd.get(), total, request.kind, id, std::string(request.name), file));
  fill_header(header_of(made.body()), request, id, total);
  init(made.body());
  for (;;) {
    const int error = os::publish(fd.get(), domain_path(file).c_str());
    if (error == 0) return made;
    if (error == -EEXIST) return {};
    if (error == -ENOSPC) throw_no_space(request.kind, total);
    if (error != -ENOENT) throw OsError(-error, "cannot publish " + what + " in " + domain_directory());
    // -ENOENT: the directory was removed as empty under us; an unnamed file does not keep it. Link the file into a new
    // one.
    if (::access("/proc/self/fd", X_OK) != 0) {
      throw OsError(ENOENT, "cannot publish " + what +
                                " without /proc (the kernel lets only root name a file by its "
                                "descriptor before Linux 6.10); mount it");
    }
    ensure_domain();
  }
}

/// True if no living process has the file mapped.
bool nobody_has_mapped(const std::string& path) {
  const base::UniqueFd fd(os::open_file(path.c_str(), true));
  return fd && os::lock_exclusive(fd.get()) == 0;
}

}  // namespace

detail::Object create(const CreateRequest& request, const std::function<void(void* body)>& init) {
  if (!request.name.empty()) check_name(request.name);
  for (;;) {
    const std::uint64_t id = draw_identity();
    if (detail::Object made = make_and_publish(request, id, object_file(id, request.name), init)) return made;
    if (request.name.empty()) continue;  // somebody has this identity
    throw AlreadyExists("there is already an object named '" + std::string(request.name) + "' in " +
                        domain_directory() + "; use open_or_create() to share it, or remove() it first");
  }
}

detail::Object join_registry(std::size_t body_bytes, std::size_t reserved_bytes,
                             const std::function<void(void* body)>& init, bool& alone) {
  const std::string path = domain_path(kRegistryFile);
  const CreateRequest request{.kind = Kind::none, .body_bytes = body_bytes, .reserved_bytes = reserved_bytes};
  for (;;) {
    ensure_domain();
    (void)reclaim(std::string(kRegistryFile));
    alone = nobody_has_mapped(path);
    if (const base::UniqueFd fd = open_locked(path, "the registry of the domain " + domain_directory())) {
      struct stat st {};
      if (::fstat(fd.get(), &st) != 0 || static_cast<std::size_t>(st.st_size) < kBodyOffset + body_bytes) {
        throw TypeMismatch("the registry of the domain " + domain_directory() +
                           " is damaged: it is too short; end all processes of the domain and remove the directory");
      }
      return attach_checked(fd.get(), Handle(Kind::none, 0), Kind::none, {}, std::string(kRegistryFile));
    }
    alone = true;
    if (detail::Object made = make_and_publish(request, os::random_u64() | 1, std::string(kRegistryFile), init))
      return made;
  }
}

void set_draw_identity(DrawIdentity draw) noexcept { g_draw_identity.store(draw); }

detail::Object open(const Handle& handle, Kind kind, const Payload& payload, Access access) {
  if (handle.kind() != kind) {
    throw TypeMismatch(handle.str() + " is a handle of kind " + quoted(handle.kind()) + ", it was opened as " +
                       quoted(kind));
  }
  return open_file_of(handle, kind, payload, false, access);
}

detail::Object open_named(std::string_view name, Kind kind, const Payload& payload, Access access) {
  check_name(name);
  return open_file_of(Handle(kind, 0, std::string(name)), kind, payload, false, access);
}

detail::Object open_or_create(const CreateRequest& request, const std::function<void(void* body)>& init) {
  check_name(request.name);
  const Handle wanted(request.kind, 0, std::string(request.name));
  for (;;) {
    if (detail::Object found = open_file_of(wanted, request.kind, request.payload, true)) return found;
    try {
      return create(request, init);
    } catch (const AlreadyExists&) {
      continue;  // somebody else made it between our look and our publish: open theirs
    }
  }
}

bool exists(std::uint64_t id) noexcept { return ::access(domain_path(object_file(id, {})).c_str(), F_OK) == 0; }

base::UniqueFd hold(std::uint64_t id) {
  const std::string file = object_file(id, {});
  base::UniqueFd fd = open_locked(domain_path(file), "object " + file);
  if (fd) {
    if (const int error = os::mark_kept(fd.get()); error != 0) throw OsError(-error, "cannot hold object " + file);
    // Opening it will take one more. Better told now, while the message can stay where it is.
    if (const base::UniqueFd spare(os::duplicate(fd.get())); !spare) {
      throw OsError(-spare.get(),
                    "cannot hold object " + file +
                        " (too few free descriptors: a message needs one for each shared object in it, and one "
                        "more, while it is received; close some, or raise `ulimit -n`)");
    }
  }
  return fd;
}

bool in_transit(std::uint64_t id) noexcept {
  const base::UniqueFd fd(os::open_file(domain_path(object_file(id, {})).c_str(), false));
  if (!fd) return fd.get() != -ENOENT;  // out of descriptors: it may be
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0 || st.st_nlink > 1) return true;
  // After the look for pins: a receiver holds it first and drops the pin then.
  return os::is_kept_elsewhere(fd.get()) != 0;
}

void* private_body(const detail::Object& object) {
  (void)object.body();  // throws if it was moved from
  return static_cast<char*>(object.attachment().private_view) + kBodyOffset;
}

std::string_view given_name(std::string_view name) {
  check_name(name);
  return name;
}

bool remove_named(std::string_view name, Kind kind) {
  check_name(name);
  const std::string path = domain_path(object_file(0, name));
  const base::UniqueFd fd(os::open_file(path.c_str(), false));
  if (fd.get() == -ENOENT) return false;
  if (!fd) throw OsError(-fd.get(), "cannot remove the object named '" + std::string(name) + "'");
  alignas(SegmentHeader) std::byte raw[sizeof(SegmentHeader)];
  const bool whole = ::pread(fd.get(), raw, sizeof raw, 0) == static_cast<ssize_t>(sizeof raw);
  const auto& header = *reinterpret_cast<const SegmentHeader*>(raw);
  if (whole && header.magic == kMagic && static_cast<Kind>(header.kind) != kind) {
    throw TypeMismatch("'" + std::string(name) + "' is of kind " + quoted(static_cast<Kind>(header.kind)) + ", not " +
                       quoted(kind) + "; it was not removed");
  }
  // What others still use stays under its identity if handles may lie in it: their pins stand for that file.
  const std::string unnamed = base::hex16(header.id);
  const bool stays = whole && header.magic == kMagic && may_hold_handles(kind);
  if ((stays ? ::rename(path.c_str(), domain_path(unnamed).c_str()) : ::unlink(path.c_str())) != 0) {
    if (errno == ENOENT) return false;
    throw OsError(errno, "cannot remove the object named '" + std::string(name) + "'");
  }
  if (stays) (void)reclaim(unnamed);
  (void)reclaim(std::string(kRegistryFile));
  remove_domain_if_empty();
  return true;
}

}  // namespace brood::inline v1::shm

namespace brood::inline v1::detail {

Object::Object(Attachment* attachment) noexcept
    : attachment_(attachment), body_(static_cast<char*>(attachment->base) + shm::kBodyOffset), id_(attachment->id) {}

Handle Object::handle() const {
  if (!attachment_) throw_moved_from();
  return {attachment_->kind, attachment_->id, attachment_->name};
}

void Object::throw_moved_from() {
  throw UsageError("this shared object was moved from; use the object it was moved to");
}

void AttachmentCloser::operator()(Attachment* attachment) const noexcept {
  const std::string file = shm::file_to_reclaim(*attachment);
  shm::detach(attachment);
  if (!file.empty()) shm::reclaim(file);
}

}  // namespace brood::inline v1::detail
