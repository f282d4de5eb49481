#include "stress/crew.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <limits>
#include <stdexcept>

#include "os/process_identity.hpp"
#include "registry/registry.hpp"

namespace stress {
namespace {

[[noreturn]] void live(World& world, int seat, std::uint64_t seed, const Crew::Body& body, pid_t supervisor) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != supervisor) ::_exit(0);
  ::prctl(PR_SET_TIMERSLACK, 1000);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGCHLD, SIG_DFL);
  int code = 0;
  try {
    World mine(world);
    (void)brood::registry::self();
    Worker me(mine, seat, seed);
    me.seat().phase.store(Phase::ready);
    news();
    body(me);
  } catch (const std::exception& error) {
    violation(std::string("a worker: ") + error.what());
    code = 3;
  }
  board().seats[static_cast<std::size_t>(seat)].phase.store(Phase::ended);
  news();
  std::exit(code);
}

}  // namespace

Crew::Crew(World& world, std::uint64_t seed) : world_(world), seed_(seed) {
  // Nobody reaps: wait4() of a process whose /proc entries others are just looking at was seen to last for seconds (it
  // spins in shrink_dcache_parent), in which the supervisor would do nothing. How one ended is on the board.
  ::signal(SIGCHLD, SIG_IGN);
}

Crew::~Crew() {
  for (const int seat : running()) {
    strike(seat);
    pollfd entry{pidfds_[index(seat)].get(), POLLIN, 0};
    ::poll(&entry, 1, -1);
  }
}

void Crew::start(int seat_index, const Body& body) {
  Seat& seat = board().seats[index(seat_index)];
  const std::uint32_t incarnation = seat.incarnation.load() + 1;
  seat.strikes[incarnation % seat.strikes.size()].store(0);
  for (auto& waits : seat.waits) waits.store(0);
  for (auto& in_pool : seat.in_pool) in_pool.store(false);
  seat.retire.store(0);
  seat.taken.store(0);
  seat.order.store(0);
  seat.done.store(0);
  seat.release.store(0);
  seat.phase.store(Phase::starting);
  seat.incarnation.store(incarnation);
  std::fflush(nullptr);
  const pid_t supervisor = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("the soak cannot fork");
  if (child == 0) live(world_, seat_index, seed_, body, supervisor);
  // It cannot be another's pid yet: only this process makes any here.
  pidfds_[index(seat_index)].reset(brood::os::pidfd_open(child));
  if (!pidfds_[index(seat_index)]) throw std::runtime_error("no pidfd of a worker");
  pids_[index(seat_index)] = child;
  stopped_[index(seat_index)] = false;
  struck_[index(seat_index)] = false;
  ++starts;
}

void Crew::strike(int seat) {
  if (!is_running(seat) || struck_[index(seat)]) return;
  // On the board first: whoever takes over must find that this one was struck. One that has ended itself while it held
  // something has put an earlier time there.
  const Token token = make_token(seat, board().seats[index(seat)].incarnation.load());
  if (!was_struck(token)) mark_struck(token);
  struck_[index(seat)] = true;
  ::kill(pid(seat), SIGKILL);
  ++kills;
  if (stopped_[index(seat)]) {
    stopped_[index(seat)] = false;
    note_disturbance();
  }
}

void Crew::stop(int seat) {
  if (!is_running(seat) || stopped_[index(seat)] || struck_[index(seat)]) return;
  stopped_[index(seat)] = true;
  note_disturbance();
  ::kill(pid(seat), SIGSTOP);
  ++stops;
}

void Crew::go_on(int seat) {
  if (!is_running(seat) || !stopped_[index(seat)]) return;
  ::kill(pid(seat), SIGCONT);
  stopped_[index(seat)] = false;
  note_disturbance();
}

void Crew::note_disturbance() noexcept {
  const bool any = std::any_of(stopped_.begin(), stopped_.end(), [](bool is) { return is; });
  board().last_disturbance_ns.store(any ? std::numeric_limits<std::int64_t>::max() : now_ns());
}

