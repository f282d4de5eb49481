#include "stress/chaos.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <random>
#include <string>

#include "brood/domain.hpp"
#include "stress/crew.hpp"

namespace stress {
namespace {

constexpr std::int64_t kMs = 1'000'000;
constexpr std::int64_t kStepNs = 1 * kMs;
constexpr std::uint64_t kLongestPauseNs = 40 * kMs;
constexpr std::uint64_t kLongestStopNs = 300 * kMs;
constexpr std::uint64_t kLongestAbsenceNs = 30 * kMs;
constexpr std::int64_t kHangLookNs = 250 * kMs;
constexpr std::uint64_t kOperationsAtRest = 5;
constexpr std::int64_t kProgressNs = 1000 * kMs;

Seat& seat_at(int i) { return board().seats[static_cast<std::size_t>(i)]; }

class Round {
 public:
  Round(const ChaosPlan& plan, const Ledger& ledger)
      : plan_(plan), ledger_(ledger), world_(std::make_unique<World>()), crew_(*world_, plan.seed), random_(plan.seed) {
    Board& b = board();
    b.closing.store(0);
    b.resting.store(0);
    b.table_closing.store(0);
    b.table_put.store(0);
    b.messages.store(0);
    b.table_taken.store(0);
    for (int door = 0; door < kDoors; ++door) {
      DoorState& state = b.doors[static_cast<std::size_t>(door)];
      state.holder.store(0);
      state.last.store(0);
      state.before.store(0);
      state.extent.store(0);
      std::fill_n(region(door), kStampBytes / 8, 0);
    }
    operations_before_ = crew_.operations();
  }

  void chaos();
  void come_to_rest();
  void close();
  RoundResult result();

 private:
  [[nodiscard]] int workers() const noexcept { return static_cast<int>(plan_.roles.size()); }
  [[nodiscard]] Role role(int seat) const noexcept { return plan_.roles[static_cast<std::size_t>(seat)]; }
  std::uint64_t pick(std::uint64_t below) { return random_() % below; }
  int pick_worker() { return static_cast<int>(pick(plan_.roles.size())); }

  void start(int seat) {
    crew_.start(seat, [this, seat](Worker& me) { play(role(seat), me, ledger_); });
  }
  void strike(int seat) {
    if (role(seat) == Role::party) board().last_party_strike_ns.store(now_ns());
    crew_.strike(seat);
  }
  void stop(int seat, std::int64_t now) {
    crew_.stop(seat);
    go_on_at_[static_cast<std::size_t>(seat)] = now + static_cast<std::int64_t>(pick(kLongestStopNs));
  }
  void blow(std::int64_t now);
  void tend(std::int64_t now, bool restart_at_once);
  bool all_come_on(std::uint64_t operations);
  void await_all_ended();
  void note_end(const Crew::End& end);
  [[nodiscard]] Tally tally() const {
    return {crew_.kills, crew_.stops, crew_.starts - std::min<std::uint64_t>(crew_.starts, plan_.roles.size()),
            crew_.operations() - operations_before_};
  }
  void check_domain();

