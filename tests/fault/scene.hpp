// Scene: one operation to be killed in — who else is there, what the victim does, and how survivors judge.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fault/actor.hpp"
#include "fault/stepper.hpp"

namespace fault {

/// What the survivors of one killing found.
class Findings {
 public:
  explicit Findings(double killed_at_ms) noexcept : killed_at_(killed_at_ms) {}

  /// A statement that must hold.
  bool check(bool holds, std::string_view statement);
  /// An actor that must finish its body, without an unexpected exception.
  bool finishes(const Actor& actor, std::string_view who);
  /// Something that must come about by itself.
  bool comes(const std::function<bool()>& has_come, std::string_view what);
  /// A fresh process whose body must come to its end.
  bool fresh(std::string_view who, const std::function<void(Self&)>& body);

  [[nodiscard]] bool is_wrong() const noexcept { return !wrong_.empty(); }
  [[nodiscard]] const std::string& wrong() const noexcept { return wrong_; }
  /// Longest time from the killing until somebody had what it was due.
  [[nodiscard]] double slowest_ms() const noexcept { return slowest_; }
  /// True if some actors are done within a short while although nothing says they must be: a settled look.
  static bool settles(const std::function<bool()>& done, Milliseconds patience = Milliseconds(60));

 private:
  void note_time() noexcept;
  double killed_at_;
  double slowest_ = 0;
  std::string wrong_;
};

/// Thrown by a judge's body when what it saw is wrong.
void must(bool holds, const std::string& statement);

/// Members that are shared objects come first and actors after them, so that actors go first.
class Scene {
 public:
  Scene() = default;
  Scene(const Scene&) = delete;
  Scene& operator=(const Scene&) = delete;
  virtual ~Scene() = default;

  virtual void set() {}        ///< tester: those who are there before the victim
  virtual void ready() {}      ///< victim: what comes before the operation; includes a first run, so that code is warm
  virtual void placed() {}     ///< tester: those who come after ready()
  virtual void operate() = 0;  ///< victim
  virtual Sleep on_sleep(int /*nth*/) { return Sleep::for_ever; }  ///< tester: the victim sleeps inside the operation
  /// tester. `at.ended` and `at.asleep` say where the victim was killed.
  virtual void judge(Findings& findings, const Arrival& at) = 0;
  /// tester, after the last point of the sweep: what must hold after all of them together.
  virtual void finale(Findings& /*findings*/) {}
};

struct Operation {
  std::string name;
  std::function<std::unique_ptr<Scene>()> make;
  /// Above 1: kill at every `stride`-th instruction, and around each system call and change of shared bytes.
  long stride = 1;
  /// Must be found wrong: a negative control.
  bool control = false;
  /// Of an operation too long for every instruction: so many random points beside those that matter.
  std::size_t random_points = 500;
};

/// All operations, in the order of the table. One function for each file of scenes.
using Operations = std::vector<Operation>;
void add_controls(Operations& all);
void add_lock_operations(Operations& all);
void add_semaphore_operations(Operations& all);
void add_event_operations(Operations& all);
void add_condition_operations(Operations& all);
void add_barrier_operations(Operations& all);
void add_queue_operations(Operations& all);
void add_queue_batch_operations(Operations& all);
void add_queue_end_operations(Operations& all);
void add_queue_loan_operations(Operations& all);
void add_priority_queue_operations(Operations& all);
void add_broadcast_operations(Operations& all);
void add_broadcast_gift_operations(Operations& all);
void add_work_queue_operations(Operations& all);
void add_connection_send_operations(Operations& all);
void add_connection_recv_operations(Operations& all);
void add_connection_end_operations(Operations& all);
void add_connection_loan_operations(Operations& all);
void add_value_operations(Operations& all);
void add_shared_operations(Operations& all);
void add_container_operations(Operations& all);
void add_lifetime_operations(Operations& all);
void add_wait_operations(Operations& all);
void add_pool_operations(Operations& all);
void add_domain_operations(Operations& all);

template <class S, class... Arguments>
void add(Operations& all, std::string name, Arguments... arguments) {
  all.push_back({std::move(name), [=] { return std::make_unique<S>(arguments...); }, 1, false});
}

}  // namespace fault
