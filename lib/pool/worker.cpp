#include "pool/worker.hpp"

#include <cxxabi.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>

#include "brood/detail/pool_call.hpp"
#include "brood/detail/queue_core.hpp"
#include "brood/detail/type_id.hpp"
#include "brood/error.hpp"
#include "brood/remote_error.hpp"
#include "os/forks.hpp"
#include "os/function_id.hpp"
#include "os/not_instrumented.hpp"
#include "os/thrown_from.hpp"
#include "pool/desk.hpp"
#include "pool/task_now.hpp"
#include "process/current.hpp"
#include "sync/spin.hpp"

namespace brood::inline v1::pool {
namespace {

/// What travels through the pipe of a worker.
enum class PoolMessage : std::uint8_t {};

/// About 20 µs: twice what a sleep and wake-up costs.
constinit sync::SpinBudget g_task_spin(1400);

/// Results that wait so long without a bell are rung for.
constexpr std::int64_t kRingAfterNs = 50'000;
/// Between two looks whether a message that a record has announced will come.
constexpr std::int64_t kMessageLookNs = 20'000'000;
/// Between two looks at the memory.
constexpr std::int64_t kMemoryLookNs = 1'000'000;

std::uint64_t resident_bytes() {
  // Nothing that allocates: it is looked at often.
  std::FILE* const file = std::fopen("/proc/self/statm", "re");
  if (file == nullptr) return 0;
  unsigned long all = 0;
  unsigned long resident = 0;
  const int found = std::fscanf(file, "%lu %lu", &all, &resident);
  std::fclose(file);
  return found == 2 ? resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)) : 0;
}

/// A function that the master has named.
struct Function {
  detail::PoolInvoke invoke = nullptr;
  const void* target = nullptr;
  std::exception_ptr missing = {};  ///< why it was not found
};

class Worker {
 public:
  Worker(detail::ConnectionCore& pipe, std::byte* desk, Hall& hall, const WorkerOrder& order)
      : pipe_(pipe),
        desk_(*reinterpret_cast<Desk*>(desk)),
        tasks_(desk + kTaskRingAt),
        results_(desk + kResultRingAt, desk_.result_tail, desk_.result_head),
        hall_(hall),
        order_(order) {}

  void run();

 private:
  [[nodiscard]] bool make_state();
  [[nodiscard]] const std::byte* next_record();
  void learn(const Record& record, const std::byte* payload);
  void do_task(const Record& record, const std::byte* body);
  [[nodiscard]] bool begin(std::uint64_t seq) noexcept;
  [[nodiscard]] bool receive(std::uint64_t seq, std::span<const std::byte>& bytes);
  [[nodiscard]] std::shared_ptr<const void> invoke(const Function& function, std::span<const std::byte> arguments,
                                                   Report& kind);
  void report(Report kind, const Record& about, std::int64_t duration_ns, bool rings_after);
  void put(Record record, const ResultHead& head, std::span<const std::byte> payload);
  void ring() noexcept;
  [[nodiscard]] std::uint64_t grown(std::int64_t now);

  detail::ConnectionCore& pipe_;
  Desk& desk_;
  const std::byte* tasks_;
  RingWriter results_;
  Hall& hall_;
  const WorkerOrder& order_;
  std::unique_ptr<detail::WorkerState> state_;
  std::vector<Function> functions_;
  std::uint64_t position_ = 0;  ///< in the tasks
  std::int64_t now_ns_ = 0;     ///< when it last looked at the clock; 0: long ago
  std::int64_t rung_ns_ = 0;
  bool is_rung_ = true;  ///< nothing was said since the last bell
  std::uint64_t first_resident_ = 0;
  std::int64_t memory_looked_ns_ = 0;
  std::uint64_t grown_bytes_ = 0;
  os::ThrownFrom from_;
  Encoder out_;
  detail::Received received_;
  detail::Chunk chunk_;
};

void Worker::ring() noexcept {
  // SYNC pool-bell: the read-modify-write is a barrier between our record and this look; the master's leader does the same between
  // leaving and its last look (Core::leave), and a sleeper between arming and its second look.
  channel::WakeWord& bell = hall_.leads.fetch_or(0) != 0 ? hall_.caller : hall_.pump;
  bell.notify_every();
  is_rung_ = true;
}

void Worker::put(Record record, const ResultHead& head, std::span<const std::byte> payload) {
  const std::size_t bytes = padded(sizeof record + sizeof head + payload.size());
  std::byte* to = nullptr;
  while ((to = results_.reserve(bytes)) == nullptr) {
    const std::uint32_t seen = desk_.room.arm();
    if ((to = results_.reserve(bytes)) != nullptr) break;
    ring();
    (void)os::futex_wait(desk_.room.word, seen, Deadline::never());
  }
  record.bytes = static_cast<std::uint32_t>(bytes);
  record.payload = static_cast<std::uint32_t>(payload.size());
  std::memcpy(to, &record, sizeof record);
  std::memcpy(to + sizeof record, &head, sizeof head);
  if (!payload.empty()) std::memcpy(to + sizeof record + sizeof head, payload.data(), payload.size());
  results_.commit(bytes);
  is_rung_ = false;
}

