#include "os/not_in_forks.hpp"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/fork_order.hpp"

namespace brood::inline v1::os {

/// All of them in this process; in a list of its own links, as a child of fork may not allocate.
struct OpenHere {
  static std::mutex mutex;
  static NotInForks* first;

  static void begin_in_child() noexcept {
    const int before = errno;
    replace_all();
    errno = before;
    mutex.unlock();
  }

 private:
  /// Replaced, not closed: whoever closes it once more here would close what has its number by then.
  static void replace_all() noexcept {
    if (first == nullptr) return;
    int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    if (nothing < 0) {
      ::close(first->descriptor_);  // there may be no other number left, or no /dev/null
      nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
      if (nothing < 0) nothing = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    }
    bool is_one_of_them = false;
    while (NotInForks* const it = std::exchange(first, first != nullptr ? first->next_ : nullptr)) {
      it->is_listed_ = false;  // in this process the number may be anything's from now on
      if (it->descriptor_ == nothing) is_one_of_them = true;
      else if (nothing < 0 || ::dup3(nothing, it->descriptor_, O_CLOEXEC) < 0) ::close(it->descriptor_);
    }
    if (nothing >= 0 && !is_one_of_them) ::close(nothing);
  }
};
constinit std::mutex OpenHere::mutex;
constinit NotInForks* OpenHere::first = nullptr;

namespace {
[[maybe_unused]] const bool g_held_across_fork =
    (base::hold_across_fork(
         base::ForkOrder::descriptors,
         {[] { OpenHere::mutex.lock(); }, [] { OpenHere::mutex.unlock(); }, &OpenHere::begin_in_child}),
     true);
}  // namespace

NotInForks::Pause NotInForks::pause() { return Pause(OpenHere::mutex); }

NotInForks::NotInForks(int descriptor, const Pause& /*pause*/) : descriptor_(descriptor), next_(OpenHere::first) {
  if (next_ != nullptr) next_->previous_ = this;
  OpenHere::first = this;
}

NotInForks::~NotInForks() {
  const std::lock_guard lock(OpenHere::mutex);
  if (!is_listed_) return;
  (previous_ != nullptr ? previous_->next_ : OpenHere::first) = next_;
  if (next_ != nullptr) next_->previous_ = previous_;
}

}  // namespace brood::inline v1::os
