#include <unistd.h>

#include <algorithm>

#include "absl/cleanup/cleanup.h"
#include "base/hex.hpp"
#include "brood/detail/copy_bytes.hpp"
#include "brood/detail/queue_core.hpp"
#include "shm/segment.hpp"

namespace brood::inline v1::detail {

void Message::clear() noexcept {
  release_objects(0);
  size_ = 0;
  items_.clear();
  chunks_.clear();
}

void Message::release_objects(std::size_t but) noexcept {
  for (std::size_t i = but; i < held_files_.size(); ++i) ::close(held_files_[i]);
  for (std::size_t i = but; i < held_ids_.size(); ++i) shm::reclaim(base::hex16(held_ids_[i]));
  held_files_.resize(but);
  held_ids_.resize(but);
}

std::byte* Message::make_room(std::size_t size_bytes) {
  if (size_ + size_bytes > capacity_) {
    const std::size_t capacity = std::max<std::size_t>({256, size_ + size_bytes, 2 * size_});
    auto larger = std::make_unique_for_overwrite<std::byte[]>(capacity);
    detail::copy_bytes(larger.get(), buffer_.get(), size_);
    buffer_ = std::move(larger);
    capacity_ = capacity;
  }
  std::byte* const place = buffer_.get() + size_;
  size_ += size_bytes;
  return place;
}

void Message::hold(std::span<const std::uint64_t> objects) {
  const std::size_t before = held_files_.size();
  // The items before this one must still be decoded: they need the descriptors that this one gets none of.
  absl::Cleanup undo = [&] { release_objects(before); };
  for (const std::uint64_t id : objects) {
    if (id == 0) continue;
    if (base::UniqueFd fd = shm::hold(id)) {
      held_ids_.push_back(id);
      held_files_.push_back(fd.release());
    }
  }
  std::move(undo).Cancel();
}

void Message::add_item(std::size_t size_bytes, std::size_t skip, std::span<const std::uint64_t> objects) {
  hold(objects);
  items_.push_back({size_ - size_bytes + skip, size_bytes - skip});
}

void Message::prepare_item(std::span<const std::uint64_t> objects) {
  if (items_.size() == items_.capacity()) items_.reserve(2 * items_.size() + 1);
  if (chunks_.size() == chunks_.capacity()) chunks_.reserve(2 * chunks_.size() + 1);
  hold(objects);
}

void Message::add_item(Chunk chunk, std::size_t skip, std::size_t size_bytes) noexcept {
  items_.push_back({0, size_bytes, chunk.data() + skip});
  chunks_.push_back(std::move(chunk));
}

}  // namespace brood::inline v1::detail