/// What is in out_.
void Worker::report(Report kind, const Record& about, std::int64_t duration_ns, bool rings_after) {
  Record record = about;
  record.kind = static_cast<std::uint8_t>(kind);
  const ResultHead head{duration_ns, grown_bytes_};
  const std::span<const std::byte> bytes = out_.bytes();
  if (bytes.size() <= kMostInline && out_.handles().empty()) {
    put(record, head, bytes);
    if (rings_after) ring();
    return;
  }
  record.is_by_pipe = 1;
  if (out_.handles().empty()) {
    detail::Chunk chunk;
    try {
      chunk = pipe_.allocate(bytes.size(), Deadline::now());
    } catch (const NoSpace&) {
      // It streams.
    }
    if (chunk) {
      std::memcpy(chunk.data(), bytes.data(), bytes.size());
      (void)pipe_.send(chunk, 0, bytes.size(), Deadline::never());
      put(record, head, {});
      ring();
      return;
    }
  }
  put(record, head, {});
  ring();  // the master reads while we send
  (void)pipe_.send(bytes, out_.handles(), Deadline::never());
  ring();
}

BROOD_CATCHES_FORCED_UNWIND bool Worker::make_state() {
  if (!order_.initializer.empty()) {
    try {
      os::call_and_note_throw(
          [](void* self) {
            auto& me = *static_cast<Worker*>(self);
            me.state_ = detail::make_state(me.order_.initializer);
          },
          this, from_);
    } catch (const abi::__forced_unwind&) {
      throw;
    } catch (...) {
      out_.clear();
      detail::encode_exception(
          out_, std::current_exception(),
          {.pid = ::getpid(), .process_name = process::current().name, .stack = describe(from_, "  ")});
      report(Report::broken, {}, 0, true);
      return false;
    }
  }
  if (order_.watches_memory) first_resident_ = resident_bytes();
  out_.clear();
  report(Report::ready, {}, 0, true);
  return true;
}

const std::byte* Worker::next_record() {
  const auto look = [this] {
    // SYNC ring-put: acquire; pairs with the release that stores the tail.
    return record_at(tasks_, position_, desk_.task_tail.load(std::memory_order_acquire));
  };
  if (const std::byte* at = look()) return at;
  // Whatever was passed over behind the last result: nobody but us can say that it is there.
  if (!is_rung_) ring();
  now_ns_ = 0;
  for (;;) {
    sync::Spinner spinner(g_task_spin);
    do {
      if (const std::byte* at = look()) {
        spinner.succeeded();
        return at;
      }
    } while (spinner.again());
    const std::uint32_t seen = desk_.tasks.arm();
    if (const std::byte* at = look()) return at;
    // A master that is killed is the business of the thread that every daemon has for that.
    (void)os::futex_wait(desk_.tasks.word, seen, Deadline::never());
  }
}

void Worker::run() {
  if (!make_state()) return;
  for (;;) {
    const std::byte* const at = next_record();
    Record record{};
    std::memcpy(&record, at, sizeof record);
    const auto order = static_cast<Order>(record.kind);
    if (order == Order::stop) return;
    if (order == Order::function) learn(record, at + sizeof record);
    else do_task(record, at + sizeof record);
    position_ += record.bytes;
    // SYNC ring-taken: release; pairs with the acquire in RingWriter::reserve.
    desk_.task_head.store(position_, std::memory_order_release);
  }
}

void Worker::learn(const Record& record, const std::byte* payload) {
  Function function;
  try {
    Decoder in({payload, record.payload});
    const auto invoke = detail::decode<os::FunctionId>(in);
    if (!in.try_nil()) function.target = os::resolve(detail::decode<os::FunctionId>(in));
    function.invoke = reinterpret_cast<detail::PoolInvoke>(const_cast<void*>(os::resolve(invoke)));
  } catch (...) {
    function.missing = std::current_exception();
  }
  if (functions_.size() <= record.seq) functions_.resize(record.seq + 1);
  functions_[record.seq] = std::move(function);
}

bool Worker::begin(std::uint64_t seq) noexcept {
  desk_.begun.store(0, std::memory_order_relaxed);  // published by the stage
  std::uint64_t expected = stage_word(seq, Stage::offered);
  return desk_.stages[seq % kStages].compare_exchange_strong(expected, stage_word(seq, Stage::running));
}

/// False if the message will not come.
bool Worker::receive(std::uint64_t seq, std::span<const std::byte>& bytes) {
  for (;;) {
    if (const auto got = pipe_.receive_in_place(received_, chunk_, Deadline::never().capped(kMessageLookNs))) {
      bytes = *got;
      return true;
    }
    if (desk_.stages[seq % kStages].load() == stage_word(seq, Stage::unsent)) return false;
  }
}

