#include "stress/ledger.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>

namespace stress {
namespace {

constexpr std::uint64_t mix(std::uint64_t x) noexcept {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

std::string name_of(std::uint64_t number) {
  return "message " + std::to_string(number & 0xffffffff) + " of seat " + std::to_string(number >> 52) +
         " incarnation " + std::to_string((number >> 32) & 0xfffff);
}

}  // namespace

std::uint64_t message_number(Token producer, std::uint32_t count) noexcept {
  return static_cast<std::uint64_t>(seat_of(producer)) << 52 |
         static_cast<std::uint64_t>(incarnation_of(producer) & 0xfffff) << 32 | count;
}

Message make_message(std::uint64_t number, std::size_t words) {
  Message out(std::max<std::size_t>(words, 2));
  out[0] = number;
  out[1] = out.size();
  for (std::size_t i = 2; i < out.size(); ++i) out[i] = mix(number + i);
  return out;
}

bool is_whole(const Message& message) noexcept {
  if (message.size() < 2 || message[1] != message.size()) return false;
  for (std::size_t i = 2; i < message.size(); ++i) {
    if (message[i] != mix(message[0] + i)) return false;
  }
  return true;
}

Ledger::Ledger() : file_(::memfd_create("soak ledger", MFD_CLOEXEC)) {
  // In memory, since a disk would slow the workers down to its own pace and leave victims in uninterruptible sleep.
  if (!file_ || ::fcntl(file_.get(), F_SETFL, O_APPEND) != 0) throw std::runtime_error("no file for the ledger");
}

std::uint64_t Ledger::check_of(const Record& r) noexcept {
  return mix(static_cast<std::uint64_t>(r.entry) ^ mix(r.detail) ^
             mix(r.number ^ mix(r.who ^ static_cast<std::uint64_t>(r.at_ns))));
}

void Ledger::note(Entry entry, std::uint64_t number, Token who, std::uint64_t detail) const {
  Record record{entry, number, who, now_ns(), 0, detail, {}};
  record.check = check_of(record);
  if (::write(file_.get(), &record, sizeof record) != static_cast<ssize_t>(sizeof record))
    throw std::runtime_error("the ledger cannot be written");
}

void Ledger::clear() const {
  if (::ftruncate(file_.get(), 0) != 0) throw std::runtime_error("the ledger cannot be emptied");
}

std::vector<Ledger::Record> Ledger::read(Entry first, Entry last) const {
  const off_t size = ::lseek(file_.get(), 0, SEEK_END);
  if (size < 0 || size % static_cast<off_t>(sizeof(Record)) != 0) throw std::runtime_error("the ledger is torn");
  std::vector<Record> records(static_cast<std::size_t>(size) / sizeof(Record));
  std::size_t done = 0;
  const std::size_t wanted = records.size() * sizeof(Record);
  while (done < wanted) {
    const ssize_t got =
        ::pread(file_.get(), reinterpret_cast<char*>(records.data()) + done, wanted - done, static_cast<off_t>(done));
    if (got <= 0) throw std::runtime_error("the ledger cannot be read");
    done += static_cast<std::size_t>(got);
  }
  for (const Record& record : records) {
    if (record.check != check_of(record)) throw std::runtime_error("the ledger holds a torn record");
  }
  std::erase_if(records, [&](const Record& record) { return record.entry < first || record.entry > last; });
  return records;
}

/// What one consumer took of one producer came in the order in which it was put.
void Ledger::check_order(const std::vector<Record>& records) {
  std::map<std::pair<Token, std::uint64_t>, std::uint64_t> last_seen;
  for (const Record& record : records) {
    if (record.entry != Entry::taken) continue;
    std::uint64_t& last = last_seen[{record.who, record.number >> 32}];
    if (record.number <= last) violation("Queue: " + name_of(record.number) + " came out of order");
    last = record.number;
  }
}

Verdict Ledger::judge(const std::vector<Debt>& debts) const {
  Verdict out;
  std::vector<Record> records = read(Entry::will_put, Entry::taken);
  check_order(records);
  // Big and flat, so that its memory goes back to the system: who forks has little.
  std::sort(records.begin(), records.end(), [](auto& a, auto& b) { return a.number < b.number; });
  std::vector<std::int64_t> lost_at;
  for (auto it = records.begin(); it != records.end();) {
    const std::uint64_t number = it->number;
    std::int64_t put_ns = 0;
    bool has_put = false;
    std::uint64_t taken = 0;
    for (; it != records.end() && it->number == number; ++it) {
      if (it->entry == Entry::will_put) put_ns = it->at_ns;
      else if (it->entry == Entry::has_put) has_put = true;
      else ++taken;
    }
    if (put_ns == 0) violation("Queue: " + name_of(number) + " was taken, but nobody has put it");
    if (taken > 1) violation("Queue: " + name_of(number) + " was taken " + std::to_string(taken) + " times");
    out.taken += taken;
    out.put += has_put ? 1 : 0;
    if (!has_put || taken != 0) continue;
    ++out.missing;
    if (std::any_of(debts.begin(), debts.end(), [&](auto& debt) { return debt.taken == number; })) ++out.traced;
    else lost_at.push_back(put_ns);
  }
  // Each missing message was in the hands of one killed consumer: of the one whose own word names it, or of one that
  // was killed after the message was put and before it had said what it got.
  std::vector<std::int64_t> killed_at;
  for (const Debt& debt : debts) {
    if (debt.taken == 0) killed_at.push_back(debt.died_ns);
  }
  out.killed_in_get = killed_at.size();
  // Latest put first: it needs the latest killings.
  std::sort(lost_at.rbegin(), lost_at.rend());
  std::sort(killed_at.rbegin(), killed_at.rend());
  for (std::size_t i = 0; i < lost_at.size(); ++i) {
    if (i >= killed_at.size() || killed_at[i] < lost_at[i]) {
      violation("Queue: " + std::to_string(lost_at.size() - i) +
                " messages are lost that no killed consumer can have taken");
      break;
    }
  }
  return out;
}

JobVerdict Ledger::judge_jobs() const {
  JobVerdict out;
  std::vector<Record> records = read(Entry::will_put_job, Entry::over);
  std::sort(records.begin(), records.end(), [](auto& a, auto& b) { return a.number < b.number; });
  for (auto it = records.begin(); it != records.end();) {
    const std::uint64_t number = it->number;
    const std::string name = "WorkQueue: " + name_of(number);
    bool will_put = false;
    bool has_put = false;
    bool finished = false;
    std::uint64_t over = 0;
    std::vector<std::uint64_t> deliveries;
    for (; it != records.end() && it->number == number; ++it) {
      switch (it->entry) {
        case Entry::will_put_job: will_put = true; break;
        case Entry::has_put_job: has_put = true; break;
        case Entry::begun: deliveries.push_back(it->detail); break;
        case Entry::finished: finished = true; break;
        case Entry::over: over = it->detail; break;
        default: break;
      }
    }
    std::sort(deliveries.begin(), deliveries.end());
    if (!will_put) violation(name + " was begun, but nobody has put it");
    if (has_put && !finished) violation(name + " was put, and nobody has done it");
    if (std::adjacent_find(deliveries.begin(), deliveries.end()) != deliveries.end())
      violation(name + " was given to two workers as the same delivery");
    if (over != 0 && deliveries.back() > over) violation(name + " came back although it was done");
    out.put += has_put ? 1 : 0;
    out.done += finished ? 1 : 0;
    if (deliveries.empty()) continue;
    out.redelivered += deliveries.back() > 1 ? 1 : 0;
    out.most_deliveries = std::max(out.most_deliveries, deliveries.back());
  }
  return out;
}

}  // namespace stress
