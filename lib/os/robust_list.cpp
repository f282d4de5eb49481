#include "os/robust_list.hpp"

#include <sys/syscall.h>
#include <unistd.h>

namespace brood::inline v1::os {

std::uint32_t thread_id() noexcept { return static_cast<std::uint32_t>(::syscall(SYS_gettid)); }

void mark_at_thread_end(RobustList& list, Word& word) noexcept {
  list.head.list.next = &list.node;
  list.node.next = &list.head.list;
  list.head.futex_offset = reinterpret_cast<char*>(&word) - reinterpret_cast<char*>(&list.node);
  list.head.list_op_pending = nullptr;
  word.store(thread_id() | kWakeWhenDied);
  ::syscall(SYS_set_robust_list, &list.head, sizeof list.head);
}

}  // namespace brood::inline v1::os
