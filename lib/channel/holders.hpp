// Holders: who has an end of a pipe open, and whether it has ended.
#pragma once

#include "brood/detail/object.hpp"
#include "channel/pipe_body.hpp"

namespace brood::inline v1::channel {

/// The records of one end. No lock: a record is one word, empty or the process that holds the end by it, and what lies
/// between two stores of a killed process is right as it is.
///
/// An end *ends*, for good, when nobody holds it any more: no record of a living process, no handle in transit (room
/// shm). Whoever looks may find that out and say it. The gate decides between him and one who comes in that moment: a
/// newcomer writes its record, then counts itself at the gate; the one who says the end reads the gate, then the records,
/// then looks for handles in transit, and says it only if nobody was counted meanwhile. A receiver of a handle drops
/// what kept the end in transit when it is counted, not before.
class Holders {
 public:
  explicit Holders(const detail::Object& end) : end_(*static_cast<EndBody*>(end.body())), id_(end.id()) {}

  /// One more holder: this process. Returns the record's index. Errors: ConnectionClosed if the end has ended; OsError if
  /// there are no records left; NoSpace.
  [[nodiscard]] std::uint32_t add(registry::Id me);
  /// Takes back what add() gave. Does not end the end.
  void remove(std::uint32_t index, registry::Id me) noexcept;

  [[nodiscard]] bool ended() const noexcept { return (end_.gate.load(std::memory_order_acquire) & 1) != 0; }
  /// A process that holds the end and is not known to be dead; nobody if there is none.
  [[nodiscard]] registry::Id somebody() const noexcept;
  /// Says the end if it is so, and tells everybody. `thorough`: messages that were lost with a killed process keep
  /// nothing in transit; that takes a gc(), and throws what gc() throws. True if it has ended, now or before.
  bool end_if_unheld(bool thorough);

 private:
  Holder& record(std::uint32_t index) const noexcept { return holders_of(end_)[index]; }
  bool claim(std::uint32_t index, registry::Id me) const;
  std::uint32_t find_record(registry::Id me) const;
  bool is_unheld(bool thorough) const;

  EndBody& end_;
  std::uint64_t id_;
};

/// What brood's other rooms could not know: wakes those who wait for this end's users to go. For shm::set_look_again.
void look_again(void* body) noexcept;

}  // namespace brood::inline v1::channel
