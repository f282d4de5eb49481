// Chunk: memory in a channel for one message, held by this process.                               (room: channel)
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace brood::inline v1 {

namespace channel {
class ChunkAccess;  // lib/channel/chunk_store.hpp
class ChunkStore;
struct ChunkRef;
}  // namespace channel

namespace detail {

/// Move-only. Goes back to the channel with its last holder; when that one dies, too. The copy that a forked child has
/// is nobody's.
class Chunk {
 public:
  using Index = std::uint32_t;

  Chunk() = default;
  Chunk(std::shared_ptr<channel::ChunkAccess> of, Index index) noexcept;
  Chunk(Chunk&& other) noexcept
      : of_(std::move(other.of_)),
        data_(std::exchange(other.data_, nullptr)),
        capacity_(std::exchange(other.capacity_, 0)),
        index_(other.index_) {}
  Chunk& operator=(Chunk&& other) noexcept {
    if (this == &other) return *this;
    give_back();
    of_ = std::move(other.of_);
    data_ = std::exchange(other.data_, nullptr);
    capacity_ = std::exchange(other.capacity_, 0);
    index_ = other.index_;
    return *this;
  }
  ~Chunk() { give_back(); }

  explicit operator bool() const noexcept { return data_ != nullptr; }
  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t capacity_bytes() const noexcept { return capacity_; }
  [[nodiscard]] Index index() const noexcept { return index_; }
  [[nodiscard]] channel::ChunkAccess& of() const noexcept { return *of_; }
  void give_back() noexcept {
    if (data_ != nullptr) give_back_now();
  }
  /// It is in a ring now.
  void forget() noexcept {
    data_ = nullptr;
    of_.reset();
  }

 private:
  void give_back_now() noexcept;
  std::shared_ptr<channel::ChunkAccess> of_;
  std::byte* data_ = nullptr;
  std::size_t capacity_ = 0;
  Index index_ = 0;
};

}  // namespace detail
}  // namespace brood::inline v1
