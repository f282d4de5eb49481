#include "manager/far_pool.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <utility>

#include "brood/detail/call_line.hpp"
#include "brood/error.hpp"
#include "brood/pool_proxy.hpp"
#include "brood/remote_error.hpp"
#include "call/line.hpp"
#include "manager/link.hpp"
#include "manager/pool_order.hpp"
#include "pool/job.hpp"

namespace brood::inline v1::manager {
namespace {

detail::ProxyCore without_token(const detail::ProxyCore& core) {
  auto ref = std::make_shared<Ref>();
  ref->link = core.link();
  ref->object = core.object();
  ref->owner = ::getpid();
  return detail::ProxyCore(std::move(ref));
}

/// A cancellation is one here, too, and no RemoteError.
std::exception_ptr cancellation(Decoder& in) {
  try {
    std::rethrow_exception(detail::decode_exception(in));
  } catch (const PoolTerminated& error) {
    return std::make_exception_ptr(PoolTerminated(error.what()));
  } catch (const std::exception& error) {
    return std::make_exception_ptr(CancelledError(error.what()));
  }
}

bool is_mine(const pool::JobData& job) { return job.sent_by == ::getpid(); }

}  // namespace

/// The answer to one question for results.
class FarPool::Batch final : public detail::FutureCore {
 public:
  Batch(std::shared_ptr<FarPool> pool, std::uint64_t box, std::shared_ptr<detail::Conversation> conversation)
      : pool_(std::move(pool)), box_(box), conversation_(std::move(conversation)) {}
  [[nodiscard]] std::uint64_t box() const noexcept { return box_; }
  [[nodiscard]] const std::shared_ptr<detail::Conversation>& conversation() const noexcept { return conversation_; }

