// The shared objects whose handles lie in a pipe's messages: kept alive by pins (room shm) until received.
#pragma once

#include <span>
#include <vector>

#include "channel/chunk_store.hpp"
#include "channel/fragment_ring.hpp"

namespace brood::inline v1::channel {

/// The prefix of a message with handles, and the pins that it stands for. Made with the senders' lane held, so messages
/// are numbered in their order.
class OutgoingPins {
 public:
  OutgoingPins(EndBody& inbox, std::uint64_t inbox_id, std::span<const Handle> handles);
  /// Takes the pins back unless committed() was called.
  ~OutgoingPins();
  OutgoingPins(const OutgoingPins&) = delete;
  OutgoingPins& operator=(const OutgoingPins&) = delete;

  [[nodiscard]] std::span<const std::byte> prefix() const noexcept { return prefix_; }
  void make();
  void committed() noexcept { made_ = 0; }

 private:
  std::uint64_t inbox_id_;
  std::span<const Handle> handles_;
  std::uint64_t message_ = 0;
  std::size_t made_ = 0;
  std::vector<std::byte> prefix_;
};

/// What is left to do once a message was taken and the lane is free: its objects need no pin any more.
struct SpentPins {
  std::uint64_t message = 0;
  std::vector<std::uint64_t> ids;

  /// Reads the prefix of a whole message; returns its length. Errors: DecodeError if it does not fit.
  std::size_t read(std::span<const std::byte> bytes);
  void drop(std::uint64_t inbox_id) const noexcept;
};

/// Senders' lane held: what a sender left that was killed inside. Moves the tail behind the last committed fragment and
/// cuts off a message that was not finished. Can be killed and done again.
void repair_senders_side(EndBody& inbox) noexcept;

/// What a fragment with fragment::kInChunk says. Errors: DecodeError.
[[nodiscard]] ChunkRef chunk_ref(EndBody& inbox, std::uint64_t position, std::uint64_t header);
/// Both lanes held: sorted, what the fragments in the inbox name. Errors: DecodeError.
[[nodiscard]] std::vector<ChunkStore::Index> chunks_in_inbox(EndBody& inbox);

}  // namespace brood::inline v1::channel
