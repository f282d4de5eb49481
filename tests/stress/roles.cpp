#include "stress/roles.hpp"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "brood/error.hpp"

namespace stress {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kTableRoom = 4;
constexpr std::int64_t kLongestStayNs = 2'000'000;
constexpr std::uint64_t kFastMessages = 300'000;
constexpr std::int64_t kSlowPaceNs = 200'000;
constexpr std::int64_t kWhileOthersEndNs = 1'000'000;

// --- the table: a bounded buffer under a Lock that reports, with two Conditions ---------------------------------------

/// `change(guard)` with the table locked. Whoever finds that the holder died tells all waiters to look again: the dead
/// one may have changed the table and not yet told anybody.
template <class Change>
void with_table(World& world, Change change) {
  for (;;) {
    try {
      std::unique_lock guard(world.table);
      return change(guard);
    } catch (const brood::OwnerDied&) {
      world.table.recover([&world] {
        world.not_empty.notify_all();
        world.not_full.notify_all();
      });
    }
  }
}

std::uint64_t on_table() noexcept { return board().table_put.load() - board().table_taken.load(); }
bool is_closing() noexcept { return board().table_closing.load() != 0; }

void put_on_table(World& world) {
  with_table(world, [&world](std::unique_lock<brood::Lock>& guard) {
    world.not_full.wait(guard, [] { return on_table() < kTableRoom || is_closing(); });
    if (is_closing()) return;
    board().table_put.store(board().table_put.load() + 1);
    world.not_empty.notify_one();
  });
}
void take_from_table(World& world) {
  with_table(world, [&world](std::unique_lock<brood::Lock>& guard) {
    world.not_empty.wait(guard, [] { return on_table() > 0 || is_closing(); });
    if (on_table() == 0) return;
    board().table_taken.store(board().table_taken.load() + 1);
    world.not_full.notify_one();
  });
}
/// For those who do other things as well: they must not wait for themselves.
void try_table(Worker& me) {
  constexpr auto kPatience = 5ms;
  const bool puts = me.pick(2) == 0;
  with_table(me.world, [&](std::unique_lock<brood::Lock>& guard) {
    if (puts && me.world.not_full.wait_for(guard, kPatience, [] { return on_table() < kTableRoom; })) {
      board().table_put.store(board().table_put.load() + 1);
      me.world.not_empty.notify_one();
    } else if (!puts && me.world.not_empty.wait_for(guard, kPatience, [] { return on_table() > 0; })) {
      board().table_taken.store(board().table_taken.load() + 1);
      me.world.not_full.notify_one();
    }
  });
}

// --- pools of several units -------------------------------------------------------------------------------------------

/// Who holds a unit says so as long as it does; so never more than there are units.
void while_in_pool(Worker& me, std::size_t pool) {
  me.seat().in_pool[pool].store(true);
  std::int64_t inside = 0;
  for (int i = 0; i < kSeats; ++i) {
    const Seat& seat = board().seats[static_cast<std::size_t>(i)];
    const Token token = make_token(i, seat.incarnation.load());
    if (seat.in_pool[pool].load() && !was_struck(token)) ++inside;
  }
  if (inside > kPoolSize)
    violation("pool " + std::to_string(pool) + ": " + std::to_string(inside) + " processes hold one of " +
              std::to_string(kPoolSize) + " units");
  nap_ns(static_cast<std::int64_t>(me.pick(200'000)));
  me.seat().in_pool[pool].store(false);
}

void enter_pool(Worker& me) {
  Waiting waiting(me.seat(), "pool");
  if (me.pick(2) == 0) {
    const brood::Permit permit(me.world.pool);
    waiting.over();
    while_in_pool(me, 0);
  } else {
    me.world.bounded_pool.acquire();
    waiting.over();
    while_in_pool(me, 1);
    me.world.bounded_pool.release();
  }
}

// --- visitor: doors, pools, the table, objects of its own ---------------------------------------------------------------

Manner pick_manner(Worker& me, bool may_use_second) {
  std::uint64_t dice = me.pick(400);
  constexpr std::uint64_t kSelfEnds = 4;
  if (board().resting.load() != 0) dice = std::max(dice, kSelfEnds);
  if (dice == 0) return Manner::quick_exit;
  if (dice == 1) return Manner::exit;
  if (dice == 2) return Manner::exec;
  if (dice == 3) return may_use_second ? Manner::exec_thread : Manner::exec;
  if (dice < 24) return may_use_second ? Manner::thread : Manner::write;
  if (dice < 44) return Manner::read_pipe;
  if (dice < 100) return Manner::read_file;
  if (dice < 240) return Manner::write;
  return Manner::brief;
}

/// Objects that one process makes and forgets; when it is killed, somebody else must free them.
void make_and_use() {
  brood::Lock lock;
  const std::lock_guard guard(lock);
  brood::Queue<std::uint64_t> queue(4);
  constexpr std::uint64_t kMark = 0x0123456789abcdefULL;
  queue.put(kMark);
  if (queue.get() != kMark) violation("Queue: an item of a queue that nobody else knows is wrong");
}

void touch_memory(std::vector<unsigned char>& memory, std::size_t bytes) {
  constexpr std::size_t kPage = 4096;
  memory.resize(bytes);
  for (std::size_t i = 0; i < bytes; i += kPage) memory[i] = 1;
}

void visitor(Worker& me) {
  // Some have much memory, which takes the kernel a while to free.
  std::vector<unsigned char> memory;
  if (me.pick(20) == 0) touch_memory(memory, std::size_t{100} << 20);
  while (!me.shall_end()) {
    switch (me.pick(8)) {
      case 0: {
        const Waiting waiting(me.seat(), "Condition, for a time");
        try_table(me);
        break;
      }
      case 1: enter_pool(me); break;
      case 2: make_and_use(); break;
      default: {
        const int door = static_cast<int>(me.pick(kRealDoors));
        const bool is_last = door + 1 == kRealDoors;
        const int second =
            is_last ? -1 : door + 1 + static_cast<int>(me.pick(static_cast<std::uint64_t>(kRealDoors - 1 - door)));
        const Stay stay{now_ns() + static_cast<std::int64_t>(me.pick(kLongestStayNs)), {}};
        visit(me, door, pick_manner(me, !is_last), stay, second);
        continue;  // counted there
      }
    }
    me.count();
  }
}

// --- queue ------------------------------------------------------------------------------------------------------------

std::size_t pick_size(Worker& me) {
  const std::uint64_t dice = me.pick(200);
  if (dice == 0) return 2 + me.pick(8000);
  if (dice < 20) return 2 + me.pick(500);
  return 2 + me.pick(12);
}

void put_in_place(brood::Queue<Message>& queue, const Message& message) {
  brood::Loan<Message> loan = queue.loan(message.size());
  std::copy(message.begin(), message.end(), loan.begin());
  queue.put(std::move(loan));
}

void producer(Worker& me, const Ledger& ledger) {
  for (std::uint32_t count = 1; !me.shall_end(); ++count) {
    const Message message = make_message(message_number(me.token, count), pick_size(me));
    ledger.note(Entry::will_put, message[0], me.token);
    {
      const Waiting waiting(me.seat(), "Queue::put");
      if (me.pick(8) == 0) put_in_place(me.world.queue, message);
      else me.world.queue.put(message);
    }
    ledger.note(Entry::has_put, message[0], me.token);
    me.count();
    // The ledger must not grow without bounds; the queue has shown its full speed by then.
    if (board().messages.fetch_add(1, std::memory_order_relaxed) > kFastMessages) nap_ns(kSlowPaceNs);
  }
}

void consumer(Worker& me, const Ledger& ledger) {
  Seat& seat = me.seat();
  while (seat.retire.load() == 0) {
    seat.taken.store(0);
    seat.phase.store(Phase::getting);
    Message message;
    {
      const Waiting waiting(seat, "Queue::get");
      if (me.pick(4) == 0) {
        const brood::View<Message> view = me.world.queue.get_view();
        message.assign(view.begin(), view.end());
      } else {
        message = me.world.queue.get();
      }
    }
    if (!message.empty()) seat.taken.store(message[0]);
    if (!is_whole(message)) violation("Queue: a message is torn");
    else if (message[0] == kEndOfMessages) return;
    else ledger.note(Entry::taken, message[0], me.token);
    seat.phase.store(Phase::noted);
    me.count();
  }
}

// --- work queue -------------------------------------------------------------------------------------------------------

void boss(Worker& me, const Ledger& ledger) {
  for (std::uint32_t count = 1; !me.shall_end(); ++count) {
    const Message job = make_message(message_number(me.token, count), pick_size(me));
    ledger.note(Entry::will_put_job, job[0], me.token);
    {
      const Waiting waiting(me.seat(), "WorkQueue::put");
      me.world.jobs.put(job);
    }
    ledger.note(Entry::has_put_job, job[0], me.token);
    me.count();
    if (board().messages.fetch_add(1, std::memory_order_relaxed) > kFastMessages) nap_ns(kSlowPaceNs);
  }
}

void worker(Worker& me, const Ledger& ledger) {
  while (me.seat().retire.load() == 0) {
    std::optional<brood::Task<Message>> job;
    {
      const Waiting waiting(me.seat(), "WorkQueue::get");
      job = me.world.jobs.get_unless_over();
    }
    if (!job) return;
    if (!is_whole(**job)) violation("WorkQueue: a job is torn");
    const std::uint64_t number = (**job)[0];
    ledger.note(Entry::begun, number, me.token, job->deliveries());
    me.count();
    if (me.pick(100) == 0) continue;  // it goes back
    ledger.note(Entry::finished, number, me.token);
    const std::uint64_t delivery = job->deliveries();
    job->done();
    ledger.note(Entry::over, number, me.token, delivery);
  }
}

// --- barrier ------------------------------------------------------------------------------------------------------------

/// Of those who find it broken one mends it; the others may find it mended.
void mend_barrier(Worker& me) {
  const Waiting waiting(me.seat(), "Barrier::reset");
  const std::lock_guard guard(me.world.barrier_mender);
  if (me.world.barrier.broken()) me.world.barrier.reset();
}

/// A party of this barrier that was killed while this one waited.
void note_broken(std::int64_t waiting_since) {
  Token dead = 0;
  for (int i = 0; i < kSeats; ++i) {
    const Seat& seat = board().seats[static_cast<std::size_t>(i)];
    if (seat.waits_for[0].load() != role_name(Role::party)) continue;
    // Its successor may sit there by now.
    for (const std::uint32_t back : {0U, 1U}) {
      const Token token = make_token(i, seat.incarnation.load() - back);
      if (struck_at(token) > waiting_since) dead = token;
    }
  }
  if (dead != 0) note_recovery(dead, waiting_since);
}

void check_pass(std::uint64_t before, std::size_t index, std::int64_t waiting_since) {
  Board& b = board();
  const std::uint64_t pass = b.passes.load();
  constexpr std::int64_t kJustBeforeNs = 1'000'000'000;
  const bool one_died = b.last_party_strike_ns.load() > waiting_since - kJustBeforeNs;
  // No pass ends without this party, so exactly one has — unless a killed party had arrived for it, and its successor
  // came before the death was known.
  if (pass == before + 1) {
    const std::uint32_t bit = 1U << index;
    if (index >= kParties) violation("Barrier: index " + std::to_string(index));
    else if ((b.pass_indices[pass % b.pass_indices.size()].fetch_or(bit) & bit) != 0)
      violation("Barrier: two parties came as number " + std::to_string(index));
  } else if (!one_died || pass != before + 2) {
    violation("Barrier: " + std::to_string(pass - before) + " passes during one wait()");
  }
}

void party(Worker& me) {
  while (!me.shall_end()) {
    const std::uint64_t before = board().passes.load();
    Waiting waiting(me.seat(), role_name(Role::party));
    try {
      const std::size_t index = me.world.barrier.wait();
      waiting.over();
      check_pass(before, index, waiting.since());
      me.count();
    } catch (const brood::BrokenBarrier&) {
      note_broken(waiting.since());
      waiting.over();
      if (!me.shall_end()) mend_barrier(me);
    }
  }
  me.world.barrier.leave();
}

bool have_ended(const std::vector<int>& seats) noexcept {
  for (const int i : seats) {
    if (board().seats[static_cast<std::size_t>(i)].phase.load() != Phase::ended) return false;
  }
  return true;
}

void expect(bool holds, const std::string& what) {
  if (!holds) violation("after the round: " + what);
}

}  // namespace

const char* role_name(Role role) noexcept {
  switch (role) {
    case Role::visitor: return "visitor";
    case Role::producer: return "producer";
    case Role::consumer: return "consumer";
    case Role::putter: return "Condition, putting";
    case Role::taker: return "Condition, taking";
    case Role::party: return "Barrier::wait";
    case Role::boss: return "boss";
    case Role::worker: return "worker";
  }
  return "?";
}

void play(Role role, Worker& me, const Ledger& ledger) {
  switch (role) {
    case Role::visitor: return visitor(me);
    case Role::producer: return producer(me, ledger);
    case Role::consumer: return consumer(me, ledger);
    case Role::party: return party(me);
    case Role::boss: return boss(me, ledger);
    case Role::worker: return worker(me, ledger);
    case Role::putter:
    case Role::taker:
      while (!me.shall_end()) {
        const Waiting waiting(me.seat(), role_name(role));
        if (role == Role::putter) put_on_table(me.world);
        else take_from_table(me.world);
        me.count();
      }
  }
}

void close_round(Worker& me, const Ending& ending) {
  with_table(me.world, [&](std::unique_lock<brood::Lock>& /*guard*/) {
    board().table_closing.store(1);
    me.world.not_empty.notify_all();
    me.world.not_full.notify_all();
  });
  // Again and again: a party that had not yet seen that the round closes may have mended it.
  while (!have_ended(ending.parties)) {
    me.world.barrier.abort();
    nap_ns(kWhileOthersEndNs);
  }
  while (!have_ended(ending.bosses)) nap_ns(kWhileOthersEndNs);
  me.world.jobs.shutdown();  // its workers end when all is done
  while (!have_ended(ending.producers)) nap_ns(kWhileOthersEndNs);
  for (std::uint32_t i = 0; i < ending.consumers; ++i) me.world.queue.put(make_message(kEndOfMessages, 2));
}

void judge_world(Worker& me) {
  World& world = me.world;
  for (int door = 0; door < kRealDoors; ++door) {
    visit(me, door, Manner::brief, {});
    visit(me, door, Manner::brief, {});
  }
  expect(!world.report.locked() && !world.heal.locked() && !world.rlock.locked() && !world.rlock_heal.locked() &&
             !world.table.locked() && !world.value.locked(),
         "a lock is held by nobody");
  expect(world.semaphore.get_value() == 1, "the semaphore counts " + std::to_string(world.semaphore.get_value()));
  expect(world.bounded.get_value() == 1, "the bounded semaphore counts " + std::to_string(world.bounded.get_value()));
  expect(world.pool.get_value() == kPoolSize, "the pool counts " + std::to_string(world.pool.get_value()));
  expect(world.bounded_pool.get_value() == kPoolSize,
         "the bounded pool counts " + std::to_string(world.bounded_pool.get_value()));
  with_table(world, [](std::unique_lock<brood::Lock>& /*guard*/) {
    expect(on_table() <= kTableRoom, "there are " + std::to_string(on_table()) + " things on the table");
  });
  expect(world.queue.empty(), "the queue holds " + std::to_string(world.queue.qsize()) + " messages");
  const Message message = make_message(1, 2);
  world.queue.put(message);
  expect(world.queue.get() == message, "the queue does not work");
  expect(world.jobs.try_join(), "the work queue still has " + std::to_string(world.jobs.qsize()) +
                                    " jobs in line and " + std::to_string(world.jobs.leased()) +
                                    " in somebody's hands");
  expect(world.jobs.dead_letters() == 0, "the work queue has dead letters");
  world.barrier.reset();
  expect(!world.barrier.broken(), "the barrier cannot be mended");
}

}  // namespace stress
