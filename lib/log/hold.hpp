// The room's one mutex: who has it may use the sinks. Taken across fork, so that a child never inherits a half-written sink.
#pragma once

namespace brood::inline v1::log {

/// Takes the mutex, unless this thread has it already: then it is called by a sink, and must not use any.
class Hold {
 public:
  Hold();
  ~Hold();
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;
  [[nodiscard]] bool is_nested() const noexcept { return is_nested_; }

 private:
  bool is_nested_;
};

}  // namespace brood::inline v1::log
