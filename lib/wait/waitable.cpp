// What Waitable refers to, and the source that stands for it in one wait.
#include <poll.h>

#include <string>

#include "brood/barrier.hpp"
#include "brood/condition.hpp"
#include "brood/detail/broadcast_core.hpp"
#include "brood/detail/connection_core.hpp"
#include "brood/detail/priority_core.hpp"
#include "brood/detail/work_core.hpp"
#include "brood/event.hpp"
#include "brood/lock.hpp"
#include "brood/process.hpp"
#include "brood/rlock.hpp"
#include "brood/semaphore.hpp"
#include "brood/wait.hpp"

namespace brood::inline v1 {
namespace {

class DescriptorSource final : public detail::WaitSource {
 public:
  DescriptorSource(int descriptor, short events) : descriptor_(descriptor), events_(events) {}
  [[nodiscard]] bool look() override {
    // A number that is no descriptor is ready: whoever uses it is told. Negative ones poll() would leave out.
    if (descriptor_ < 0) return true;
    pollfd entry{descriptor_, events_, 0};
    return ::poll(&entry, 1, 0) > 0;
  }
  [[nodiscard]] bool watch(Bell& /*bell*/) override { return look(); }
  [[nodiscard]] int descriptor() const noexcept override { return descriptor_ < 0 ? 0 : descriptor_; }
  [[nodiscard]] short events() const noexcept override { return events_; }
  [[nodiscard]] Handle object() const override { return {}; }

 private:
  int descriptor_;
  short events_;
};

template <class T>
const T& as(const void* object) {
  return *static_cast<const T*>(object);
}

}  // namespace

// An object that was moved from says so here, when it is made.
#define BROOD_WAITABLE(Type, source_of)                                                            \
  Waitable::Waitable(const Type& object)                                                           \
      : Waitable([](const Waitable& self) { return source_of(as<detail::Object>(self.object_)); }, \
                 &detail::WaitAccess::object(object)) {                                            \
    (void)detail::WaitAccess::object(object).body();                                               \
  }
BROOD_WAITABLE(Lock, detail::lock_source)
BROOD_WAITABLE(RLock, detail::rlock_source)
BROOD_WAITABLE(Semaphore, detail::semaphore_source)
BROOD_WAITABLE(BoundedSemaphore, detail::semaphore_source)
BROOD_WAITABLE(Event, detail::event_source)
#undef BROOD_WAITABLE

Waitable::Waitable(const Condition& condition)
    : Waitable(
          [](const Waitable& self) { return detail::condition_source(as<detail::Object>(self.object_), self.detail_); },
          &detail::WaitAccess::object(condition), detail::condition_now(detail::WaitAccess::object(condition))) {}

Waitable::Waitable(const Barrier& barrier)
    : Waitable(
          [](const Waitable& self) { return detail::barrier_source(as<detail::Object>(self.object_), self.detail_); },
          &detail::WaitAccess::object(barrier), detail::barrier_now(detail::WaitAccess::object(barrier))) {}

Waitable::Waitable(const Process& process)
    : Waitable(
          [](const Waitable& self) -> detail::WaitSourcePointer {
            return std::make_unique<DescriptorSource>(as<Process>(self.object_).sentinel(), POLLIN);
          },
          &process) {}

Waitable::Waitable(const detail::QueueCore& queue, Side side)
    : Waitable(
          side == Side::get
              ? Make([](const Waitable& self) { return detail::queue_source(as<detail::QueueCore>(self.object_)); })
              : Make([](const Waitable& self) { return detail::room_source(as<detail::QueueCore>(self.object_)); }),
          &queue) {}
Waitable::Waitable(const detail::PriorityCore& queue, Side side)
    : Waitable(side == Side::get ? Make([](const Waitable& self) {
                 return detail::priority_source(as<detail::PriorityCore>(self.object_));
               })
                                 : Make([](const Waitable& self) {
                                     return detail::room_source(as<detail::PriorityCore>(self.object_));
                                   }),
               &queue) {}
Waitable::Waitable(const detail::WorkCore& queue)
    : Waitable([](const Waitable& self) { return detail::work_source(as<detail::WorkCore>(self.object_)); }, &queue) {}
Waitable::Waitable(const detail::SubscriptionCore& subscription)
    : Waitable(
          [](const Waitable& self) { return detail::subscription_source(as<detail::SubscriptionCore>(self.object_)); },
          &subscription) {}
Waitable::Waitable(const detail::ConnectionCore& connection)
    : Waitable([](const Waitable& self) { return detail::connection_source(as<detail::ConnectionCore>(self.object_)); },
               &connection) {}

Waitable::Waitable(int descriptor, Side side)
    : Waitable(
          [](const Waitable& self) -> detail::WaitSourcePointer {
            const auto number = static_cast<int>(static_cast<std::uint32_t>(self.detail_));
            return std::make_unique<DescriptorSource>(number, self.detail_ >> 32 == 0 ? POLLIN : POLLOUT);
          },
          nullptr,
          static_cast<std::uint64_t>(side == Side::get ? 0 : 1) << 32 | static_cast<std::uint32_t>(descriptor)) {}

Waitable readable(int descriptor) { return {descriptor, Waitable::Side::get}; }
Waitable writable(int descriptor) { return {descriptor, Waitable::Side::put}; }

}  // namespace brood::inline v1
