#include "brood/event.hpp"

#include <ostream>

#include "brood/detail/wait_source.hpp"
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

namespace {

/// In a wait for many: set now, or set and cleared again since the wait began.
class EventSource final : public detail::WaitSource {
 public:
  explicit EventSource(const detail::Object& event)
      : word_(word_of(event)), first_(word_.load(std::memory_order_acquire)), handle_(event.handle()) {}
  [[nodiscard]] bool look() override { return has_been_set(word_.load(std::memory_order_acquire)); }
  [[nodiscard]] bool watch(Bell& bell) override {
    std::uint32_t now = word_.load(std::memory_order_acquire);
    for (;;) {
      if (has_been_set(now)) return true;
      if ((now & kSleepers) != 0 || word_.compare_exchange_weak(now, now | kSleepers)) break;
    }
    bell = {.word = &word_, .seen = now | kSleepers};
    return false;
  }
  void begin_anew() noexcept override { first_ = found_; }
  [[nodiscard]] Handle object() const override { return handle_; }

 private:
  [[nodiscard]] bool has_been_set(std::uint32_t now) noexcept {
    found_ = now;
    return (now & kSet) != 0 || now / kGeneration != first_ / kGeneration;
  }
  os::Word& word_;
  std::uint32_t first_;
  std::uint32_t found_ = first_;
  Handle handle_;
};

}  // namespace

detail::WaitSourcePointer detail::event_source(const Object& event) { return std::make_unique<EventSource>(event); }

std::ostream& operator<<(std::ostream& out, const Event& event) {
  return out << "<Event " << event.handle() << (event.is_set() ? " set>" : " unset>");
}

}  // namespace brood::inline v1
