#include "os/robust_list.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>

namespace brood::inline v1::os {

std::uint32_t thread_id() noexcept { return static_cast<std::uint32_t>(::syscall(SYS_gettid)); }

void mark_at_thread_end(RobustList& list) noexcept {
  robust_list* last = &list.head.list;
  for (auto& marked : list.marked) {
    last->next = &marked.node;
    last = &marked.node;
    marked.word.store(thread_id() | kWakeWhenDied);
  }
  last->next = &list.head.list;
  list.head.futex_offset = offsetof(MarkedWord, word) - offsetof(MarkedWord, node);
  list.head.list_op_pending = nullptr;
  ::syscall(SYS_set_robust_list, &list.head, sizeof list.head);
}

}  // namespace brood::inline v1::os