std::optional<Crew::End> Crew::ended(int seat_index) {
  if (!brood::os::pidfd_ended(pidfds_[index(seat_index)].get())) return std::nullopt;
  const Seat& seat = board().seats[index(seat_index)];
  const End end{seat_index, seat.incarnation.load(), seat.phase.load(), seat.taken.load()};
  // One that ended by an exception has said so itself.
  if (!struck_[index(seat_index)] && end.phase != Phase::ended && end.phase != Phase::ended_self)
    violation("seat " + std::to_string(seat_index) + " (pid " + std::to_string(pid(seat_index)) + ") crashed");
  pids_[index(seat_index)] = 0;
  pidfds_[index(seat_index)].reset();
  if (stopped_[index(seat_index)]) {
    stopped_[index(seat_index)] = false;
    note_disturbance();
  }
  return end;
}

std::vector<Crew::End> Crew::ends() {
  std::vector<End> out;
  for (const int seat : running()) {
    if (const auto end = ended(seat)) out.push_back(*end);
  }
  return out;
}

std::optional<Crew::End> Crew::await_end(int seat) {
  if (!is_running(seat)) return std::nullopt;
  pollfd entry{pidfds_[index(seat)].get(), POLLIN, 0};
  if (::poll(&entry, 1, static_cast<int>(kPatienceNs / 1'000'000)) == 0) {
    const char* what = board().seats[index(seat)].waits_for[0].load();
    violation("seat " + std::to_string(seat) + " does not end; last waited for: " + (what != nullptr ? what : "-"));
    strike(seat);
    ::poll(&entry, 1, -1);
  }
  return ended(seat);
}

bool Crew::await(const std::function<bool()>& done, std::int64_t patience_ns) {
  const std::int64_t until = now_ns() + patience_ns;
  for (;;) {
    const std::uint32_t seen = board().news.load();
    if (done()) return true;
    const std::int64_t left = until - now_ns();
    if (left <= 0) return false;
    await_news(seen, left);
  }
}

bool Crew::await_phase(int seat, Phase phase) {
  const bool good = await([&] { return board().seats[index(seat)].phase.load() >= phase; });
  if (!good) violation("seat " + std::to_string(seat) + " does not get ready");
  return good;
}

std::vector<int> Crew::running() const {
  std::vector<int> out;
  for (int seat = 0; seat < kSeats; ++seat) {
    if (is_running(seat)) out.push_back(seat);
  }
  return out;
}

std::vector<int> Crew::watchers_of(int seat) const {
  namespace reg = brood::registry;
  std::vector<std::uint32_t> living;  // pids in the order of the ring
  reg::Registry& registry = reg::registry();
  const std::uint32_t used = registry.heads.slots_used.load();
  for (std::uint32_t i = 1; i < used; ++i) {
    const auto state = reg::StateWord::unpack(registry.slots[i].state.load());
    if (state.state == reg::SlotState::alive) living.push_back(state.pid);
  }
  std::vector<int> out;
  const auto self = std::find(living.begin(), living.end(), static_cast<std::uint32_t>(pid(seat)));
  if (self == living.end()) return out;
  std::rotate(living.begin(), self, living.end());
  for (std::size_t back = 1; back <= reg::kWatchers && back < living.size(); ++back) {
    const auto watcher = static_cast<pid_t>(living[living.size() - back]);
    for (const int other : running()) {
      if (pid(other) == watcher) out.push_back(other);
    }
  }
  return out;
}

void Crew::look_for_hangs() {
  // Who is stopped may hold what others wait for, however long the supervisor itself took to let it go on.
  const std::int64_t quiet_since = board().last_disturbance_ns.load();
  const std::int64_t now = now_ns();
  for (const int seat : running()) {
    if (struck_[index(seat)]) continue;
    Seat& s = board().seats[index(seat)];
    if (s.phase.load() == Phase::ended_self) continue;
    for (std::size_t thread = 0; thread < s.waits.size(); ++thread) {
      const std::int64_t since = s.waits[thread].load();
      if (since == 0 || now - std::max(since, quiet_since) < kPatienceNs) continue;
      violation("seat " + std::to_string(seat) + " (pid " + std::to_string(pid(seat)) + ") hangs in " +
                s.waits_for[thread].load());
      strike(seat);
      break;
    }
  }
}

std::uint64_t Crew::operations() const noexcept {
  std::uint64_t out = 0;
  for (const Seat& seat : board().seats) out += seat.operations.load(std::memory_order_relaxed);
  return out;
}

}  // namespace stress
