#include "brood/event.hpp"

#include <ostream>

#include "registry/objects.hpp"
#include "registry/sleeper.hpp"
#include "shm/segment.hpp"

namespace brood::inline v1 {
namespace {

/// generation (30) | somebody may sleep (1) | set (1). The generation counts the calls of set() that had an effect.
struct alignas(64) EventBody {
  os::Word word;
};
static_assert(sizeof(EventBody) == shm::smallest_body(Kind::event));
constexpr std::uint32_t kSet = 1;
constexpr std::uint32_t kSleepers = 2;
constexpr std::uint32_t kGeneration = 4;

os::Word& word_of(const detail::Object& object) { return static_cast<EventBody*>(object.body())->word; }
shm::CreateRequest request(std::string_view name) {
  return {.kind = Kind::event, .name = name, .body_bytes = sizeof(EventBody)};
}
void leave_zero(void* /*body*/) {}

}  // namespace

Event::Event() : SharedObject(registry::create(request({}), leave_zero)) {}
Event Event::create(std::string_view name) {
  return Event(registry::create(request(shm::given_name(name)), leave_zero));
}
Event Event::open_or_create(std::string_view name) {
  return Event(registry::open_or_create(request(name), leave_zero));
}

bool Event::is_set() const {
  // SYNC event: acquire pairs with the release in set().
  return (word_of(object_).load(std::memory_order_acquire) & kSet) != 0;
}

void Event::set() {
  // Joined before the flag changes: if we are killed before the wake, it is our death that wakes the sleepers.
  (void)registry::self();
  os::Word& word = word_of(object_);
  std::uint32_t before = word.load(std::memory_order_relaxed);
  do {
    if ((before & kSet) != 0) return;
    // SYNC event: release publishes what happened before the set.
  } while (
      !word.compare_exchange_weak(before, ((before & ~kSleepers) + kGeneration) | kSet, std::memory_order_acq_rel));
  if ((before & kSleepers) != 0) os::futex_wake_all(word);
}

void Event::clear() { word_of(object_).fetch_and(~kSet, std::memory_order_acq_rel); }

bool Event::wait_before(Deadline deadline) const {
  os::Word& word = word_of(object_);
  const std::uint32_t first = word.load(std::memory_order_acquire);
  if ((first & kSet) != 0) return true;
  if (deadline.is_poll()) return false;
  registry::Sleeper sleeper(registry::Operation::wait, Kind::event, object_.id(), deadline);
  for (;;) {
    const std::uint32_t deaths = registry::Sleeper::deaths();
    std::uint32_t now = word.load(std::memory_order_acquire);
    // Set now, or set and cleared again since we came.
    if ((now & kSet) != 0 || now / kGeneration != first / kGeneration) return true;
    if ((now & kSleepers) == 0) {
      if (!word.compare_exchange_strong(now, now | kSleepers)) continue;
      now |= kSleepers;
    }
    if (sleeper.sleep(word, now, deaths) == registry::Sleeper::Woken::timed_out) return false;
  }
}

std::ostream& operator<<(std::ostream& out, const Event& event) {
  return out << "<Event " << event.handle() << (event.is_set() ? " set>" : " unset>");
}

}  // namespace brood::inline v1
