#include "os/not_in_forks.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>

#include "base/fork_order.hpp"

namespace brood::inline v1::os {

/// All of them in this process; in a list of its own links, as a child of fork may not allocate.
struct OpenHere {
  static std::mutex mutex;
  static NotInForks* first;
  static pid_t forker;

  static void before_fork() {
    mutex.lock();
    forker = ::getpid();
  }
  /// In the parent and in the child.
  static void after_fork() noexcept {
    if (first != nullptr && ::getpid() != forker) replace_all();
    mutex.unlock();
  }

 private:
  static void replace_all() noexcept {
    const int before = errno;
    const int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    for (const NotInForks* it = first; it != nullptr; it = it->next_) {
      // Replaced, not closed: whoever closes it once more here would close what has its number by then.
      if (nothing < 0 || ::dup3(nothing, it->descriptor_, O_CLOEXEC) < 0) ::close(it->descriptor_);
    }
    if (nothing >= 0) ::close(nothing);
    errno = before;
  }
};
constinit std::mutex OpenHere::mutex;
constinit NotInForks* OpenHere::first = nullptr;
constinit pid_t OpenHere::forker = 0;

namespace {
[[maybe_unused]] const bool g_held_across_fork =
    (base::hold_across_fork(base::ForkOrder::descriptors, {&OpenHere::before_fork, &OpenHere::after_fork}), true);
}  // namespace

NotInForks::NotInForks(int descriptor) : descriptor_(descriptor) {
  const std::lock_guard lock(OpenHere::mutex);
  next_ = OpenHere::first;
  if (next_ != nullptr) next_->previous_ = this;
  OpenHere::first = this;
}

NotInForks::~NotInForks() {
  const std::lock_guard lock(OpenHere::mutex);
  (previous_ != nullptr ? previous_->next_ : OpenHere::first) = next_;
  if (next_ != nullptr) next_->previous_ = previous_;
}

}  // namespace brood::inline v1::os