std::uint64_t Worker::grown(std::int64_t now) {
  if (order_.watches_memory && now - memory_looked_ns_ >= kMemoryLookNs) {
    memory_looked_ns_ = now;
    const std::uint64_t resident = resident_bytes();
    grown_bytes_ = resident > first_resident_ ? resident - first_resident_ : 0;
  }
  return grown_bytes_;
}

/// The result is in out_.
BROOD_CATCHES_FORCED_UNWIND std::shared_ptr<const void> Worker::invoke(const Function& function,
                                                                       std::span<const std::byte> arguments,
                                                                       Report& kind) {
  struct Call {
    const Function& function;
    void* state;
    std::span<const std::byte> arguments;
    Encoder& out;
    std::shared_ptr<const void> kept = {};
  } call{function, state_ ? state_->object() : nullptr, arguments, out_};
  out_.clear();
  kind = Report::value;
  try {
    if (function.missing) std::rethrow_exception(function.missing);
    os::call_and_note_throw(
        [](void* context) {
          auto& it = *static_cast<Call*>(context);
          const os::ForkedCopiesEnd guard("the task of a Pool");
          Decoder in(it.arguments);
          it.kept = it.function.invoke(it.function.target, it.state, in, it.out);
        },
        &call, from_);
  } catch (const abi::__forced_unwind&) {
    throw;
  } catch (...) {
    kind = Report::exception;
    out_.clear();
    detail::encode_exception(
        out_, std::current_exception(),
        {.pid = ::getpid(), .process_name = process::current().name, .stack = describe(from_, "  ")});
    from_ = {};
  }
  return std::move(call.kept);
}

void Worker::do_task(const Record& record, const std::byte* body) {
  TaskHead head{};
  std::memcpy(&head, body, sizeof head);
  std::span<const std::byte> payload(body + sizeof head, record.payload);
  struct Release {
    Worker& worker;
    ~Release() {
      worker.chunk_.give_back();
      worker.received_.clear();
    }
  };
  std::unique_ptr<Release> release;
  if (record.is_by_pipe != 0) {
    release = std::make_unique<Release>(Release{*this});
    if (!receive(record.seq, payload)) return;
  }
  if (!begin(record.seq)) return;
  const std::byte* sizes = head.items > 1 ? payload.data() : nullptr;
  std::size_t at = head.items > 1 ? std::size_t{head.items} * sizeof(std::uint32_t) : 0;
  if (now_ns_ == 0) now_ns_ = Deadline::clock_ns();
  for (std::uint32_t item = 0; item < head.items; ++item) {
    std::uint32_t size = static_cast<std::uint32_t>(payload.size());
    if (sizes != nullptr) std::memcpy(&size, sizes + std::size_t{item} * sizeof size, sizeof size);
    const std::int64_t began = now_ns_;
    desk_.began_ns.store(began, std::memory_order_relaxed);  // the master takes one that is a moment old for what it is
    // SYNC pool-kill: a barrier between this and the look; the master does the same between `kill` and its look at what was begun
    // (Core::kill). So it knows which item it kills, and that nothing was begun behind it.
    desk_.begun.exchange(item + 1);
    while (desk_.kill.load() != 0) [[unlikely]] std::this_thread::yield();
    TaskNow::begin(desk_, record.seq, head.soft_ns == 0 ? 0 : began + head.soft_ns, head.attempt, head.number + item);
    Report kind{};
    // Objects in the result live until it has been sent.
    const std::shared_ptr<const void> kept = invoke(functions_[head.function], payload.subspan(at, size), kind);
    TaskNow::end();
    at += size;
    now_ns_ = Deadline::clock_ns();
    const bool is_last = item + 1 == head.items;
    (void)grown(now_ns_);
    Record about{};
    about.seq = record.seq;
    about.item = item;
    about.is_last = is_last ? 1 : 0;
    // relaxed: a guess. Before the worker waits it rings in any case.
    const bool rings =
        (is_last && record.seq >= desk_.ring_at.load(std::memory_order_relaxed)) || now_ns_ - rung_ns_ >= kRingAfterNs;
    report(kind, about, now_ns_ - began, rings);
    if (rings) rung_ns_ = now_ns_;
  }
}

}  // namespace

PipeEnd PipeEnd::open(const Handle& handle) {
  return {detail::ConnectionCore::open(handle, detail::kPayloadType<PoolMessage>)};
}

std::pair<PipeEnd, PipeEnd> make_pipe() {
  auto [one, other] = detail::ConnectionCore::make_pipe({}, detail::kPayloadType<PoolMessage>);
  return {PipeEnd{std::move(one)}, PipeEnd{std::move(other)}};
}

void run_worker(PipeEnd& pipe, SharedMemory& desk, SharedMemory& hall, const WorkerOrder& order) {
  process::let_daemon_have_children();
  TaskNow::become_worker(order.number);
  try {
    Worker(pipe.connection, desk.bytes().data(), *reinterpret_cast<Hall*>(hall.bytes().data()), order).run();
  } catch (const PeerGone&) {
    // The master is gone: nobody expects anything of us.
  } catch (const EndOfFile&) {
    // The same.
  }
}

}  // namespace brood::inline v1::pool