  const ChaosPlan& plan_;
  const Ledger& ledger_;
  std::unique_ptr<World> world_;
  Crew crew_;
  std::mt19937_64 random_;
  std::array<std::int64_t, kSeats> go_on_at_{};
  std::array<std::int64_t, kSeats> start_at_{};
  std::vector<Debt> debts_;
  std::uint64_t operations_before_ = 0;
};

/// One act of the hand: what and whom is random.
void Round::blow(std::int64_t now) {
  const int seat = pick_worker();
  const std::uint64_t dice = pick(100);
  if (plan_.stops && dice < 15) return stop(seat, now);
  if (plan_.stops && dice < 20) {
    // Who would have noticed the death cannot move.
    const auto watchers = crew_.watchers_of(seat);
    for (const int watcher : watchers) {
      if (watcher < workers() && pick(2) == 0) stop(watcher, now);
    }
    return strike(seat);
  }
  if (dice < 25) {
    // Who would have noticed the death dies too.
    const auto watchers = crew_.watchers_of(seat);
    for (const int watcher : watchers) {
      if (watcher < workers()) strike(watcher);
    }
    return strike(seat);
  }
  if (dice < 28) {
    for (int i = 0; i < workers(); ++i) {
      if (role(i) == role(seat)) strike(i);
    }
    return;
  }
  if (dice < 29) {
    for (int i = 0; i < workers(); ++i) strike(i);
    return;
  }
  if (plan_.retires && dice < 40) return seat_at(seat).retire.store(1);
  strike(seat);
}

void Round::note_end(const Crew::End& end) {
  if (end.seat >= workers() || role(end.seat) != Role::consumer || end.phase != Phase::getting) return;
  debts_.push_back({end.taken, now_ns()});
}

/// Restarts after a random absence, lets the stopped go on, ends those who became another program.
void Round::tend(std::int64_t now, bool restart_at_once) {
  for (const auto& end : crew_.ends()) {
    note_end(end);
    if (end.seat < workers())
      start_at_[static_cast<std::size_t>(end.seat)] = now + static_cast<std::int64_t>(pick(kLongestAbsenceNs));
  }
  for (int i = 0; i < workers(); ++i) {
    const auto index = static_cast<std::size_t>(i);
    if (crew_.is_running(i)) {
      if (crew_.is_stopped(i) && (restart_at_once || now >= go_on_at_[index])) crew_.go_on(i);
      if (seat_at(i).phase.load() == Phase::ended_self && pick(10) == 0) strike(i);
    } else if (restart_at_once || now >= start_at_[index]) {
      start(i);
    }
  }
}

void Round::chaos() {
  for (int i = 0; i < workers(); ++i) start(i);
  const std::int64_t until = now_ns() + static_cast<std::int64_t>(plan_.seconds * 1e9);
  std::int64_t next_blow = now_ns();
  std::int64_t next_look = now_ns() + kHangLookNs;
  std::int64_t next_progress = now_ns() + kProgressNs;
  for (std::int64_t now = now_ns(); now < until; now = now_ns()) {
    if (now >= next_blow) {
      blow(now);
      next_blow = now + static_cast<std::int64_t>(pick(kLongestPauseNs));
    }
    tend(now, false);
    if (now >= next_look) {
      crew_.look_for_hangs();
      next_look = now + kHangLookNs;
    }
    if (now >= next_progress) {
      if (plan_.progress) plan_.progress(tally());
      next_progress = now + kProgressNs;
    }
    nap_ns(kStepNs);
  }
}

/// Every worker does something, twice in a row, with nobody killed in between from the second time on.
void Round::come_to_rest() {
  board().resting.store(1);
  for (int i = 0; i < workers(); ++i) seat_at(i).retire.store(0);
  // The first time brings back who was killed, stopped or about to end. Then nobody dies any more.
  if (all_come_on(1)) all_come_on(kOperationsAtRest);
}

bool Round::all_come_on(std::uint64_t operations) {
  std::array<std::uint64_t, kSeats> wanted{};
  for (int i = 0; i < workers(); ++i) wanted[static_cast<std::size_t>(i)] = seat_at(i).operations.load() + operations;
  const std::int64_t until = now_ns() + kPatienceNs;
  for (;;) {
    tend(now_ns(), true);
    int behind = -1;
    for (int i = 0; i < workers(); ++i) {
      if (!crew_.is_running(i) || seat_at(i).operations.load() < wanted[static_cast<std::size_t>(i)]) behind = i;
    }
    if (behind < 0) return true;
    if (now_ns() > until) {
      violation("seat " + std::to_string(behind) + " (" + role_name(role(behind)) +
                ") does not come on although nobody is killed any more");
      return false;
    }
    nap_ns(kStepNs);
  }
}

void Round::await_all_ended() {
  const std::int64_t until = now_ns() + kPatienceNs;
  while (!crew_.running().empty()) {
    for (const auto& end : crew_.ends()) note_end(end);
    for (const int i : crew_.running()) {
      if (seat_at(i).phase.load() == Phase::ended_self) crew_.strike(i);
      if (now_ns() < until) continue;
      const char* what = seat_at(i).waits_for[0].load();
      violation("seat " + std::to_string(i) +
                " does not end when the round does; last waited for: " + (what != nullptr ? what : "-"));
      crew_.strike(i);
    }
    nap_ns(kStepNs);
  }
}

void Round::close() {
  board().closing.store(1);
  Ending ending;
  for (int i = 0; i < workers(); ++i) {
    if (role(i) == Role::party) ending.parties.push_back(i);
    if (role(i) == Role::boss) ending.bosses.push_back(i);
    if (role(i) == Role::producer) ending.producers.push_back(i);
    if (role(i) == Role::consumer) ++ending.consumers;
  }
  crew_.start(workers(), [ending](Worker& me) { close_round(me, ending); });
  await_all_ended();
  crew_.start(workers(), judge_world);
  await_all_ended();
}

/// What the killed have left is freed; what is in use is not.
void Round::check_domain() {
  namespace fs = std::filesystem;
  (void)brood::gc();
  std::size_t objects = 0;
  for (const auto& file : fs::directory_iterator(brood::domain_directory()))
    objects += file.path().filename() == "registry" ? 0 : 1;
  if (objects != World::kObjects)
    violation("after gc() the domain holds " + std::to_string(objects) + " objects instead of " +
              std::to_string(World::kObjects));
}

RoundResult Round::result() {
  check_domain();
  RoundResult out{tally(), ledger_.judge(debts_), ledger_.judge_jobs()};
  ledger_.clear();
  return out;
}

}  // namespace

RoundResult run_round(const ChaosPlan& plan, const Ledger& ledger) {
  Round round(plan, ledger);
  round.chaos();
  round.come_to_rest();
  round.close();
  return round.result();
}

std::vector<Role> all_roles() {
  std::vector<Role> out(3, Role::visitor);
  out.insert(out.end(), 4, Role::producer);
  out.insert(out.end(), 4, Role::consumer);
  out.insert(out.end(), 3, Role::party);
  out.insert(out.end(), 2, Role::boss);
  out.insert(out.end(), 3, Role::worker);
  out.push_back(Role::putter);
  out.push_back(Role::taker);
  return out;
}

}  // namespace stress
