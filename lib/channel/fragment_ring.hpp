// FragmentRing: reading and writing fragments in the inbox of an end. Needs the right lane; see pipe_end.hpp.
#pragma once

#include <algorithm>
#include <cstring>

#include "brood/detail/copy_bytes.hpp"
#include "channel/pipe_body.hpp"

#if defined(__clang__) || defined(__GNUC__)
#define BROOD_PIPE_NO_TSAN __attribute__((no_sanitize("thread")))
#else
#define BROOD_PIPE_NO_TSAN
#endif

namespace brood::inline v1::channel {

class FragmentRing {
 public:
  explicit FragmentRing(EndBody& end) noexcept
      : data_(reinterpret_cast<std::byte*>(&end) + kInboxOffset), units_(end.inbox_units) {}

  [[nodiscard]] std::uint64_t units() const noexcept { return units_; }
  /// Payload of a full fragment: such that four of them fit.
  [[nodiscard]] std::uint64_t fragment_bytes() const noexcept {
    return std::min(fragment::kMostBytes, units_ * 2 - 8 * (1 + fragment::kSpareUnits));
  }
  [[nodiscard]] std::atomic<std::uint64_t>& header(std::uint64_t position) const noexcept {
    return *reinterpret_cast<std::atomic<std::uint64_t>*>(data_ + (position & (units_ - 1)) * 8);
  }
  /// Is there a committed fragment? A hint without a lane: the place may belong to another lap by now. Not seen by the
  /// thread sanitizer, which would rightly say that the bytes are not ours to read.
  [[nodiscard]] BROOD_PIPE_NO_TSAN bool peek(std::uint64_t position) const noexcept {
    return (__atomic_load_n(reinterpret_cast<const std::uint64_t*>(data_ + (position & (units_ - 1)) * 8),
                            __ATOMIC_ACQUIRE) &
            fragment::kCommitted) != 0;
  }

  /// `skip` bytes behind the header at `position`.
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

  /// Senders' lane held, bytes written: publishes the fragment at `tail` and moves the tail behind it.
  void commit(EndBody& end, Place tail, std::uint64_t flags, std::uint64_t size_bytes) const noexcept {
    const Place next{tail.position + fragment::units_for(size_bytes), (flags & fragment::kMore) != 0};
    // The next header must read as "not committed" before anybody can get there; our own release below publishes it.
    header(next.position).store(0, std::memory_order_relaxed);
    // SYNC fragment-ready: release publishes the bytes and the next header; pairs with the acquire in Inflow. This is the
    // commit: killed before it, nothing was sent; killed after it, the fragment is in and the next sender moves the tail.
    header(tail.position).store(fragment::kCommitted | flags | size_bytes, std::memory_order_release);
    end.tail.store(next.pack(), std::memory_order_release);
  }

 private:
  [[nodiscard]] std::size_t bytes() const noexcept { return units_ * 8; }
  [[nodiscard]] std::size_t offset(std::uint64_t position, std::size_t skip) const noexcept {
    return ((position & (units_ - 1)) * 8 + 8 + skip) & (bytes() - 1);
  }

  std::byte* data_;
  std::uint64_t units_;
};

}  // namespace brood::inline v1::channel
