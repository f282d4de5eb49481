// PipeEnd: one end of a pipe in shared memory, as one process has it open. See README.md for layout and crash story.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "brood/detail/object.hpp"
#include "channel/chunk_store.hpp"
#include "channel/fragment_ring.hpp"
#include "channel/holders.hpp"
#include "channel/lane.hpp"
#include "channel/pipe_pins.hpp"
#include "channel/transport.hpp"
#include "registry/sleeper.hpp"
#include "sync/spin.hpp"

namespace brood::inline v1::channel {

class PipeEnd final : public Transport {
 public:
  using Type = detail::ConnectionCore::Type;
  using Ends = std::pair<std::unique_ptr<Transport>, std::unique_ptr<Transport>>;
  [[nodiscard]] static Ends make(const PipeOptions& options, const Type& type);
  [[nodiscard]] static std::unique_ptr<Transport> open(const Handle& handle, const Type& type);

  /// Becomes a holder of `mine`. `peer` is empty if the other end's segment is gone.
  PipeEnd(detail::Object mine, detail::Object peer);
  ~PipeEnd() override;

  bool send(std::span<const std::byte> payload, std::span<const Handle> handles, Deadline deadline) override;
  [[nodiscard]] detail::Chunk allocate(std::size_t size_bytes, Deadline deadline) override;
  bool send_chunk(detail::Chunk& chunk, std::size_t skip, std::size_t size_bytes, Deadline deadline) override;
  bool receive(detail::Landing& landing, Deadline deadline) override;
  bool poll(Deadline deadline) override;
  [[nodiscard]] bool readable_now() override;
  [[nodiscard]] Bell arm() override;
  [[nodiscard]] bool watch_message(Bell& bell, Search& search) override;
  [[nodiscard]] std::uint64_t taken_mark() override;
  [[nodiscard]] bool watch_taken(Bell& bell, Search& search, std::uint64_t mark) override;
  [[nodiscard]] bool fits_at_once(std::size_t payload_bytes, std::size_t handles) const override;
  [[nodiscard]] Handle handle() override;
  [[nodiscard]] Handle name() const override { return mine_object_.handle(); }

 private:
  // --- pipe_end.cpp: holding, and the other end
  /// A process that uses the end holds it: also a forked child, from its first use.
  void here() {
    if (static_cast<registry::Id>(enrolment_.load(std::memory_order_relaxed) >> 32) != registry::self()) [[unlikely]]
      enrol();
  }
  void enrol();
  [[nodiscard]] bool peer_has_ended() const noexcept {
    return peer_ == nullptr || (peer_->gate.load(std::memory_order_acquire) & 1) != 0;
  }
  /// A glance, for every message: false means that the other end was held by a living process a moment ago.
  [[nodiscard]] bool peer_may_have_gone() const noexcept {
    if (peer_has_ended() || registry::death_word().load(std::memory_order_relaxed) !=
                                deaths_seen_.load(std::memory_order_relaxed)) [[unlikely]]
      return true;
    const registry::Id holder = watched_.load(std::memory_order_relaxed);
    return holder == registry::kNobody || registry::marked_by_kernel(registry::slot(holder));
  }
  /// Search (transport.hpp): a handle in transit may lie in the hands of a dead process, or of one whose death is proved
  /// but whose files the kernel has yet to close, which nobody is told of: for a while after a death, sleeps are cut
  /// short and the tidying is tried again.
  /// Looks through its holders; with a search, also after what the dead have left. Errors: what gc() throws.
  bool peer_is_gone(Search* search);
  [[nodiscard]] sync::LockContext context() const noexcept { return {Kind::connection, mine_object_.id()}; }
  [[nodiscard]] bool asymmetric() const noexcept { return mine_.asymmetric != 0; }
  [[nodiscard]] std::uint32_t arm(WakeWord& word) const noexcept {
    const std::uint32_t armed = word.arm();
    if (asymmetric()) os::barrier_for_all();
    return armed;
  }
  /// Spin, then sleep until `ready()`. `look(search)` is asked before each sleep and may say that waiting is over, too: for
  /// what nobody tells us. False if the deadline passed.
  template <class Ready, class Look>
  bool wait(WakeWord& word, registry::Operation operation, Deadline deadline, sync::SpinBudget& budget, Ready ready,
            Look look, WakeWord* also = nullptr) {
    sync::Spinner spinner(budget);
    do {
      if (ready()) {
        spinner.succeeded();
        return true;
      }
    } while (spinner.again());
    std::optional<registry::Sleeper> sleeper;
    for (Search search;;) {
      const std::uint32_t deaths = registry::Sleeper::deaths();
      const bool was_cut = search.pause_ns != 0;
      // Armed before the looks: who changes what `look` sees rings the bell as well (look_again in holders.hpp).
      const os::WordSeen second{also != nullptr ? &also->word : nullptr, also != nullptr ? also->arm() : 0};
      const std::uint32_t armed = arm(word);
      if (look(search) || ready()) return true;
      if (!sleeper || was_cut || search.pause_ns != 0) {
        sleeper.emplace(operation, Kind::connection, mine_object_.id(),
                        search.pause_ns != 0 ? deadline.capped(search.pause_ns) : deadline);
      }
      const auto woken =
          sleeper->sleep(word.word, armed, deaths, registry::kNobody, also != nullptr ? &second : nullptr);
      if (ready()) return true;
      if (woken == registry::Sleeper::Woken::timed_out && deadline.passed()) return false;
    }
  }

