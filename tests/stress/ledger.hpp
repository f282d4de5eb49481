// Ledger: which messages were put and which were taken, in a plain file that survives whoever wrote it.
#pragma once

#include <cstdint>
#include <vector>

#include "base/unique_fd.hpp"
#include "stress/board.hpp"
#include "stress/world.hpp"

namespace stress {

/// Number of a message: its producer's seat and incarnation (as in Token, 20 bits of it), and a count.
std::uint64_t message_number(Token producer, std::uint32_t count) noexcept;
/// The one that tells a consumer to end.
inline constexpr std::uint64_t kEndOfMessages = 0;
/// The words of a message all follow from the first; its size is given.
Message make_message(std::uint64_t number, std::size_t words);
bool is_whole(const Message& message) noexcept;

enum class Entry : std::uint64_t {
  will_put = 1,
  has_put = 2,
  taken = 3,
  // Of the work queue.
  will_put_job = 4,
  has_put_job = 5,
  begun = 6,     ///< detail: which delivery of the job it is
  finished = 7,  ///< noted before Task::done()
  over = 8,      ///< noted after it; detail: which delivery
};

/// A consumer that was killed while it owed the ledger a note.
struct Debt {
  std::uint64_t taken = 0;  ///< what it had taken; 0 = it was killed inside get() or right behind it
  std::int64_t died_ns = 0;
};

struct Verdict {
  std::uint64_t put = 0;
  std::uint64_t taken = 0;
  std::uint64_t missing = 0;        ///< put, and not taken by anybody who lives
  std::uint64_t traced = 0;         ///< of those: the killed consumer's own word names it
  std::uint64_t killed_in_get = 0;  ///< consumers killed between the call of get() and their own word
};

/// Of the work queue: each job is done at least once, and the number of its deliveries tells how often it was begun.
struct JobVerdict {
  std::uint64_t put = 0;
  std::uint64_t done = 0;
  std::uint64_t redelivered = 0;      ///< given to more than one worker
  std::uint64_t most_deliveries = 0;  ///< of one job
};

/// One plain file without a name, opened before any worker is forked. A note is one write of one record that crosses no page.
class Ledger {
 public:
  Ledger();
  void note(Entry entry, std::uint64_t number, Token who, std::uint64_t detail = 0) const;
  /// After everybody has ended and the queue is empty. Says what is wrong by violation().
  [[nodiscard]] Verdict judge(const std::vector<Debt>& debts) const;
  /// After everybody has ended and the work queue is joined.
  [[nodiscard]] JobVerdict judge_jobs() const;
  void clear() const;

 private:
  struct Record {
    Entry entry;
    std::uint64_t number;
    Token who;
    std::int64_t at_ns;
    std::uint64_t check;
    std::uint64_t detail;
    std::uint64_t spare[2];
  };
  static_assert(sizeof(Record) == 64);
  [[nodiscard]] static std::uint64_t check_of(const Record& record) noexcept;
  /// All notes of these kinds.
  [[nodiscard]] std::vector<Record> read(Entry first, Entry last) const;
  static void check_order(const std::vector<Record>& records);

  brood::base::UniqueFd file_;
};

}  // namespace stress
