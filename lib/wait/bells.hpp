// Bells: the waiter threads ring one eventfd for any number of sources.
#pragma once

#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "base/unique_fd.hpp"
#include "brood/detail/wait_source.hpp"
#include "brood/detail/watch.hpp"

namespace brood::inline v1::waiting {

/// Of sources with descriptors nothing is rung: whoever sleeps on the doorbell sleeps on them, too.
class Bells {
 public:
  /// Errors: OsError.
  explicit Bells(std::span<const detail::WaitSourcePointer> sources);
  ~Bells() { disarm(); }
  Bells(const Bells&) = delete;
  Bells& operator=(const Bells&) = delete;

  /// Readable once any of them was found ready after arm(), until it is silenced.
  [[nodiscard]] int doorbell() const noexcept { return doorbell_.get(); }
  /// The sources are the waiter threads' from here on. Errors: OsError.
  void arm();
  /// The sources are the caller's again.
  void disarm() noexcept;

 private:
  class Ringing final : public detail::Watch {
   public:
    Ringing(detail::WaitSource& source, int doorbell) : of_(source), doorbell_(doorbell) {}
    void arm();

   private:
    void fired(Why why) noexcept override;
    detail::WaitSource& of_;
    int doorbell_;
  };

  base::UniqueFd doorbell_;
  std::deque<Ringing> all_;  // they do not move
  std::vector<detail::Watch*> pointers_;
  bool is_armed_ = false;
};

}  // namespace brood::inline v1::waiting
