// The doors to a pool: PoolCore for its owner, PoolJob for tasks and their futures; how items are settled.
#include "brood/detail/pool_core.hpp"

#include <cstdio>
#include <ostream>
#include <string>

#include "brood/error.hpp"
#include "brood/relatives.hpp"
#include "brood/remote_error.hpp"
#include "os/function_id.hpp"
#include "pool/core.hpp"
#include "pool/job.hpp"
#include "pool/meter.hpp"

namespace brood::inline v1::detail {
namespace {

class FutureAwaited final : public PoolAwaited {
 public:
  explicit FutureAwaited(FutureCore& future) noexcept : future_(future) {}
  [[nodiscard]] bool is_ready() override { return future_.is_settled(); }
  void sleep(const std::atomic<bool>& called, Deadline deadline) override { (void)future_.sleep(called, deadline); }
  void nudge() override { future_.nudge(); }

 private:
  FutureCore& future_;
};

}  // namespace

WorkerState::~WorkerState() = default;

namespace {
/// Leaves the arguments.
std::pair<MakeState, const void*> find_state_maker(Decoder& in) {
  in.expect_array(4, "a packed initializer");
  (void)in.uint();
  const auto place = detail::decode<os::FunctionId>(in);
  const void* target = nullptr;
  if (!in.try_nil()) target = os::resolve(detail::decode<os::FunctionId>(in));
  return {reinterpret_cast<MakeState>(const_cast<void*>(os::resolve(place))), target};
}
}  // namespace

void require_state_maker(std::span<const std::byte> packed) {
  Decoder in(packed);
  (void)find_state_maker(in);
}

std::unique_ptr<WorkerState> make_state(std::span<const std::byte> packed) {
  Decoder in(packed);
  const auto [make, target] = find_state_maker(in);
  std::unique_ptr<WorkerState> made = make(target, in);
  in.finish();
  return made;
}

PoolItems::PoolItems(std::span<const std::byte> bytes, std::span<const Handle> handles, std::vector<std::size_t> ends,
                     std::vector<std::size_t> handle_ends)
    : ends_(std::move(ends)), handle_ends_(std::move(handle_ends)) {
  out_.value(bytes, handles);
}

void PoolItems::end() {
  if (!out_.handles().empty()) {
    handle_ends_.resize(ends_.size());  // none before
    handle_ends_.push_back(out_.handles().size());
  }
  ends_.push_back(out_.bytes().size());
}

bool is_cancellation(const std::exception_ptr& why) {
  try {
    std::rethrow_exception(why);
  } catch (const CancelledError& error) {
    return dynamic_cast<const RemoteError*>(&error) == nullptr;
  } catch (...) {
    return false;
  }
}

std::size_t checked_chunk(std::int64_t chunk_size, std::int64_t least) {
  if (chunk_size >= least) return static_cast<std::size_t>(chunk_size);
  throw UsageError("chunk_size is " + std::to_string(chunk_size) + "; it is " + std::to_string(least) + " at least" +
                   (least == 0 ? " (0: chosen from the number of items)" : ""));
}

std::size_t checked_look_ahead(std::int64_t look_ahead, std::size_t chunk_size, std::size_t workers) {
  constexpr std::size_t kChunks = 32;
  if (look_ahead < 0)
    throw UsageError("look_ahead is " + std::to_string(look_ahead) +
                     "; it is a number of items, or 0 for as many as the pool thinks good");
  return look_ahead != 0 ? static_cast<std::size_t>(look_ahead) : kChunks * chunk_size * workers;
}

// --- PoolJob -----------------------------------------------------------------------------------------------------------

namespace {

void refuse_negative(std::int64_t count, const char* what, const char* otherwise) {
  if (count < 0) throw UsageError(std::string(what) + " of a task is negative; 0: " + otherwise);
}
const TaskOptions& checked(const TaskOptions& options) {
  refuse_negative(options.soft_limit.count(), "soft_limit", "none");
  refuse_negative(options.hard_limit.count(), "hard_limit", "none");
  refuse_negative(options.retry.backoff.count(), "retry.backoff", "at once");
  return options;
}

}  // namespace

PoolJob::PoolJob(std::shared_ptr<PoolBody> body, const PoolFunction& function, const TaskOptions& options)
    : data_(std::make_unique<pool::JobData>(*this, std::move(body), function, checked(options))) {
  data_->body->admit(function);
}
PoolJob::~PoolJob() = default;

void PoolJob::fail_encoded(std::size_t item, Decoder& thrown) { fail(item, decode_exception(thrown)); }

void PoolJob::set_item(const Encoder& item) {
  data_->bytes.assign(item.bytes().begin(), item.bytes().end());
  data_->handles = item.handles();
}

void PoolJob::set_items(PoolItems items, std::size_t chunk_size) {
  data_->items = items.ends_.size();
  data_->chunk = chunk_size;
  data_->bytes = items.out_.take_bytes();
  data_->handles = items.out_.take_handles();
  data_->ends = std::move(items.ends_);
  if (!data_->handles.empty()) {
    items.handle_ends_.resize(data_->items, data_->handles.size());
    data_->handle_ends = std::move(items.handle_ends_);
  }
}

void PoolJob::show(const Progress& progress) {
  if (progress.shows()) data_->meter = std::make_shared<pool::Meter>(progress, data_->items);
}

void PoolJob::number_from(std::size_t first) {
  data_->is_map = true;
  data_->first_number = first;
}

void PoolJob::submit() { data_->body->submit(*data_); }
void PoolJob::withdraw(const std::exception_ptr& why) { data_->body->withdraw(*data_, why); }

bool PoolJob::wait(FutureCore& what, Deadline deadline) {
  FutureAwaited awaited(what);
  return data_->body->wait(*data_, awaited, deadline);
}
bool PoolJob::wait(PoolAwaited& what, Deadline deadline) { return data_->body->wait(*data_, what, deadline); }
bool PoolJob::cancel() { return data_->body->cancel(*data_); }
bool PoolJob::cancel_running(const CancelOptions& options) { return data_->body->cancel_running(*data_, options); }
bool PoolJob::is_running() { return data_->body->is_running(*data_); }

bool PoolJob::cancel_task(const std::shared_ptr<PoolBody>& body, FutureCore& future, const CancelOptions& options) {
  auto* const job = dynamic_cast<PoolJob*>(future.source());
  if (job == nullptr || job->data_->body != body)
    throw UsageError("Pool::cancel() of a future that is of no task of this Pool");
  if (future.is_settled()) return false;
  return job->cancel_running(options);
}

// --- PoolCore ----------------------------------------------------------------------------------------------------------

PoolCore::PoolCore(std::optional<std::int64_t> workers, PoolOptions options)
    : core_(std::make_shared<pool::Core>(pool::checked_count(workers.value_or(usable_cpu_count()), "a Pool"),
                                         std::move(options))) {
  core_->start();
}
PoolCore::PoolCore(PoolCore&& other) noexcept = default;

PoolCore& PoolCore::operator=(PoolCore&& other) noexcept {
  if (this != &other) {
    const PoolCore ends_now(std::move(*this));
    core_ = std::move(other.core_);
  }
  return *this;
}

PoolCore::~PoolCore() {
  if (!core_) return;
  if (core_->is_creators()) {
    core_->finish();
    return;
  }
  // A copy that fork made. Its threads and its workers are the parent's.
  new std::shared_ptr<pool::Core>(std::move(core_));  // NOLINT(bugprone-unused-return-value): never destroyed
}

std::shared_ptr<PoolBody> PoolCore::body() const {
  if (!core_) throw UsageError("this Pool was moved from");
  core_->require_creator();
  return core_;
}
std::shared_ptr<PoolBody> PoolCore::body_or_null() const noexcept { return core_; }

PoolBody::~PoolBody() = default;

std::ostream& print(std::ostream& out, const std::shared_ptr<PoolBody>& body) {
  return out << (body ? body->printed() : "<Pool moved from>");
}

}  // namespace brood::inline v1::detail

namespace brood::inline v1::pool {

void JobData::open() {
  self = of->shared_from_this();
  unsettled.store(items, std::memory_order_relaxed);
}

bool JobData::settled(bool is_failure) {
  if (meter) meter->note(is_failure);
  return unsettled.fetch_sub(1) == 1;
}

bool JobData::succeed(std::size_t item, Decoder& result) {
  try {
    of->succeed(item, result);
  } catch (...) {
    return fail(item, std::current_exception());  // it cannot be decoded
  }
  return settled(false);
}

bool JobData::fail_encoded(std::size_t item, Decoder& thrown) {
  try {
    of->fail_encoded(item, thrown);
  } catch (...) {
    return fail(item, std::current_exception());  // it cannot be decoded, either
  }
  return settled(true);
}

bool JobData::fail(std::size_t item, std::exception_ptr why) {
  of->fail(item, std::move(why));
  return settled(true);
}

void JobData::finish() {
  const std::shared_ptr<detail::PoolJob> job = std::exchange(self, nullptr);
  if (meter) meter->end([this] { return body->insight(); });
  job->ended();
}

}  // namespace brood::inline v1::pool
