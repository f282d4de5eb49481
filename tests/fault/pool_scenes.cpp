// Pool: a worker that is killed anywhere in its part of a task costs one item at most, and what its desk says of the others is
// true; a master that is killed anywhere in a task leaves nothing.
#include <unistd.h>

#include <array>
#include <atomic>
#include <numeric>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "base/unique_fd.hpp"
#include "brood/error.hpp"
#include "brood/pool.hpp"
#include "fault/parts.hpp"
#include "fault/warm.hpp"
#include "os/process_identity.hpp"
#include "os/reap.hpp"
#include "pool/desk_master.hpp"

namespace fault {
namespace {

using pool_test::DeskMaster;
using pool_test::Said;
namespace pool = brood::pool;

constexpr std::size_t kItems = 8;
/// How often each item's function was entered, and left: side effects that outlive the worker.
struct Works {
  std::array<std::atomic<int>, kItems> entered{};
  std::array<std::atomic<int>, kItems> left{};
  std::atomic<pid_t> worker{0};
};
Works& works() {
  static auto& all = shared<Works>();
  return all;
}
void forget_works() {
  for (std::size_t i = 0; i < kItems; ++i) {
    works().entered.at(i) = 0;
    works().left.at(i) = 0;
  }
  works().worker = 0;
}

int times_seven(int item) {
  works().worker = ::getpid();
  ++works().entered.at(static_cast<std::size_t>(item));
  const int out = item * 7;
  ++works().left.at(static_cast<std::size_t>(item));
  return out;
}
/// Longer than what a ring takes: comes through the pipe.
constexpr std::size_t kLong = 9000;
std::string repeated(int item) {
  ++works().entered.at(static_cast<std::size_t>(item));
  std::string out(kLong, static_cast<char>('a' + item));
  ++works().left.at(static_cast<std::size_t>(item));
  return out;
}
/// Says of which item it is.
int first_of(const std::string& text) {
  const int item = text.at(0) - 'a';
  ++works().entered.at(static_cast<std::size_t>(item));
  const bool is_whole = text == std::string(kLong, text[0]);
  ++works().left.at(static_cast<std::size_t>(item));
  return is_whole ? item * 7 : -1;
}

/// What a worker is to do: tasks of so many items each, which are 0, 1, … one after the other.
template <class R, class T>
struct Work {
  using Function = R(std::conditional_t<std::is_same_v<T, int>, int, const T&>);
  Function* function;
  std::vector<std::size_t> tasks;
  bool arguments_by_pipe = false;

  static T item(int number) {
    if constexpr (std::is_same_v<T, int>) return number;
    else return T(kLong, static_cast<char>('a' + number));
  }
  static bool is_right(const R& result, int number) {
    if constexpr (std::is_same_v<R, int>) return result == number * 7;
    else return result == R(kLong, static_cast<char>('a' + number));
  }
};

/// A desk with some work on it, then the order to stop.
template <class R, class T>
struct WorkDesk {
  /// What goes through the pipe must fit in: nobody reads yet.
  WorkDesk(const Work<R, T>& work, const std::vector<int>& items)
      : master(std::type_identity<void(T)>(), work.function) {
    std::size_t next = 0;
    for (const std::size_t size : work.tasks) {
      std::vector<T> taken;
      for (std::size_t i = 0; i < size && next < items.size(); ++i) taken.push_back(work.item(items[next++]));
      if (!taken.empty()) seqs.push_back(master.offer(taken, work.arguments_by_pipe));
    }
    master.tell_to_stop();
    master.publish();
  }
  void run() {
    const pool::WorkerOrder order{.number = 1};
    pool::run_worker(master.pipe.second, master.desk_memory, master.hall_memory, order);
  }
  /// A payload that was announced. Nothing if it will not come: its sender is dead.
  std::optional<R> receive() {
    try {
      brood::detail::Received received;
      brood::detail::Chunk chunk;
      const auto got = master.pipe.first.connection.receive_in_place(
          received, chunk, brood::Deadline::never().capped(std::int64_t{20'000'000}));
      if (!got) return std::nullopt;
      brood::Decoder in(*got);
      return brood::detail::decode<R>(in);
    } catch (const brood::EndOfFile&) {
      return std::nullopt;
    } catch (const brood::BrokenMessage&) {
      return std::nullopt;
    }
  }
  DeskMaster master;
  std::vector<std::uint64_t> seqs;
};

std::vector<int> numbers(std::size_t count) {
  std::vector<int> out;
  for (std::size_t i = 0; i < count; ++i) out.push_back(static_cast<int>(i));
  return out;
}

/// The worker is killed. What its desk says is judged as the pool does (Core::read_from, Core::bury).
template <class R, class T>
struct WorkerDies : Scene {
  explicit WorkerDies(const Work<R, T>& it) : work(it) {}
  Work<R, T> work;
  const std::size_t count = std::accumulate(work.tasks.begin(), work.tasks.end(), std::size_t{0});
  WorkDesk<R, T> desk{work, numbers(count)};

