#include "channel/chunk_store.hpp"

#include <algorithm>
#include <bit>
#include <chrono>
#include <string>

#include "brood/domain.hpp"
#include "brood/error.hpp"
#include "channel/side_lock.hpp"
#include "os/files.hpp"
#include "registry/objects.hpp"
#include "shm/segment.hpp"

namespace brood::inline v1::channel {
namespace {

using Index = ChunkStore::Index;
using registry::Id;

constexpr unsigned kSmallestBits = 12;
constexpr std::uint64_t kSmallest = std::uint64_t{1} << kSmallestBits;
constexpr std::uint32_t kMostOfAClass = 1U << 16;
constexpr unsigned kClassShift = 24;
/// Larger chunks do not keep their memory once they are free.
constexpr std::uint64_t kKeptBytes = std::uint64_t{32} << 20;

unsigned which_class(std::uint64_t bytes) noexcept {
  return static_cast<unsigned>(std::bit_width(std::max(bytes, kSmallest) - 1)) - kSmallestBits;
}
std::uint64_t class_bytes(unsigned which) noexcept { return kSmallest << which; }

/// Fills in the classes for a budget. Returns the length of the body.
std::uint64_t lay_out(ChunkStoreBody& body, std::uint64_t budget) noexcept {
  body.budget_bytes = budget;
  body.classes_used = which_class(budget) + 1;
  std::uint64_t end = kChunkEntries;
  for (unsigned i = 0; i < body.classes_used; ++i) {
    ChunkClass& one = body.classes[i];
    // Twice as many as full ones fit: each may be little more than half full.
    one.most = static_cast<std::uint32_t>(std::min<std::uint64_t>(2 * budget / class_bytes(i), kMostOfAClass));
    one.entries = end;
    end = one.entries + os::round_up(one.most * sizeof(ChunkEntry), kSmallest);
  }
  for (unsigned i = 0; i < body.classes_used; ++i) {
    body.classes[i].data = end;
    end += body.classes[i].most * class_bytes(i);
  }
  return end;
}

std::uint64_t body_bytes_for(std::uint64_t budget) {
  const auto model = std::make_unique<ChunkStoreBody>();
  return lay_out(*model, budget);
}

}  // namespace

detail::Object ChunkStore::make(std::uint64_t budget_bytes) {
  const shm::CreateRequest request{
      .kind = Kind::chunks, .body_bytes = body_bytes_for(budget_bytes), .reserved_bytes = kChunkEntries};
  return registry::create(request, [&](void* memory) {
    auto* body = static_cast<ChunkStoreBody*>(memory);
    body->lock.policy.store(static_cast<std::uint32_t>(OwnerDeath::heal));
    lay_out(*body, budget_bytes);
    body->deaths_seen.store(registry::death_word().load());
  });
}

ChunkStore::ChunkStore(std::uint64_t id) : ChunkStore(registry::open(Handle(Kind::chunks, id), Kind::chunks)) {
  // Looked at before it is trusted.
  const std::uint64_t budget = body_.budget_bytes;
  const std::uint64_t body_bytes = shm::header_of(object_.body()).size_bytes - shm::kBodyOffset;
  bool is_sound = std::has_single_bit(budget) && budget >= kSmallest && which_class(budget) < body_.classes.size() &&
                  body_bytes_for(budget) <= body_bytes;
  if (is_sound) {
    const auto model = std::make_unique<ChunkStoreBody>();
    (void)lay_out(*model, budget);
    is_sound = body_.classes_used == model->classes_used;
    for (unsigned i = 0; is_sound && i < body_.classes_used; ++i) {
      const ChunkClass& one = body_.classes[i];
      const ChunkClass& wanted = model->classes[i];
      is_sound = one.entries == wanted.entries && one.data == wanted.data && one.most == wanted.most &&
                 one.used.load() <= one.most;
    }
  }
  if (!is_sound) throw TypeMismatch(object_.handle().str() + ": its segment is damaged (chunks do not fit)");
}

// --- what the lock guards ----------------------------------------------------------------------------------------------

/// The lock, for an instant. Not had if somebody stopped inside for longer than the caller wants to wait.
class ChunkStore::Locked {
 public:
  Locked(ChunkStore& store, Deadline deadline)
      : store_(store),
        got_(sync::acquire(store.body_.lock, {Kind::chunks, store.object_.id()},
                           deadline.is_poll() ? Deadline::after(kPollPatience) : deadline)) {
    if (got_ == sync::Acquired::healed) store.recount();
  }
  ~Locked() {
    if (*this) sync::release(store_.body_.lock);
  }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;
  explicit operator bool() const noexcept { return got_ != sync::Acquired::timed_out; }

