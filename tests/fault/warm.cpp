#include "fault/warm.hpp"

#include "brood/lock.hpp"
#include "brood/queue.hpp"
#include "registry/registry.hpp"

namespace fault {
void settle_in() {
  (void)brood::registry::self();
  {
    brood::Lock lock;
    lock.lock();
    for (int i = 0; i < kLessons; ++i) (void)lock.try_lock_for(kShort);
    // Long enough to fall asleep once.
    (void)lock.try_lock_for(std::chrono::milliseconds(1));
    lock.unlock();
  }
  brood::Queue<int> queue(brood::QueueOptions{.capacity = 1, .byte_budget = 4096});
  unlearn_spinning_in_get(queue);
  queue.put(1);
  for (int i = 0; i < kLessons; ++i) (void)queue.try_put_for(1, kShort);
  (void)queue.get();
}

}  // namespace fault
