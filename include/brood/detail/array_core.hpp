// ArrayCore: a lock and elements of one size; Array<T>, RawArray<T> and RawValue<T> add the type.  (room: shared)
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <string_view>
#include <utility>

#include "brood/deadline.hpp"
#include "brood/detail/object.hpp"
#include "brood/detail/type_id.hpp"
#include "brood/handle.hpp"
#include "brood/rlock.hpp"

namespace brood::inline v1::detail {

/// Where the lock of an array is. The numbers lie in segments.
enum class LockUse : std::uint32_t {
  none = 0,   ///< raw
  own = 1,    ///< in the array's segment
  given = 2,  ///< an RLock that others use as well
};

/// The hold on an array's lock. Move-only; gives the lock back at the end of its scope. Empty for raw arrays.
class ArrayHold {
 public:
  ArrayHold() = default;
  ArrayHold(ArrayHold&& other) noexcept : lock_(std::exchange(other.lock_, nullptr)) {}
  ArrayHold& operator=(ArrayHold&& other) noexcept {
    release();
    lock_ = std::exchange(other.lock_, nullptr);
    return *this;
  }
  ~ArrayHold() { release(); }
  void release() noexcept;

 private:
  friend class ArrayCore;
  explicit ArrayHold(void* lock) noexcept : lock_(lock) {}
  void* lock_ = nullptr;
};

class ArrayCore {
 public:
  /// Bytes of the body in front of the first element, which is aligned to kAlignment.
  static constexpr std::size_t kElementsOffset = 256;
  static constexpr std::size_t kAlignment = 64;

  struct Type {
    PayloadType payload;
    std::size_t element_bytes;
  };
  /// What to make.
  struct Plan {
    bool named = false;
    std::string_view name = {};
    bool open_existing = false;  ///< of that name and size, if there is one
    std::int64_t count = 0;
    const void* initial = nullptr;  ///< bytes of all elements; null: zeros
    OwnerDeath on_owner_death = OwnerDeath::report;
    const RLock* given = nullptr;
    bool raw = false;
  };
  /// How to open.
  enum class As : std::uint8_t { locked, raw, read_only };

  [[nodiscard]] static ArrayCore make(const Type& type, const Plan& plan);
  [[nodiscard]] static ArrayCore open(const Handle& handle, const Type& type, As as);
  [[nodiscard]] static ArrayCore open_named(std::string_view name, const Type& type, As as);

  /// Errors: UsageError if this object was moved from.
  [[nodiscard]] std::byte* data() const { return static_cast<std::byte*>(object_.body()) + kElementsOffset; }
  [[nodiscard]] std::size_t size() const {
    (void)object_.body();
    return size_;
  }
  /// Counted from the end if negative. Errors: UsageError.
  [[nodiscard]] std::size_t index(std::int64_t given) const {
    const auto count = static_cast<std::int64_t>(size());
    const std::int64_t from_front = given < 0 ? given + count : given;
    if (from_front < 0 || from_front >= count) [[unlikely]]
      throw_index(given);
    return static_cast<std::size_t>(from_front);
  }
  /// A slice as Python takes it: negative ends count from the end, and none lies outside.
  struct Slice {
    std::size_t from;
    std::size_t count;
  };
  [[nodiscard]] Slice slice(std::int64_t from, std::int64_t to) const;
  /// Errors: UsageError unless `count` elements fit there.
  [[nodiscard]] std::size_t index_for(std::int64_t from, std::size_t count) const;
  [[noreturn]] void throw_slice_length(std::int64_t from, std::int64_t to, std::size_t wanted, std::size_t given) const;
  [[noreturn]] void throw_text_length(std::size_t given) const;
  [[noreturn]] void throw_damaged_element() const;

  /// Empty after the deadline. Errors: OwnerDied.
  [[nodiscard]] bool lock_before(Deadline deadline, ArrayHold& hold) const;
  [[nodiscard]] ArrayHold lock() const {
    ArrayHold hold;
    (void)lock_before(Deadline::never(), hold);
    return hold;
  }
  [[nodiscard]] bool locked() const;
  bool recover(const std::function<void()>& repair) const;

  [[nodiscard]] Handle handle() const { return object_.handle(); }
  /// `<Array brood:array:… of 10 double owner=none>`
  void print(std::ostream& out, std::string_view word, const PayloadType& payload) const;

 private:
  ArrayCore(Object object, const Type& type, As as);
  [[noreturn]] void throw_index(std::int64_t given) const;
  Object object_;
  Object given_lock_;  ///< open only if the array was made with one
  std::size_t size_ = 0;
  bool has_lock_ = false;  ///< and we may take it
};

bool remove_array(std::string_view name);

}  // namespace brood::inline v1::detail
