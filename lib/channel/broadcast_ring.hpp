// BroadcastRing: records in a broadcast's ring, read and written in place.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "brood/detail/copy_bytes.hpp"
#include "channel/broadcast_body.hpp"

namespace brood::inline v1::channel {

/// A record is a header of one unit as in a queue's ring (record::k…), the item's sequence number, and the payload,
/// padded to whole units. The header behind the last record is zero.
namespace broadcast_record {
inline constexpr std::uint64_t kHeadUnits = 2;
constexpr std::uint64_t units_for(std::uint64_t payload_bytes) noexcept { return kHeadUnits + (payload_bytes + 7) / 8; }
}  // namespace broadcast_record

class BroadcastRing {
 public:
  explicit BroadcastRing(BroadcastBody& body) noexcept
      : data_(reinterpret_cast<std::byte*>(&body) + broadcast_ring_offset(body.most_readers)),
        units_(body.ring_units),
        drops_(body.slow_reader != 0) {}

  [[nodiscard]] std::uint64_t units() const noexcept { return units_; }
  [[nodiscard]] std::byte* data() const noexcept { return data_; }

  [[nodiscard]] std::atomic<std::uint64_t>& word(std::uint64_t position) const noexcept {
    return *reinterpret_cast<std::atomic<std::uint64_t>*>(data_ + (position & (units_ - 1)) * 8);
  }
  [[nodiscard]] std::uint64_t header(std::uint64_t position) const noexcept {
    // SYNC broadcast-ready: acquire, see append.
    return word(position).load(std::memory_order_acquire);
  }
  [[nodiscard]] std::uint64_t sequence(std::uint64_t position) const noexcept {
    return word(position + 1).load(std::memory_order_acquire);
  }

  /// Where the writer waits for readers, nobody writes what somebody reads, and bytes are copied as such. Where it does
  /// not, a reader may read what is being overwritten: then every access is to a whole atomic word.
  ///
  /// SYNC overrun: the writer stores `oldest` first and the words with release; a reader that sees (acquire) one such
  /// word also sees that `oldest` has passed it, and throws away what it has copied.
  void write(std::uint64_t position, std::span<const std::byte> from) const noexcept {
    if (!drops_) return write_bytes(position, from);
    std::size_t done = 0;
    for (; done + 8 <= from.size(); done += 8) {
      std::uint64_t value = 0;
      std::memcpy(&value, from.data() + done, 8);
      word(position++).store(value, std::memory_order_release);
    }
    if (done == from.size()) return;
    std::uint64_t last = 0;
    std::memcpy(&last, from.data() + done, from.size() - done);
    word(position).store(last, std::memory_order_release);
  }
  void read(std::uint64_t position, std::span<std::byte> into) const noexcept {
    if (!drops_) return read_bytes(position, into);
    std::size_t done = 0;
    for (; done + 8 <= into.size(); done += 8) {
      const std::uint64_t value = word(position++).load(std::memory_order_acquire);
      std::memcpy(into.data() + done, &value, 8);
    }
    if (done == into.size()) return;
    const std::uint64_t last = word(position).load(std::memory_order_acquire);
    std::memcpy(into.data() + done, &last, into.size() - done);
  }

 private:
  void write_bytes(std::uint64_t position, std::span<const std::byte> from) const noexcept {
    if (from.empty()) return;
    const std::size_t at = (position & (units_ - 1)) * 8;
    const std::size_t first = std::min<std::size_t>(from.size(), units_ * 8 - at);
    detail::copy_bytes(data_ + at, from.data(), first);
    if (first < from.size()) detail::copy_bytes(data_, from.data() + first, from.size() - first);
  }
  void read_bytes(std::uint64_t position, std::span<std::byte> into) const noexcept {
    if (into.empty()) return;
    const std::size_t at = (position & (units_ - 1)) * 8;
    const std::size_t first = std::min<std::size_t>(into.size(), units_ * 8 - at);
    detail::copy_bytes(into.data(), data_ + at, first);
    if (first < into.size()) detail::copy_bytes(into.data() + first, data_, into.size() - first);
  }

  std::byte* data_;
  std::uint64_t units_;
  bool drops_;
};

}  // namespace brood::inline v1::channel