  void ready() override {
    settle_in();
    // Everything once, so that it is warm.
    WorkDesk<R, T>(work, numbers(count)).run();
    forget_works();
  }
  void operate() override { desk.run(); }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    const std::vector<Said> said = desk.master.read();
    std::size_t next = said.empty() ? 0 : 1;  // that it is ready
    int number = 0;
    int lost = 0;
    std::vector<int> untouched;
    for (std::size_t task = 0; task < work.tasks.size(); ++task) {
      for (std::size_t i = 0; i < work.tasks[task]; ++i, ++number) {
        const std::string name = "item " + std::to_string(number);
        const int entered = works().entered.at(static_cast<std::size_t>(number));
        const std::string times = name + " was entered " + std::to_string(entered) + " times";
        if (next < said.size()) {
          const Said& one = said[next++];
          findings.check(one.kind == pool::Report::value && one.seq == desk.seqs[task] && one.item == i &&
                             one.is_last == (i + 1 == work.tasks[task]),
                         name + " has another one's record");
          std::optional<R> result;
          if (one.is_by_pipe) {
            result = desk.receive();
            findings.check(result || next == said.size(), name + " was announced and did not come, yet others came");
          } else {
            brood::Decoder in(one.bytes);
            result = brood::detail::decode<R>(in);
          }
          if (result) {
            findings.check(work.is_right(*result, number), name + " has a wrong result");
            findings.check(entered == 1 && works().left.at(static_cast<std::size_t>(number)) == 1,
                           times + ", with a result");
            continue;
          }
          ++lost;
        } else if (desk.master.has_begun(desk.seqs[task], static_cast<std::uint32_t>(i))) {
          ++lost;
        } else {
          findings.check(entered == 0, times + ", and goes to another worker");
          untouched.push_back(number);
          continue;
        }
        findings.check(entered <= 1, times);
      }
    }
    findings.check(next == said.size(), "the worker has said something of no item");
    findings.check(lost <= 1, "one death costs " + std::to_string(lost) + " items");
    // The others go to a new worker, with a desk of its own.
    if (untouched.empty()) return;
    findings.fresh("another worker", [&](Self&) {
      WorkDesk<R, T> other(Work<R, T>{work.function, {untouched.size()}, false}, untouched);
      other.run();
      const std::vector<Said> all = other.master.read();
      must(all.size() == untouched.size() + 1, "it has said " + std::to_string(all.size()) + " things");
      for (std::size_t i = 0; i < untouched.size(); ++i) {
        std::optional<R> result;
        if (all[i + 1].is_by_pipe) {
          result = other.receive();
        } else {
          brood::Decoder in(all[i + 1].bytes);
          result = brood::detail::decode<R>(in);
        }
        must(result && work.is_right(*result, untouched[i]), "item " + std::to_string(untouched[i]) + " is wrong");
      }
    });
    for (const int one : untouched) {
      const int entered = works().entered.at(static_cast<std::size_t>(one));
      findings.check(entered == 1,
                     "item " + std::to_string(one) + " was entered " + std::to_string(entered) + " times");
    }
  }
};

/// A process with a Pool is killed in apply() or map(): its worker ends, nothing is left, nothing was done twice.
struct MasterDies : Scene {
  explicit MasterDies(std::size_t items) : count(items) {}
  std::size_t count;
  std::optional<brood::Pool> pool;  ///< the victim's
  std::atomic<int>& returned = shared_zero(1);
  void ready() override {
    settle_in();
    brood::PoolOptions options;
    options.process.start_method = brood::StartMethod::fork;
    pool.emplace(1, options);
    for (int i = 0; i < 3; ++i) {
      (void)pool->map(times_seven, numbers(count), {.chunk_size = 2});
      (void)pool->apply(times_seven, 0);
    }
    const pid_t worker = works().worker;
    forget_works();
    works().worker = worker;
  }
  void operate() override {
    const bool is_right = count == 1 ? pool->apply(times_seven, 0) == 0
                                     : pool->map(times_seven, numbers(count), {.chunk_size = 2}).back() ==
                                           static_cast<int>(count - 1) * 7;
    returned = is_right ? 1 : -1;
  }
  Sleep on_sleep(int /*nth*/) override { return Sleep::woken; }  // by the worker
  void judge(Findings& findings, const Arrival& /*at*/) override {
    const brood::base::UniqueFd worker(brood::os::pidfd_open(works().worker));
    findings.comes([&] { return !worker || brood::os::pidfd_ended(worker.get()); }, "the worker of a dead master ends");
    findings.check(returned >= 0, "a wrong result");
    for (std::size_t i = 0; i < count; ++i) {
      const int entered = works().entered.at(i);
      findings.check(entered <= 1 && (returned == 0 || entered == 1),
                     "item " + std::to_string(i) + " was entered " + std::to_string(entered) + " times");
    }
  }
};

}  // namespace

void add_pool_operations(Operations& all) {
  add<WorkerDies<int, int>>(all, "Pool: a worker's tasks", Work<int, int>{times_seven, {3, 1, 4}});
  // Copies of 9 KiB are a step for each byte.
  constexpr long kLongCopies = 997;
  add_every<WorkerDies<std::string, int>>(all, kLongCopies, "Pool: a worker's results through the pipe",
                                          Work<std::string, int>{repeated, {1, 1}});
  add_every<WorkerDies<int, std::string>>(all, kLongCopies, "Pool: a worker's arguments through the pipe",
                                          Work<int, std::string>{first_of, {1}, true});
  add<MasterDies>(all, "Pool: apply, its master dies", std::size_t{1});
  add<MasterDies>(all, "Pool: map, its master dies", kItems);
}

}  // namespace fault