 private:
  void accept(Decoder& in) override { pool_->take(*this, in); }
  const std::shared_ptr<FarPool> pool_;
  const std::uint64_t box_;
  const std::shared_ptr<detail::Conversation> conversation_;
};

std::uint64_t FarPool::State::new_box() noexcept {
  static constinit std::atomic<std::uint64_t> last = 0;
  return ++last;
}

FarPool::FarPool(const detail::ProxyCore& core) : pool_(without_token(core)), state_(new State(::getpid())) {}

FarPool::~FarPool() {
  State* const state = state_.load();
  // A copy that fork made: its mutex may be locked, and its conversation is the parent's.
  if (state->owner == ::getpid()) delete state;
}

FarPool::State& FarPool::mine() {
  State* now = state_.load();
  const pid_t self = ::getpid();
  while (now->owner != self) {
    auto fresh = std::make_unique<State>(self);
    if (state_.compare_exchange_strong(now, fresh.get())) return *fresh.release();
  }
  return *now;
}

std::uint64_t FarPool::box() {
  State& state = mine();
  const std::lock_guard lock(state.mutex);
  return state.box;
}

// --- tasks -----------------------------------------------------------------------------------------------------------------

void FarPool::submit(pool::JobData& job) {
  State& state = mine();
  std::uint64_t number = 0;
  std::uint64_t box = 0;
  {
    const std::lock_guard lock(state.mutex);
    if (state.is_left) throw UsageError("the last PoolProxy by which this could be sent is gone");
    number = ++state.last_number;
    box = state.box;
    job.sent_as = number;
    job.sent_by = state.owner;
    job.open();
    state.open.emplace(number, Open{job.self, &job, std::vector<bool>(job.items)});
  }
  try {
    send(job, box, number);
  } catch (...) {
    give_up(state, number);
    throw;
  }
  job.bytes = {};
  bool asks = false;
  {
    const std::lock_guard lock(state.mutex);
    const auto it = state.open.find(number);
    if (it == state.open.end() || state.box != box) return;  // it is done; or lose() tells it
    it->second.is_sent = true;
    ++state.awaited;
    asks = !std::exchange(state.is_asking, true);
  }
  if (asks) ask_for_results(box, nullptr);
}

/// It could not be sent, as far as anybody knows. What is not marked yet is never settled: its caller is told by an exception.
void FarPool::give_up(State& state, std::uint64_t number) {
  std::shared_ptr<detail::PoolJob> keep;
  std::shared_ptr<detail::PoolJob> dropped;
  const std::lock_guard lock(state.mutex);
  const auto it = state.open.find(number);
  if (it == state.open.end()) return;
  Open& open = it->second;
  keep = open.keep;
  // Else somebody else settles the last one, and finishes it.
  if (!std::ranges::all_of(open.settled, std::identity())) dropped = std::exchange(open.job->self, nullptr);
  erase(state, it);
}

void FarPool::send(const pool::JobData& job, std::uint64_t box, std::uint64_t number) {
  PoolTask task{.box = box, .number = number, .invoke = os::identify(job.function.invoke), .options = job.options};
  if (job.function.target != nullptr) task.target = os::identify(job.function.target);
  if (job.function.state != nullptr) task.state = job.function.state->name();
  if (job.is_map) task.first = job.first_number;
  task.chunk = job.chunk;
  task.ends.assign(job.ends.begin(), job.ends.end());
  if (task.ends.empty()) task.ends.push_back(job.bytes.size());
  task.handle_ends.assign(job.handle_ends.begin(), job.handle_ends.end());
  if (task.handle_ends.empty() && !job.handles.empty()) task.handle_ends.push_back(job.handles.size());

  const detail::Conversation conversation(pool_.link());
  detail::CallRequest request(conversation.line(), pool_.object(), {.name = "submit"});
  Encoder& out = request.arguments();
  out.array_header(3);
  detail::encode(out, task);
  out.bin(job.bytes);
  out.array_header(job.handles.size());
  for (const Handle& handle : job.handles) out.handle(handle);
  detail::call_and_decode<void>(request, Deadline::never());
}

void FarPool::withdraw(pool::JobData& job, const std::exception_ptr& /*why*/) {
  if (!is_mine(job)) return;
  try {
    pool_.call<void>("withdraw", box(), job.sent_as);
  } catch (const Error&) {
    return;  // without the server there are no tasks, and those who wait for them are told
  }
}

bool FarPool::cancel(pool::JobData& job) {
  if (!is_mine(job)) return false;
  if (!pool_.call<bool>("cancel", box(), job.sent_as)) return false;
  State& state = mine();
  // Its results are on their way.
  call::Line::before_sleeping();
  std::unique_lock lock(state.mutex);
  state.closed.wait(lock, [&] { return !state.open.contains(job.sent_as); });
  return true;
}

bool FarPool::cancel_running(pool::JobData& job, const CancelOptions& options) {
  if (cancel(job)) return true;
  return is_mine(job) && pool_.call<bool>("cancel_running", box(), job.sent_as, options.grace.count(), options.kill);
}

bool FarPool::is_running(pool::JobData& job) {
  return is_mine(job) && pool_.call<bool>("is_running", box(), job.sent_as);
}

bool FarPool::wait(pool::JobData& job, detail::PoolAwaited& what, Deadline deadline) {
  if (what.is_ready()) return true;
  if (!is_mine(job)) {
    throw UsageError("this task was given to a managed pool by process " + std::to_string(job.sent_by) +
                     ", and its result goes there");
  }
  if (deadline.passed()) return false;
  call::Line::before_sleeping();
  const std::atomic<bool> is_called = false;
  what.sleep(is_called, deadline);
  return what.is_ready();
}

// --- results ---------------------------------------------------------------------------------------------------------------

void FarPool::ask_for_results(std::uint64_t box, std::shared_ptr<detail::Conversation> conversation) {
  try {
    if (!conversation) conversation = std::make_shared<detail::Conversation>(pool_.link());
  } catch (...) {
    return lose(box, std::current_exception());  // every open future throws it
  }
  const auto batch = std::make_shared<Batch>(shared_from_this(), box, conversation);
  batch->when_settled([self = shared_from_this(), batch] {
    if (const std::exception_ptr error = batch->error()) self->lose(batch->box(), error);
  });
  try {
    detail::CallRequest request(conversation->line(), pool_.object(), {.name = "results"});
    request.arguments().array_header(1);
    request.arguments().uint(box);
    request.begin(batch);
  } catch (...) {
    (void)batch->fail(std::current_exception());  // whereupon lose() tells the futures
  }
}

/// [[job, item, word, value]…], never empty as long as something is open.
void FarPool::take(Batch& batch, Decoder& in) {
  State& state = mine();
  const detail::FutureCore::ActionsWait actions;  // until we have asked for what they may wait for
  const std::size_t count = in.array_header();
  for (std::size_t left = count; left > 0; --left) take_one(state, in);
  {
    const std::lock_guard lock(state.mutex);
    if (state.box != batch.box()) return;
    state.is_asking = state.awaited != 0 && !state.is_left;
    if (!state.is_asking) return;
    if (count == 0) throw ManagerDied("the manager's server does not know the tasks any more that it was given");
  }
  ask_for_results(batch.box(), batch.conversation());
}

void FarPool::take_one(State& state, Decoder& in) {
  in.expect_array(4, "the result of a task");
  const std::uint64_t number = in.uint();
  const auto item = in.integer<std::size_t>();
  const auto word = in.integer<std::uint8_t>();
  Decoder value(in.value([](const detail::Ext&) {}));
  const auto [keep, job] = mark(state, number, item);
  if (!keep) return;
  bool is_last = false;
  switch (static_cast<PoolWord>(word)) {
    case PoolWord::value: is_last = job->succeed(item, value); break;
    case PoolWord::exception: is_last = job->fail_encoded(item, value); break;
    default: is_last = job->fail(item, cancellation(value)); break;
  }
  if (is_last) close_job(state, number, *job);
}

std::pair<std::shared_ptr<detail::PoolJob>, pool::JobData*> FarPool::mark(State& state, std::uint64_t number,
                                                                          std::size_t item) {
  const std::lock_guard lock(state.mutex);
  const auto it = state.open.find(number);
  if (it == state.open.end()) return {};
  Open& open = it->second;
  if (item >= open.settled.size() || open.settled[item]) return {};
  open.settled[item] = true;
  return {open.keep, open.job};
}

/// From here on nobody else looks at it: all of its items are settled.
void FarPool::close_job(State& state, std::uint64_t number, pool::JobData& job) {
  job.finish();
  const std::lock_guard lock(state.mutex);
  if (const auto it = state.open.find(number); it != state.open.end()) erase(state, it);
}

/// With the lock. Its caller keeps the job until that is released.
void FarPool::erase(State& state, std::unordered_map<std::uint64_t, Open>::iterator it) {
  if (it->second.is_sent) --state.awaited;
  state.open.erase(it);
  state.closed.notify_all();
}

/// The conversation about these results has failed.
void FarPool::lose(std::uint64_t box, const std::exception_ptr& why) {
  State& state = mine();
  {
    const std::lock_guard lock(state.mutex);
    if (state.box != box) return;
    state.box = State::new_box();
    state.is_asking = false;
    for (auto& [number, open] : state.open) open.is_sent = false;
    state.awaited = 0;
  }
  fail_all(state, [&]() -> std::exception_ptr {
    try {
      std::rethrow_exception(why);
    } catch (const ManagerDied& error) {
      return std::make_exception_ptr(ManagerDied(error.what(), error.pid(), error.exitcode()));
    } catch (...) {
      return std::current_exception();  // as it is: it names no process
    }
  });
  drop_box(box);
}

/// The server keeps nothing there any more.
void FarPool::drop_box(std::uint64_t box) noexcept {
  try {
    pool_.call<void>("leave", box);
  } catch (const Error&) {
    return;  // the server is gone, and with it what we would have taken back
  }
}

/// `why` makes an exception for each job: its threads may change what they catch.
void FarPool::fail_all(State& state, const std::function<std::exception_ptr()>& why) {
  struct Lost {
    std::uint64_t number;
    std::shared_ptr<detail::PoolJob> keep;
    pool::JobData* job;
    std::size_t item;
  };
  std::vector<Lost> all;
  {
    const std::lock_guard lock(state.mutex);
    for (auto& [number, open] : state.open) {
      for (std::size_t item = 0; item < open.settled.size(); ++item) {
        if (open.settled[item]) continue;
        open.settled[item] = true;
        all.push_back({number, open.keep, open.job, item});
      }
    }
  }
  const detail::FutureCore::ActionsWait actions;
  std::exception_ptr error;
  std::uint64_t of = 0;
  for (const Lost& it : all) {
    if (std::exchange(of, it.number) != it.number) error = why();
    if (it.job->fail(it.item, error)) close_job(state, it.number, *it.job);
  }
}

void FarPool::leave() noexcept {
  State& state = *state_.load();
  if (state.owner != ::getpid()) return;
  std::uint64_t box = 0;
  {
    const std::lock_guard lock(state.mutex);
    state.is_left = true;
    if (state.last_number == 0) return;
    box = state.box;
  }
  drop_box(box);
  fail_all(state, [] {
    return std::make_exception_ptr(
        PoolTerminated("the task was not done, or nobody asks for its result: the last proxy of its Pool is gone"));
  });
}

// --- the pool itself -------------------------------------------------------------------------------------------------------

void FarPool::check_running() { pool_.call<void>("check"); }
std::size_t FarPool::size() { return pool_.call<std::size_t>("size"); }
void FarPool::close() { pool_.call<void>("close"); }
void FarPool::terminate() { pool_.call<void>("terminate"); }
void FarPool::resize(std::int64_t workers) { pool_.call<void>("resize", workers); }
PoolInsight FarPool::insight() { return pool_.call<PoolInsight>("insight"); }
std::string FarPool::printed() { return pool_.printed(PoolProxy::type()); }

bool FarPool::join(Deadline deadline) {
  if (!pool_.call<bool>("join", detail::Timeout{deadline})) return false;
  // All has been done there; what we sent before comes back.
  State& state = mine();
  call::Line::before_sleeping();
  std::unique_lock lock(state.mutex);
  const auto none_open = [&] { return state.open.empty(); };
  if (deadline.is_never()) {
    state.closed.wait(lock, none_open);
    return true;
  }
  return state.closed.wait_until(
      lock, std::chrono::steady_clock::time_point(std::chrono::nanoseconds(deadline.at_ns())), none_open);
}

}  // namespace brood::inline v1::manager

namespace brood::inline v1::detail {

PoolDoor::PoolDoor(const ProxyCore& core) : pool_(std::make_shared<manager::FarPool>(core)) {}
PoolDoor::~PoolDoor() { pool_->leave(); }
std::shared_ptr<PoolBody> PoolDoor::body() const { return pool_; }

}  // namespace brood::inline v1::detail
