// Segments: one file per shared object; made whole, attached by a file lock that the mapping keeps, freed by the last.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "base/unique_fd.hpp"
#include "brood/detail/object.hpp"
#include "brood/handle.hpp"

namespace brood::inline v1::shm {

/// Version of everything that lies in segments. Any change of a layout bumps it; other versions are refused at open.
inline constexpr std::uint32_t kLayoutVersion = 3;
inline constexpr std::uint64_t kMagic = 0x3130646f6f72622eULL;  // ".brood01", little endian

/// The first 192 bytes of every segment.
struct SegmentHeader {
  std::uint64_t magic;
  std::uint32_t layout_version;
  std::uint16_t kind;
  std::uint8_t word_bytes;
  std::uint8_t little_endian;
  std::uint64_t id;
  std::uint64_t size_bytes;  ///< length of the file and of each mapping
  std::uint64_t type_fingerprint;
  std::int32_t creator_pid;
  std::uint32_t creator_uid;
  std::int64_t created_unix_ns;
  /// Messages of this container below this number can not be received any more: their pins are spent.
  std::atomic<std::uint64_t> pins_spent;
  /// 1 once a message with a handle was put in: freeing this segment must look for pins.
  std::atomic<std::uint32_t> may_have_pins;
  std::uint32_t reserved;
  char type_name[64];  ///< the payload type, NUL-terminated, for messages and tools
  char spare[56];
};
inline constexpr std::size_t kBodyOffset = 192;
static_assert(sizeof(SegmentHeader) == kBodyOffset && kBodyOffset % 64 == 0);

/// Bytes that every body of a kind has: a smaller segment is damaged, and would be a way to SIGBUS. The rooms that know
/// the bodies assert these numbers.
constexpr std::size_t smallest_body(Kind kind) noexcept {
  switch (kind) {
    case Kind::lock:
    case Kind::rlock:
    case Kind::event: return 64;
    case Kind::semaphore:
    case Kind::bounded_semaphore: return 16448;
    case Kind::condition: return 524416;
    case Kind::barrier: return 33216;
    case Kind::queue:
    case Kind::work_queue:
    case Kind::priority_queue: return 3904 + 4096;
    case Kind::value: return 128;
    case Kind::broadcast: return 3904 + 4096 + 4096;
    case Kind::connection: return 3904 + 4096;
    case Kind::chunks: return 3904 + 4096;
    case Kind::memory:
    case Kind::atomic: return 64;
    case Kind::array: return 256;
    case Kind::shareable_list: return 128;
    case Kind::managed: return 1024;
    case Kind::container: return 3904 + 4096;
    case Kind::none: break;
  }
  return 0;
}

/// What a payload is; the defaults are for objects without one.
struct Payload {
  std::uint64_t fingerprint = 0;
  std::string type_name = {};
};

/// How a segment is mapped. What is mapped read-only the kernel protects against every store of this process.
enum class Access : std::uint8_t { read_write, read_only };

struct CreateRequest {
  Kind kind = Kind::none;
  std::string_view name = {};      ///< empty: unnamed, freed with its last user
  std::size_t body_bytes = 0;      ///< mapped
  std::size_t reserved_bytes = 0;  ///< of these, reserved at once; 0 = all
  Payload payload = {};
};

/// Makes a segment, lets `init` fill its zeroed body, then publishes it whole.
/// Errors: NoSpace, PermissionDenied, AlreadyExists, UsageError (bad name), OsError.
[[nodiscard]] detail::Object create(const CreateRequest& request, const std::function<void(void* body)>& init);

/// Attaches to an existing object.
/// Errors: HandleError (stale), TypeMismatch (kind, payload, layout), PermissionDenied, OsError.
[[nodiscard]] detail::Object open(const Handle& handle, Kind kind, const Payload& payload = {},
                                  Access access = Access::read_write);

/// By name instead of by handle. `open_named` throws HandleError if there is none.
[[nodiscard]] detail::Object open_named(std::string_view name, Kind kind, const Payload& payload = {},
                                        Access access = Access::read_write);
[[nodiscard]] detail::Object open_or_create(const CreateRequest& request, const std::function<void(void* body)>& init);
/// Takes the name away; users keep the object until they close it. False if there was none of that name.
/// Errors: TypeMismatch if the name belongs to another kind of object.
bool remove_named(std::string_view name, Kind kind);

/// For tests: where the identities of new objects come from, until it is set back to null. A second object of one
/// identity would be the first: one that is taken is drawn anew.
using DrawIdentity = std::uint64_t (*)();
void set_draw_identity(DrawIdentity draw) noexcept;

/// The name given to a named create(). Errors: UsageError if it is empty: an unnamed object is made by its constructor.
[[nodiscard]] std::string_view given_name(std::string_view name);

/// The header in front of a body.
[[nodiscard]] inline SegmentHeader& header_of(void* body) noexcept {
  return *reinterpret_cast<SegmentHeader*>(static_cast<char*>(body) - kBodyOffset);
}

/// Attaches to the domain's registry, a segment of kind none that every process shares; made if there is none.
///
/// One that no living process has mapped is not made anew as long as the domain holds anything else: named objects, and
/// what killed processes left, hold identities of it. `alone` says that nobody else has it.
[[nodiscard]] detail::Object join_registry(std::size_t body_bytes, std::size_t reserved_bytes,
                                           const std::function<void(void* body)>& init, bool& alone);

/// Tries to free an unnamed object's file, if nobody uses it; the registry's only if nothing else is left in the
/// domain. True if it was freed now.
///
/// What is still used is tried again later, together with other attempts and at exit: its users may be killed.
bool reclaim(const std::string& file) noexcept;

/// Whether an unnamed object's file is there.
[[nodiscard]] bool exists(std::uint64_t id) noexcept;
/// Keeps an unnamed object alive without mapping it, while a receiver is between taking a message and opening what came
/// with it. Empty if the object does not exist. Errors: OsError.
[[nodiscard]] base::UniqueFd hold(std::uint64_t id);

/// True if a handle of the unnamed object lies in a message (there is a pin), or came out of one and is being opened
/// (somebody holds it): it may get one more user although nobody who has it open sends it on. Pins that are spent count
/// until gc() has dropped them. Who receives a message holds the object before the pin goes, so there is no instant
/// between the two.
[[nodiscard]] bool in_transit(std::uint64_t id) noexcept;

/// Called after a pin, a hold or an attachment of an object of `kind` has gone that others still have open: one of those
/// may wait for exactly this. The body's first page is mapped for the time of the call; no object of ours need exist.
using LookAgain = void (*)(void* body);
void set_look_again(Kind kind, LookAgain look_again) noexcept;

/// Kinds whose payload may name other objects. A removed one keeps a file as long as somebody uses it.
constexpr bool may_hold_handles(Kind kind) noexcept {
  return kind == Kind::queue || kind == Kind::work_queue || kind == Kind::priority_queue || kind == Kind::connection ||
         kind == Kind::broadcast;
}
/// Kinds of which each attachment also maps the whole file copy-on-write: what is written there, nobody else sees. It
/// cannot be made later, since an attachment keeps no descriptor, and the file may have no name any more.
constexpr bool has_private_view(Kind kind) noexcept { return kind == Kind::container; }
/// Of an object of such a kind: where its body is in the private view.
[[nodiscard]] void* private_body(const detail::Object& object);

/// The file that the last user of an attachment frees; empty for a named object, which stays until remove().
[[nodiscard]] std::string file_to_reclaim(const detail::Attachment& attachment);

/// Keeps `target` alive for message `message` of `container`; no-op for named objects, which live until removed.
/// Errors: HandleError if the target does not exist any more.
void pin(std::uint64_t container, std::uint64_t message, const Handle& target);
/// Removes the pins of a container, but not those of the messages in `kept` (sorted), and what only they kept alive.
/// Returns how many.
std::size_t drop_pins(std::uint64_t container, std::span<const std::uint64_t> kept) noexcept;
/// The same for all pins of a container, and takes their unnamed targets out of the domain: who has one open keeps it,
/// and nobody can open it any more.
void retire_pinned(std::uint64_t container) noexcept;
/// What gc() calls for a container with pins whose messages may still be in it: after a killing inside put or get only
/// the room that knows what a container looks like can tell. Drops what is not needed; returns how many pins that were.
/// The fingerprint is that of the container's payload.
/// Several rooms or types may set one each; all are asked, and those that do not know the kind return 0.
using TidyPins = std::size_t (*)(const Handle& container, std::uint64_t fingerprint);
void set_tidy_pins(TidyPins tidy) noexcept;
/// The message was received or discarded.
void unpin(std::uint64_t container, std::uint64_t message, const Handle& target) noexcept;

}  // namespace brood::inline v1::shm

namespace brood::inline v1::detail {

/// One mapping. Lives on the heap of the process; linked so that exit() can let go of what was never closed.
struct Attachment {
  void* base = nullptr;
  void* private_view = nullptr;  ///< the same file once more, copy-on-write; see shm::has_private_view
  std::size_t size_bytes = 0;
  Kind kind = Kind::none;
  std::uint64_t id = 0;
  std::string name;
  std::string file;  ///< in the domain directory; freed with the last user unless the object is named
  Attachment* previous = nullptr;
  Attachment* next = nullptr;
};

}  // namespace brood::inline v1::detail
