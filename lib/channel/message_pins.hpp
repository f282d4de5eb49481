// Pins: shared objects whose handles are in a message live as long as the message does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "brood/detail/copy_bytes.hpp"
#include "brood/detail/object.hpp"
#include "brood/error.hpp"
#include "brood/handle.hpp"
#include "channel/queue_body.hpp"
#include "channel/ring.hpp"
#include "shm/segment.hpp"

namespace brood::inline v1::channel {

/// The prefix of a message with handles, and the pins that it stands for.
class Pins {
 public:
  Pins(QueueBody& body, const detail::Object& queue, std::span<const Handle> handles)
      : Pins(body.pins_made, queue, handles) {}
  /// `pins_made`: messages with handles that were put into this container so far.
  Pins(std::atomic<std::uint64_t>& pins_made, const detail::Object& container, std::span<const Handle> handles)
      : queue_id_(container.id()), handles_(handles) {
    if (handles.empty()) return;
    // SYNC pins: counted before the first pin is made, so a number is never used twice, whatever dies when.
    message_ = pins_made.fetch_add(1);
    shm::header_of(container.body()).may_have_pins.store(1);
    const PinPrefix prefix{message_, handles.size()};
    add(&prefix, sizeof prefix);
    for (const Handle& handle : handles) {
      const std::uint64_t id = handle.name().empty() ? handle.id() : 0;
      add(&id, sizeof id);
    }
  }
  ~Pins() {
    for (std::size_t i = 0; i < made_; ++i) shm::unpin(queue_id_, message_, handles_[i]);
  }
  Pins(const Pins&) = delete;
  Pins& operator=(const Pins&) = delete;

  [[nodiscard]] std::span<const std::byte> prefix() const noexcept { return prefix_; }
  void make() {
    for (; made_ < handles_.size(); ++made_) shm::pin(queue_id_, message_, handles_[made_]);
  }
  void committed() noexcept { made_ = 0; }

 private:
  void add(const void* data, std::size_t size) {
    const auto* bytes = static_cast<const std::byte*>(data);
    prefix_.insert(prefix_.end(), bytes, bytes + size);
  }
  std::uint64_t queue_id_;
  std::span<const Handle> handles_;
  std::uint64_t message_ = 0;
  std::size_t made_ = 0;
  std::vector<std::byte> prefix_;
};

constexpr std::size_t pin_prefix_bytes(std::size_t handles) noexcept {
  return handles == 0 ? 0 : sizeof(PinPrefix) + handles * sizeof(std::uint64_t);
}

/// What is left to do once a record was taken and the lock is free: the objects in it need no pin any more.
struct Taken {
  std::uint64_t message = 0;
  std::vector<std::uint64_t> ids;

  /// Reads the identities in front of a message with handles; `read(skip, into, size)` copies bytes of the payload.
  /// Errors: DecodeError if they do not fit into it.
  template <class Read>
  static Taken read_pins(std::uint64_t size, Read read) {
    PinPrefix prefix{};
    if (size < sizeof prefix) throw DecodeError("a queue's record is damaged (short pin prefix)");
    read(0, &prefix, sizeof prefix);
    if (prefix.count > (size - sizeof prefix) / sizeof(std::uint64_t))
      throw DecodeError("a queue's record is damaged (pin count)");
    Taken taken{prefix.message, std::vector<std::uint64_t>(prefix.count)};
    read(sizeof prefix, taken.ids.data(), taken.ids.size() * sizeof(std::uint64_t));
    return taken;
  }
  static Taken of_record(const Ring& ring, std::uint64_t position, std::uint64_t size) {
    return read_pins(
        size, [&](std::size_t skip, void* into, std::size_t bytes) { ring.read(position, 8 + skip, into, bytes); });
  }
  static Taken parse(std::span<const std::byte> record) {
    return read_pins(record.size(), [&](std::size_t skip, void* into, std::size_t bytes) {
      detail::copy_bytes(into, record.data() + skip, bytes);
    });
  }
  void unpin(std::uint64_t queue_id) const noexcept {
    for (const std::uint64_t id : ids) {
      if (id != 0) shm::unpin(queue_id, message, Handle(Kind::none, id));
    }
  }
};

}  // namespace brood::inline v1::channel
