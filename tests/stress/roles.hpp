// Roles: what each worker of a round does, again and again, until it is told to end.
#pragma once

#include "stress/ledger.hpp"
#include "stress/visit.hpp"

namespace stress {

enum class Role { visitor, producer, consumer, putter, taker, party, boss, worker };
const char* role_name(Role role) noexcept;

/// Runs until the round closes or the worker shall retire. Consumers end by a message, so that none is left behind.
void play(Role role, Worker& me, const Ledger& ledger);

/// After a round, in a process of its own: brings those who sleep to their end, in good order.
struct Ending {
  std::uint32_t consumers = 0;
  /// Seats of the parties, of the producers and of the bosses.
  std::vector<int> parties;
  std::vector<int> producers;
  std::vector<int> bosses;
};
void close_round(Worker& me, const Ending& ending);
/// After all have ended, in a fresh process: every object is in order and works.
void judge_world(Worker& me);

}  // namespace stress