 private:
  ChunkStore& store_;
  sync::Acquired got_;
};

ChunkClass& ChunkStore::class_of(Index index) const noexcept { return body_.classes[index >> kClassShift]; }
ChunkEntry& ChunkStore::entry(Index index) const noexcept {
  auto* const entries = reinterpret_cast<ChunkEntry*>(reinterpret_cast<std::byte*>(&body_) + class_of(index).entries);
  return entries[index & ((1U << kClassShift) - 1)];
}
std::byte* ChunkStore::data(Index index) const noexcept {
  return reinterpret_cast<std::byte*>(&body_) + class_of(index).data +
         (index & ((1U << kClassShift) - 1)) * capacity_bytes(index);
}
std::uint64_t ChunkStore::capacity_bytes(Index index) const noexcept { return class_bytes(index >> kClassShift); }

template <class Visit>
void ChunkStore::for_each_used(Visit visit) const noexcept {
  for (unsigned which = 0; which < body_.classes_used; ++which) {
    const std::uint32_t used = body_.classes[which].used.load();
    for (std::uint32_t i = 0; i < used; ++i) visit(static_cast<Index>(which << kClassShift | i));
  }
}

/// Killed in the middle of growing: the sum is counted anew.
void ChunkStore::recount() noexcept {
  std::uint64_t in_memory = 0;
  for_each_used([&](Index index) { in_memory += entry(index).counted.load(); });
  body_.in_memory.store(in_memory);
}

bool ChunkStore::try_hold(Index index, Id me) noexcept {
  std::uint64_t free = ChunkWord{}.pack();
  std::atomic<std::uint64_t>& word = entry(index).word;
  // SYNC chunk-free: acquire pairs with the release in make_free; what the last owner did with it lies behind us.
  return word.load() == free && word.compare_exchange_strong(free, ChunkWord{me, ChunkPhase::held}.pack());
}

/// Without the lock: a free chunk that counts with enough bytes already. From where the last one was found.
std::optional<Index> ChunkStore::find_free(unsigned which, std::uint64_t bytes, Id me) noexcept {
  const std::uint32_t used = body_.classes[which].used.load(std::memory_order_acquire);
  const std::uint32_t from = found_at_[which].load(std::memory_order_relaxed);
  if (from < used) {
    os::prefetch_for_writing(&entry(which << kClassShift | from));
    os::prefetch_for_writing(data(which << kClassShift | from));
  }
  for (std::uint32_t i = 0; i < used; ++i) {
    const std::uint32_t number = from + i < used ? from + i : from + i - used;
    if (number >= used) continue;
    const Index index = which << kClassShift | number;
    if (entry(index).counted.load(std::memory_order_relaxed) < bytes || !try_hold(index, me)) continue;
    if (entry(index).counted.load() >= bytes) {
      found_at_[which].store(number, std::memory_order_relaxed);
      return index;
    }
    make_free(index);  // somebody has just dropped its memory
  }
  return std::nullopt;
}

/// Lock held. Takes the memory of free chunks away, from the largest ones on, until so many bytes are saved. Killed in
/// between, a chunk counts with memory that it does not have, until it is used or dropped again.
std::uint64_t ChunkStore::drop_memory(std::uint64_t wanted, Id me) noexcept {
  std::uint64_t saved = 0;
  for (unsigned which = body_.classes_used; which-- > 0 && saved < wanted;) {
    const std::uint32_t used = body_.classes[which].used.load();
    for (std::uint32_t number = 0; number < used && saved < wanted; ++number) {
      const Index index = which << kClassShift | number;
      ChunkEntry& one = entry(index);
      if (one.counted.load() == 0 || !try_hold(index, me)) continue;
      const std::uint64_t bytes = one.counted.load();
      one.populated.store(0);
      os::give_back_memory(data(index), bytes);
      one.counted.store(0);
      body_.in_memory.fetch_sub(bytes);
      make_free(index);
      saved += bytes;
    }
  }
  return saved;
}

/// Lock held: a chunk that was not there yet, or has not counted with so much so far.
std::optional<Index> ChunkStore::grow(unsigned which, std::uint64_t bytes, Id me) {
  ChunkClass& one = body_.classes[which];
  const std::uint64_t free = ChunkWord{}.pack();
  for (;;) {
    const std::uint32_t used = one.used.load();
    std::uint32_t number = 0;
    while (number < used && entry(which << kClassShift | number).word.load(std::memory_order_relaxed) != free) ++number;
    const Index index = which << kClassShift | number;
    const bool is_new = number == used;
    if (is_new && used == one.most) return std::nullopt;
    // Not held as long as it may not be enough: to let go of it would wake everybody who waits, ourselves too.
    const std::uint64_t counted = is_new ? 0 : entry(index).counted.load();
    const std::uint64_t more = bytes > counted ? bytes - counted : 0;
    const std::uint64_t after = body_.in_memory.load() + more;
    if (after > body_.budget_bytes) {
      if (drop_memory(after - body_.budget_bytes, me) == 0) return std::nullopt;
      continue;
    }
    ChunkEntry& chunk = entry(index);
    if (is_new) {
      constexpr std::uint32_t kPerPage = kSmallest / sizeof(ChunkEntry);
      if (used % kPerPage == 0 && os::populate(&chunk, kSmallest) != 0) return std::nullopt;
      chunk.counted.store(0);
      chunk.populated.store(0);
      chunk.word.store(ChunkWord{me, ChunkPhase::held}.pack());
      one.used.store(used + 1, std::memory_order_release);
    } else if (!try_hold(index, me)) {
      continue;
    }
    if (more != 0) {
      chunk.counted.store(bytes);
      body_.in_memory.fetch_add(more);
    }
    return index;
  }
}

/// A forked child uses the attachment of its parent, and counts for itself.
void ChunkStore::count_in(Id me) noexcept {
  if (counted_in_.load(std::memory_order_relaxed) == me) return;
  if (counted_in_.exchange(me) != me) registry::slot(me).claims.fetch_add(1);
}

ChunkStore::~ChunkStore() {
  const Id me = registry::self_if_joined();
  if (me != registry::kNobody && counted_in_.load() == me) registry::slot(me).claims.fetch_sub(1);
}

// --- what anybody may call -----------------------------------------------------------------------------------------------

std::optional<Index> ChunkStore::allocate(std::uint64_t size_bytes, bool may_grow, Deadline deadline) {
  const unsigned which = which_class(size_bytes);
  const std::uint64_t bytes = os::round_up(std::max<std::uint64_t>(size_bytes, 1), kSmallest);
  if (which >= body_.classes_used) return std::nullopt;
  const Id me = registry::self();
  count_in(me);
  std::optional<Index> index = find_free(which, bytes, me);
  if (!index && may_grow) {
    const Locked lock(*this, deadline);
    if (lock) index = grow(which, bytes, me);
  }
  if (index) populate(*index, bytes);
  return index;
}

/// Outside of the lock: a gibibyte takes a while.
void ChunkStore::populate(Index index, std::uint64_t bytes) {
  ChunkEntry& one = entry(index);
  const std::uint64_t has = one.populated.load(std::memory_order_relaxed);
  if (bytes <= has) return;
  if (const int error = os::populate(data(index) + has, bytes - has); error != 0) {
    give_back(index);
    throw NoSpace(object_.handle().str() + ": no memory for a message of " + std::to_string(bytes) +
                  " bytes, the filesystem of the domain has " +
                  std::to_string(os::free_bytes(domain_directory().c_str())) +
                  " bytes free; take messages out, free objects (brood::gc()), or enlarge it");
  }
  one.populated.store(bytes);
}

/// The chunk is ours.
void ChunkStore::make_free(Index index) noexcept {
  // SYNC chunk-free: release, see try_hold; a full barrier too, before the look whether somebody waits.
  entry(index).word.exchange(ChunkWord{}.pack());
  // SYNC chunk-seeker: the exchange, Seeker's count and its second look are sequentially consistent; one sees the other.
  if (body_.seekers.load() != 0) body_.given_back.fetch_add(1);
  body_.room.notify_every();
}

void ChunkStore::give_back(Index index) noexcept {
  const Id me = registry::self_if_joined();
  ChunkEntry& one = entry(index);
  if (me == registry::kNobody || one.word.load() != ChunkWord{me, ChunkPhase::held}.pack()) return;
  if (const std::uint64_t bytes = one.populated.load(); bytes > kKeptBytes) {
    one.populated.store(0);
    os::give_back_memory(data(index), bytes);
  }
  make_free(index);
}

void ChunkStore::put_into_ring(Index index) noexcept {
  // SYNC chunk-in-ring: release; the record's commit, or the store that takes it, publishes this. No barrier.
  entry(index).word.store(ChunkWord{registry::kNobody, ChunkPhase::in_ring}.pack(), std::memory_order_release);
}

void ChunkStore::take_from_ring(Index index) noexcept {
  const Id me = registry::self();
  count_in(me);
  entry(index).word.store(ChunkWord{me, ChunkPhase::held}.pack(), std::memory_order_release);
}

void ChunkStore::discard(Index index) noexcept { make_free(index); }

void ChunkStore::check(const ChunkRef& ref) const {
  const unsigned which = ref.index >> kClassShift;
  const std::uint32_t number = ref.index & ((1U << kClassShift) - 1);
  if (which < body_.classes_used && number < body_.classes[which].used.load() &&
      ref.skip + ref.size_bytes <= class_bytes(which) && ref.size_bytes <= class_bytes(which))
    return;
  throw DecodeError(object_.handle().str() + ": a record names a chunk that is not there (" +
                    std::to_string(ref.size_bytes) + " bytes)");
}

void ChunkStore::settle(std::span<const Index> in_ring) noexcept {
  // Read first: who dies meanwhile is found the next time.
  const std::uint32_t deaths = registry::death_word().load();
  const Locked lock(*this, Deadline::never());
  for_each_used([&](Index index) {
    std::atomic<std::uint64_t>& word = entry(index).word;
    std::uint64_t seen = word.load();
    const ChunkWord now = ChunkWord::unpack(seen);
    if (std::binary_search(in_ring.begin(), in_ring.end(), index)) {
      word.store(ChunkWord{registry::kNobody, ChunkPhase::in_ring}.pack());
    } else if (now.phase == ChunkPhase::in_ring || (now.phase == ChunkPhase::held && !registry::is_alive(now.owner))) {
      word.compare_exchange_strong(seen, ChunkWord{}.pack());
    }
  });
  body_.deaths_seen.store(deaths);
  body_.given_back.fetch_add(1);
  body_.room.notify_all();
}

std::uint64_t ChunkStore::trim() noexcept {
  const Locked lock(*this, Deadline::after(kPollPatience));
  return lock ? drop_memory(~std::uint64_t{0}, registry::self()) : 0;
}

// --- ChunkAccess ---------------------------------------------------------------------------------------------------------

ChunkStore* ChunkAccess::find(const std::atomic<std::uint64_t>& id_word) {
  if (ChunkStore* const known = store_.load(std::memory_order_acquire)) return known;
  const std::uint64_t id = id_word.load(std::memory_order_acquire);
  if (id == 0) return nullptr;
  auto mine = std::make_unique<ChunkStore>(id);
  ChunkStore* first = nullptr;  // of several threads
  return store_.compare_exchange_strong(first, mine.get()) ? mine.release() : first;
}

ChunkStore& ChunkAccess::make(std::atomic<std::uint64_t>& id_word, const detail::Object& container,
                              std::uint64_t budget_bytes) {
  if (ChunkStore* const there = find(id_word)) return *there;
  detail::Object object = ChunkStore::make(budget_bytes);
  const Handle handle = object.handle();
  shm::header_of(container.body()).may_have_pins.store(1);
  shm::pin(container.id(), kChunksPin, handle);  // killed behind this: gc() drops it, since nothing names it
  id_word.store(handle.id(), std::memory_order_release);
  return *find(id_word);
}

}  // namespace brood::inline v1::channel
