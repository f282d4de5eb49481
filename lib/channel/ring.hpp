// Ring: reading and writing records in the memory behind a QueueBody. Needs the right lock held; see queue_core.cpp.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "brood/detail/copy_bytes.hpp"
#include "channel/queue_body.hpp"
#include "shm/segment.hpp"

#if defined(__clang__) || defined(__GNUC__)
#define BROOD_NO_TSAN __attribute__((no_sanitize("thread")))
#else
#define BROOD_NO_TSAN
#endif

namespace brood::inline v1::channel {

/// The ring begins on a page of its own.
inline constexpr std::size_t kRingOffset = 4096 - shm::kBodyOffset;
static_assert(sizeof(QueueBody) <= kRingOffset);
static_assert(kRingOffset + 4096 == shm::smallest_body(Kind::queue));

class Ring {
 public:
  explicit Ring(QueueBody& body) noexcept
      : data_(reinterpret_cast<std::byte*>(&body) + kRingOffset),
        units_(body.ring_units.load(std::memory_order_acquire)) {}

  [[nodiscard]] std::uint64_t units() const noexcept { return units_; }
  [[nodiscard]] std::byte* data() const noexcept { return data_; }

  [[nodiscard]] std::atomic<std::uint64_t>& header(std::uint64_t position) const noexcept {
    return *reinterpret_cast<std::atomic<std::uint64_t>*>(data_ + offset(position));
  }
  /// Is there a committed record? A hint without any lock: the ring may be growing, and the place may belong to another
  /// lap by now. Not seen by the thread sanitizer, which would rightly say that the bytes are not ours to read.
  [[nodiscard]] BROOD_NO_TSAN bool peek(std::uint64_t position) const noexcept {
    return (__atomic_load_n(reinterpret_cast<const std::uint64_t*>(data_ + offset(position)), __ATOMIC_ACQUIRE) &
            record::kCommitted) != 0;
  }

  void write(std::uint64_t position, std::size_t skip, const void* from, std::size_t size_bytes) const noexcept {
    const std::size_t at = offset(position, skip);
    if (size_bytes == 8 && at % 8 == 0) {  // the commonest size; a unit never wraps
      std::memcpy(data_ + at, from, 8);
      return;
    }
    const std::size_t first = std::min(size_bytes, bytes() - at);
    detail::copy_bytes(data_ + at, from, first);
    if (first < size_bytes) detail::copy_bytes(data_, static_cast<const std::byte*>(from) + first, size_bytes - first);
  }
  void read(std::uint64_t position, std::size_t skip, void* into, std::size_t size_bytes) const noexcept {
    const std::size_t at = offset(position, skip);
    if (size_bytes == 8 && at % 8 == 0) {
      std::memcpy(into, data_ + at, 8);
      return;
    }
    const std::size_t first = std::min(size_bytes, bytes() - at);
    detail::copy_bytes(into, data_ + at, first);
    if (first < size_bytes) detail::copy_bytes(static_cast<std::byte*>(into) + first, data_, size_bytes - first);
  }

  /// Copies everything from `from` to `to` to where a ring of `units` has it. All of that lies behind the present ring,
  /// so nothing is overwritten, and until ring_units changes nothing has happened.
  void copy_to_larger(std::uint64_t units, std::uint64_t from, std::uint64_t length) const noexcept {
    while (length > 0) {
      const std::uint64_t source = from & (units_ - 1);
      const std::uint64_t target = from & (units - 1);
      const std::uint64_t run = std::min({length, units_ - source});
      if (source != target) detail::copy_bytes(data_ + target * 8, data_ + source * 8, run * 8);
      from = (from + run) & Cursor::kPositionMask;
      length -= run;
    }
  }

 private:
  [[nodiscard]] std::size_t bytes() const noexcept { return units_ * 8; }
  [[nodiscard]] std::size_t offset(std::uint64_t position, std::size_t skip = 0) const noexcept {
    return ((position & (units_ - 1)) * 8 + skip) & (bytes() - 1);
  }

  std::byte* data_;
  std::uint64_t units_;
};

}  // namespace brood::inline v1::channel