  // --- pipe_send.cpp
  [[noreturn]] void throw_broken_pipe() const;
  void repair_peer_inbox();
  /// Lane held. False if there is no room for so many units before the deadline. Errors: BrokenPipe.
  bool make_room(std::uint64_t units, Deadline deadline) {
    const std::uint64_t used = Place::unpack(peer_->tail.load(std::memory_order_relaxed)).position -
                               peer_->known_head.load(std::memory_order_relaxed);
    return used + units + fragment::kSpareUnits <= peer_->inbox_units || make_room_slowly(units, deadline);
  }
  bool make_room_slowly(std::uint64_t units, Deadline deadline);
  bool wait_for_room(std::uint64_t units, Deadline deadline);
  bool send_large(std::span<const std::byte> payload, std::span<const Handle> handles, Deadline deadline);
  bool settle_chunks(Deadline deadline);
  bool send_fragments(std::span<const std::span<const std::byte>> parts, std::uint64_t total, std::uint64_t flags,
                      Deadline deadline);

  // --- pipe_take.cpp and pipe_receive.cpp
  /// A message of several fragments while it comes in.
  struct Inflow {
    Token token = 0;  ///< 0: none has begun
    std::uint64_t total = 0;
    std::uint64_t have = 0;
    bool has_pins = false;
    bool is_direct = false;
  };
  enum class Next : std::uint8_t {
    nothing,    ///< not yet
    others,     ///< another receiver is in the middle of a message
    end,        ///< and never will be
    broken,     ///< our message was cut off, its sender is dead
    withdrawn,  ///< our message was taken back
    fragment,   ///< there is one
  };
  struct Look {
    Next next;
    Place at;
    std::uint64_t header;
  };
  enum class Took : std::uint8_t { whole, too_long, broken, end, nothing, others };
  [[nodiscard]] Look look(Token mine, bool over);
  Took take(detail::Landing& landing, Inflow& in, SpentPins& pins, bool over);
  bool take_at_once(detail::Landing& landing);
  bool spin_for_message() noexcept;
  bool receive_slowly(detail::Landing& landing, Deadline deadline);
  Took take_single(detail::Landing& landing, const Look& found, SpentPins& pins);
  bool begin(detail::Landing& landing, Inflow& in, const Look& found);
  bool append(detail::Landing& landing, Inflow& in, const Look& found, SpentPins& pins);
  std::byte* place(detail::Landing& landing, Inflow& in, std::size_t more);
  bool too_long(detail::Landing& landing, const Look& found, std::uint64_t total) const;
  Took take_chunk(detail::Landing& landing, const Look& found);
  void note_taken(const SpentPins& pins) noexcept;
  /// A sender may wait for room, and other receivers for the end of our message.
  void tell_taken(bool finished) noexcept {
    if (!asymmetric()) mine_.taken.word.fetch_or(0);
    os::no_reorder();
    // SYNC pipe-bell: see ring().
    if ((mine_.taken.word.load(std::memory_order_relaxed) & 1) != 0) [[unlikely]]
      tell_taken_slowly(finished);
  }
  void tell_taken_slowly(bool finished) noexcept;
  bool wait_to_receive(Took because, Token mine, Deadline deadline);
  [[nodiscard]] bool may_take(Token mine) const noexcept;
  bool look_round(Search& search);
  void park(detail::Landing& landing, const Inflow& in);
  bool adopt(detail::Landing& landing, Inflow& in);
  void forget(Token token) noexcept;
  [[noreturn]] void throw_broken_message() const;
  [[noreturn]] void throw_end();
  [[noreturn]] void throw_damaged(const std::string& what) const;
  enum class Readable : std::uint8_t { yes, not_yet, others };
  Readable readable(bool over, Deadline deadline);

  detail::Object mine_object_;
  detail::Object peer_object_;
  EndBody& mine_;
  EndBody* peer_;
  // What is written in place: in our inbox, and in the other end's.
  std::shared_ptr<ChunkAccess> in_chunks_ = std::make_shared<ChunkAccess>();
  std::shared_ptr<ChunkAccess> out_chunks_ = std::make_shared<ChunkAccess>();
  std::atomic<std::uint64_t> enrolment_ = 0;  ///< process << 32 | index of its record
  // What is known of the other end. Guesses: a stale one costs a look.
  std::atomic<registry::Id> watched_ = registry::kNobody;
  std::atomic<std::uint32_t> deaths_seen_ = 0;
  /// The beginning of a message for which a timed receive ran out of time; whoever takes the token owns the rest.
  std::atomic<Token> parked_token_ = 0;
  Inflow parked_in_;
  detail::Received parked_;
  std::atomic<bool> told_reset_ = false;
};

}  // namespace brood::inline v1::channel
