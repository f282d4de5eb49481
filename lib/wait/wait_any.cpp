#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <string>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "brood/error.hpp"
#include "brood/wait.hpp"
#include "registry/sleeper.hpp"
#include "wait/bells.hpp"
#include "wait/poll.hpp"
#include "wait/waiter.hpp"

namespace brood::inline v1 {
namespace {

using detail::WaitSource;
using detail::WaitSourcePointer;
using Sources = std::vector<WaitSourcePointer>;

Ready look_at_all(const Sources& sources) {
  Ready ready;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    if (sources[i]->look()) ready.push_back(i);
  }
  return ready;
}

/// This thread sleeps on all words itself.
Ready wait_on_words(const Sources& sources, Deadline deadline) {
  const Handle object = sources.front()->object();
  registry::Sleeper sleeper(registry::Operation::wait, object.kind(), object.id(), deadline);
  // Whoever was woken and takes nothing hands the wake on; which word it was that woke us, the kernel tells of one only.
  const absl::Cleanup batons = [&] {
    if (!sleeper.slept()) return;
    for (const WaitSourcePointer& source : sources) source->pass_on();
  };
  std::array<os::WordSeen, os::kMostWords> words;
  std::vector<registry::Id> blocked_on;
  for (;;) {
    const std::uint32_t deaths = registry::Sleeper::deaths();
    words[0] = {&registry::death_word(), deaths};
    blocked_on.clear();
    Ready ready;
    Deadline until = deadline;
    for (std::size_t i = 0; i < sources.size(); ++i) {
      WaitSource::Bell bell;
      if (sources[i]->watch(bell)) ready.push_back(i);
      words[1 + i] = {bell.word, bell.seen};
      if (bell.blocked_on != registry::kNobody) blocked_on.push_back(bell.blocked_on);
      if (bell.look_again_ns != 0) until = until.capped(bell.look_again_ns);
    }
    if (!ready.empty() || deadline.passed()) return ready;
    if (sleeper.sleep_any({words.data(), 1 + sources.size()}, blocked_on, until) == registry::Sleeper::Woken::tick) {
      for (const WaitSourcePointer& source : sources) source->look_round();
    }
  }
}

/// Descriptors, or more words than one thread can sleep on.
Ready wait_with_waiters(const Sources& sources, Deadline deadline) {
  waiting::Bells bells(sources);
  std::vector<pollfd> entries;
  entries.push_back({bells.doorbell(), POLLIN, 0});
  for (const WaitSourcePointer& source : sources) {
    if (source->descriptor() >= 0) entries.push_back({source->descriptor(), source->events(), 0});
  }
  for (;;) {
    bells.arm();
    (void)waiting::poll_until(entries, deadline);
    bells.disarm();
    Ready ready = look_at_all(sources);
    if (!ready.empty() || deadline.passed()) return ready;
  }
}

}  // namespace

Ready detail::wait_any_before(std::span<const Waitable> what, Deadline deadline) {
  if (what.empty()) {
    if (deadline.is_never())
      throw UsageError(
          "wait_any() of nothing, without a time limit: nobody could ever end it; give it something to wait "
          "for, or a timeout");
    std::vector<pollfd> none;
    (void)waiting::poll_until(none, deadline);
    return {};
  }
  Sources sources;
  sources.reserve(what.size());
  bool on_words = what.size() < os::kMostWords;
  for (const Waitable& one : what) {
    sources.push_back(one.source());
    on_words = on_words && sources.back()->descriptor() < 0;
  }
  Ready ready = look_at_all(sources);
  if (!ready.empty() || deadline.is_poll()) return ready;
  return on_words ? wait_on_words(sources, deadline) : wait_with_waiters(sources, deadline);
}

// --- ReadyFd

struct ReadyFd::Impl {
  explicit Impl(std::span<const Waitable> what) {
    if (what.empty()) throw UsageError("as_fd() of nothing: it would never be readable");
    for (const Waitable& one : what) sources.push_back(one.source());
    bells.emplace(sources);
    if (std::ranges::any_of(sources, [](const auto& source) { return source->descriptor() >= 0; })) join_descriptors();
  }

  /// An epoll descriptor is itself one that can be polled.
  void join_descriptors() {
    together.reset(::epoll_create1(EPOLL_CLOEXEC));
    if (!together) throw OsError(errno, "cannot make an epoll descriptor");
    const auto add = [this](int descriptor, std::uint32_t events) {
      epoll_event event{};
      event.events = events;
      if (::epoll_ctl(together.get(), EPOLL_CTL_ADD, descriptor, &event) == 0) return;
      // One descriptor for two things is there already; what epoll cannot watch (a file) or find is ready.
      if (errno == EEXIST) {
        event.events = EPOLLIN | EPOLLOUT;
        if (::epoll_ctl(together.get(), EPOLL_CTL_MOD, descriptor, &event) == 0) return;
      }
      if (errno != EPERM && errno != EBADF)
        throw OsError(errno, "cannot add descriptor " + std::to_string(descriptor) + " to an epoll descriptor");
      always_ready = true;
    };
    add(bells->doorbell(), EPOLLIN);
    for (const auto& source : sources) {
      if (source->descriptor() >= 0) add(source->descriptor(), (source->events() & POLLOUT) != 0 ? EPOLLOUT : EPOLLIN);
    }
  }

  void arm() {
    bells->disarm();
    waiting::silence(bells->doorbell());
    // A look of our own is cheaper than one by the waiter thread.
    bool is_ready = always_ready;
    for (const auto& source : sources) {
      source->begin_anew();
      try {
        is_ready = is_ready || source->look();
      } catch (const Error&) {
        is_ready = true;  // not hidden: the attempt that follows is thrown the same
      }
    }
    if (is_ready) waiting::ring(bells->doorbell());
    else bells->arm();
  }

  const pid_t process = ::getpid();
  Sources sources;
  std::optional<waiting::Bells> bells;
  base::UniqueFd together;
  bool always_ready = false;
};

ReadyFd::ReadyFd(std::span<const Waitable> what) : impl_(std::make_unique<Impl>(what)) { impl_->arm(); }
ReadyFd::ReadyFd(ReadyFd&& other) noexcept = default;
ReadyFd& ReadyFd::operator=(ReadyFd&& other) noexcept = default;
ReadyFd::~ReadyFd() = default;

int ReadyFd::fd() const {
  if (!impl_) throw UsageError("this ReadyFd was moved from; use the object it was moved to");
  return impl_->together ? impl_->together.get() : impl_->bells->doorbell();
}

void ReadyFd::rearm() {
  if (!impl_) throw UsageError("this ReadyFd was moved from; use the object it was moved to");
  if (impl_->process != ::getpid()) {
    throw NotOwner("this ReadyFd belongs to process " + std::to_string(impl_->process) +
                   ", which made it; a forked child must make its own");
  }
  impl_->arm();
}

}  // namespace brood::inline v1
