// Handle: the short text by which any process reopens a shared object.                            (room: base)
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>

namespace brood::inline v1 {

/// What a segment holds. The numbers are part of the segment layout: never renumber, only append.
enum class Kind : std::uint16_t {
  none = 0,
  lock = 1,
  rlock = 2,
  semaphore = 3,
  bounded_semaphore = 4,
  event = 5,
  condition = 6,
  barrier = 7,
  queue = 8,
  value = 9,
  work_queue = 10,
  priority_queue = 11,
  connection = 12,  ///< one end of a pipe
  broadcast = 13,
  chunks = 14,  ///< memory for the large messages of a queue or pipe; opened by those alone
  memory = 15,
  array = 16,
  atomic = 17,
  shareable_list = 18,
  container = 19,
  managed = 20,  ///< a reference to an object of a Manager
};

/// The word for a kind as it stands in handles: "lock", "queue", …; "none" for numbers that mean nothing.
[[nodiscard]] std::string_view to_string(Kind kind) noexcept;
/// The kind of such a word; Kind::none if there is no such kind.
[[nodiscard]] Kind kind_from(std::string_view word) noexcept;

/// Names one shared object: its kind, its identity and, for a named object, its name.
///
/// The text is printable, has no spaces and none of the characters a shell treats specially
/// (`brood:lock:9f3c2a7b11d00e42` or `brood:queue:9f3c2a7b11d00e42:jobs`), so it survives argv, the environment, files
/// and messages. A handle is a value: copying it neither opens nor pins the object.
///
/// Crash:  a handle written out as text does not keep its object alive; opening a stale one throws HandleError.
class Handle {
 public:
  Handle() = default;
  Handle(Kind kind, std::uint64_t id, std::string name = {}) : id_(id), kind_(kind), name_(std::move(name)) {}
  /// Reads a handle's text. Implicit, so that `Lock::open(argv[1])` works.
  /// Errors: HandleError that shows the text and says what is wrong with it.
  Handle(std::string_view text);                                            // NOLINT(google-explicit-constructor)
  Handle(const std::string& text) : Handle(std::string_view(text)) {}       // NOLINT(google-explicit-constructor)
  Handle(const char* text) : Handle(std::string_view(text ? text : "")) {}  // NOLINT(google-explicit-constructor)

  [[nodiscard]] Kind kind() const noexcept { return kind_; }
  /// Random identity of the object; a later object of the same name has another one.
  [[nodiscard]] std::uint64_t id() const noexcept { return id_; }
  /// The name given at create; empty for an unnamed object.
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  /// The text form, at most 180 characters.
  [[nodiscard]] std::string str() const;

  friend bool operator==(const Handle& a, const Handle& b) noexcept { return a.id_ == b.id_ && a.kind_ == b.kind_; }
  friend std::ostream& operator<<(std::ostream& out, const Handle& handle);

 private:
  std::uint64_t id_ = 0;
  Kind kind_ = Kind::none;
  std::string name_;
};

/// True if the text may name an object: 1 to 120 characters of [A-Za-z0-9_.-], not starting with a dot.
[[nodiscard]] bool is_valid_name(std::string_view name) noexcept;

}  // namespace brood::inline v1
