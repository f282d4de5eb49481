// Pool: workers of the server's, and a box for each client in which its results wait.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "brood/detail/pool_core.hpp"
#include "brood/error.hpp"
#include "brood/remote_error.hpp"
#include "manager/objects.hpp"
#include "manager/pool_order.hpp"
#include "manager/served_types.hpp"
#include "manager/session.hpp"
#include "pool/core.hpp"
#include "process/current.hpp"

namespace brood::inline v1::manager {
namespace {

/// Between two looks of a sleeping call whether its client is there still, and the server goes on.
constexpr std::int64_t kLookNs = 100'000'000;
/// Results that are sent together: after so many bytes no more are added.
constexpr std::size_t kBatchBytes = 256U << 10;
/// What an answer has besides the value of its only result.
constexpr std::size_t kAnswerBytes = 256;

Encoder encoded(const std::exception_ptr& why) {
  Encoder out;
  detail::encode_exception(out, why, {.pid = ::getpid(), .process_name = process::current().name});
  return out;
}

class ServedJob;

/// The results for one client that it has not fetched, and its open jobs.
class Box final : public detail::PoolAwaited {
 public:
  struct Parcel {
    std::uint64_t job = 0;
    std::size_t item = 0;
    PoolWord word = PoolWord::value;
    Blob value = {};
  };

  /// False: a job of that number is open, or the client is gone.
  [[nodiscard]] bool open(std::uint64_t number, std::shared_ptr<ServedJob> job) {
    const std::lock_guard lock(mutex_);
    return !is_closed_ && jobs_.emplace(number, std::move(job)).second;
  }
  [[nodiscard]] std::shared_ptr<ServedJob> job(std::uint64_t number) {
    const std::lock_guard lock(mutex_);
    const auto it = jobs_.find(number);
    return it == jobs_.end() ? nullptr : it->second;
  }
  void put(Parcel parcel) {
    const std::lock_guard lock(mutex_);
    if (is_closed_) return;
    parcels_.push_back(std::move(parcel));
    changed_.notify_all();
  }
  /// All of its results have been put here.
  void close_job(std::uint64_t number) {
    std::shared_ptr<ServedJob> closed;
    const std::lock_guard lock(mutex_);
    if (const auto it = jobs_.find(number); it != jobs_.end()) {
      closed = std::move(it->second);
      jobs_.erase(it);
    }
    changed_.notify_all();
  }
  /// As many as fit, at least one. Nothing: there is nothing to wait for.
  [[nodiscard]] std::vector<Parcel> take(std::size_t bytes) {
    std::vector<Parcel> out;
    const std::lock_guard lock(mutex_);
    for (std::size_t taken = 0; !parcels_.empty(); parcels_.pop_front()) {
      taken += kAnswerBytes + parcels_.front().value.bytes.size();
      if (!out.empty() && taken > bytes) break;
      out.push_back(std::move(parcels_.front()));
    }
    return out;
  }
  /// Nobody asks any more. Gives the jobs that are open.
  [[nodiscard]] std::vector<std::shared_ptr<ServedJob>> close() {
    std::vector<std::shared_ptr<ServedJob>> out;
    const std::lock_guard lock(mutex_);
    is_closed_ = true;
    parcels_.clear();
    for (auto& [number, job] : jobs_) out.push_back(std::move(job));
    jobs_.clear();
    changed_.notify_all();
    return out;
  }

  [[nodiscard]] bool is_ready() override {
    const std::lock_guard lock(mutex_);
    return has_news();
  }
  void sleep(const std::atomic<bool>& called, Deadline deadline) override {
    std::unique_lock lock(mutex_);
    const std::chrono::steady_clock::time_point when{std::chrono::nanoseconds(deadline.at_ns())};
    (void)changed_.wait_until(lock, when, [&] { return has_news() || called.load(); });
  }
  void nudge() override {
    const std::lock_guard lock(mutex_);
    changed_.notify_all();
  }

 private:
  [[nodiscard]] bool has_news() const { return !parcels_.empty() || jobs_.empty(); }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Parcel> parcels_;
  std::unordered_map<std::uint64_t, std::shared_ptr<ServedJob>> jobs_;
  bool is_closed_ = false;
};

/// A client's job, of which only bytes are known here.
class ServedJob final : public detail::PoolJob {
 public:
  ServedJob(std::shared_ptr<detail::PoolBody> body, const detail::PoolFunction& function, const PoolTask& task,
            Blob handles, Objects& objects, std::shared_ptr<Box> box)
      : PoolJob(std::move(body), function, task.options),
        number_(task.number),
        handles_(std::move(handles)),
        objects_(objects),
        box_(std::move(box)) {}

 private:
  void succeed(std::size_t item, Decoder& result) override { put(item, PoolWord::value, take_blob(objects_, result)); }
  void fail_encoded(std::size_t item, Decoder& thrown) override {
    put(item, PoolWord::exception, take_blob(objects_, thrown));
  }
  void fail(std::size_t item, std::exception_ptr why) override {
    const bool is_cancelled = detail::is_cancellation(why);
    put(item, is_cancelled ? PoolWord::cancelled : PoolWord::exception, take_blob(objects_, encoded(why)));
  }
  void ended() override { box_->close_job(number_); }
  void put(std::size_t item, PoolWord word, Blob value) {
    box_->put({.job = number_, .item = item, .word = word, .value = std::move(value)});
  }

  const std::uint64_t number_;
  const Blob handles_;  ///< keeps what the arguments name
  Objects& objects_;
  const std::shared_ptr<Box> box_;
};

void take_back(const std::vector<std::shared_ptr<ServedJob>>& jobs, const char* why) {
  for (const auto& job : jobs) job->withdraw(std::make_exception_ptr(CancelledError(why)));
}

/// The workers of a pool that nobody refers to any more: they were told to end.
class EndingPool final : public Ending {
 public:
  EndingPool(detail::PoolCore core, Blob initializer) : initializer_(std::move(initializer)), core_(std::move(core)) {}
  [[nodiscard]] bool is_over() override { return core_.body()->join(Deadline::now()); }

 private:
  const Blob initializer_;
  detail::PoolCore core_;
};

class ServedPool final : public Served {
 public:
  explicit ServedPool(Call& call)
      : objects_(call.objects), order_(PoolOrder::read(call.objects, call.in)), core_(start(order_)) {
    if (order_.end == PoolOrder::End::closed) body().close();
    if (order_.end == PoolOrder::End::terminated) body().terminate();
  }
  ~ServedPool() override {
    for (auto& [key, box] : boxes_) (void)box->close();
    body().terminate();
    objects_.let_end(std::make_unique<EndingPool>(std::move(core_), std::move(order_.initializer)));
  }
  ServedPool(const ServedPool&) = delete;
  ServedPool& operator=(const ServedPool&) = delete;

  void call(std::string_view method, Call& call) override { run_method(kMethods, *this, "Pool", method, call); }
  void repeat(std::string_view method, Call& call) override {
    if (method == "close") return close(call);
    if (method == "terminate") return terminate(call);
    if (method == "resize") return resize(call);
    Served::repeat(method, call);
  }
  void save(Saver& saver) override {
    const std::lock_guard lock(order_mutex_);
    Encoder arguments;
    order_.write(arguments);
    saver.save(*this, arguments);
  }
  void client_gone(const Client& client) override {
    std::vector<std::shared_ptr<Box>> left;
    {
      const std::lock_guard lock(mutex_);
      for (auto it = boxes_.lower_bound({&client, 0}); it != boxes_.end() && it->first.first == &client;) {
        left.push_back(std::move(it->second));
        it = boxes_.erase(it);
      }
    }
    for (const auto& box : left) take_back(box->close(), "the process that gave this task is gone");
  }

 private:
  [[nodiscard]] static detail::PoolCore start(const PoolOrder& order) {
    const PoolOptions options = order.options();
    if (!order.initializer.bytes.empty()) detail::require_state_maker(options.initializer.call().bytes);
    return {order.workers, options};
  }
  [[nodiscard]] detail::PoolBody& body() const { return *core_.body(); }

  [[nodiscard]] std::shared_ptr<Box> box_of(const Call& call, std::uint64_t number) {
    const std::shared_ptr<Client>& client = call.session->client();
    const std::lock_guard lock(mutex_);
    std::shared_ptr<Box>& box = boxes_[{client.get(), number}];
    if (!box) {
      box = std::make_shared<Box>();
      client->remember(call.session->entry());
    }
    return box;
  }
  /// [box, job…]; null: it is over.
  [[nodiscard]] std::shared_ptr<ServedJob> job_of(const Call& call) {
    const std::uint64_t box = call.in.uint();
    const std::uint64_t job = call.in.uint();
    return box_of(call, box)->job(job);
  }
  /// The same place is asked for again and again.
  [[nodiscard]] const void* resolve(const os::FunctionId& id) {
    const std::lock_guard lock(mutex_);
    const void*& place = places_[{id.build_id, id.offset, id.is_main_program}];
    if (place == nullptr) place = os::resolve(id);
    return place;
  }
  /// Of items in `bytes` bytes, or handles.
  static std::vector<std::size_t> checked_ends(const Call& call, const std::vector<std::uint64_t>& ends,
                                               std::size_t bytes) {
    if (!std::ranges::is_sorted(ends) || (!ends.empty() && ends.back() != bytes))
      call.in.fail("where each item ends", "something else");
    return {ends.begin(), ends.end()};
  }

  /// [PoolTask, the arguments of all items, [handle…]]
  void submit(Call& call) {
    call.arguments(3, "submit");
    const auto task = detail::decode<PoolTask>(call.in);
    const std::span<const std::byte> bytes = call.in.bin();
    Blob kept = call.blob();
    std::span<const Handle> handles;
    if (kept.luggage && kept.luggage->pins) handles = kept.luggage->pins->handles();
    if (task.ends.empty()) call.in.fail("one item at least", "none");
    std::vector<std::size_t> ends = checked_ends(call, task.ends, bytes.size());
    std::vector<std::size_t> handle_ends = checked_ends(call, task.handle_ends, handles.size());
    if (!handle_ends.empty() ? handle_ends.size() != ends.size() : !handles.empty())
      call.in.fail("where the handles of each item end", std::to_string(handle_ends.size()) + " places");

    pool::check_state(task.state ? task.state->c_str() : nullptr, order_.state ? order_.state->c_str() : nullptr);
    const detail::PoolFunction function{.invoke = resolve(task.invoke),
                                        .target = task.target ? resolve(*task.target) : nullptr};
    detail::PoolItems items(bytes, handles, std::move(ends), std::move(handle_ends));
    const std::shared_ptr<Box> box = box_of(call, task.box);
    const auto job = std::make_shared<ServedJob>(core_.body(), function, task, std::move(kept), call.objects, box);
    if (task.first) job->number_from(*task.first);
    job->set_items(std::move(items), task.chunk);
    if (!box->open(task.number, job)) call.in.fail("the number of a new task", std::to_string(task.number));
    try {
      job->submit();
    } catch (...) {
      box->close_job(task.number);
      throw;
    }
    call.out.nil();
  }
  /// [box]: sleeps until there are some, or nothing to wait for; [[job, item, word, value]…]
  void results(Call& call) {
    call.arguments(1, "results");
    const std::shared_ptr<Box> box = box_of(call, call.in.uint());
    const auto core = std::static_pointer_cast<pool::Core>(core_.body());
    {
      const Asleep mark(*call.session);
      do require_client(*call.session);
      while (!core->wait(*box, Deadline::never().capped(kLookNs)));
    }
    const std::uint64_t longest = call.session->longest_answer();
    std::vector<Box::Parcel> parcels =
        box->take(static_cast<std::size_t>(std::min<std::uint64_t>(longest, kBatchBytes)));
    call.out.array_header(parcels.size());
    for (Box::Parcel& it : parcels) {
      if (it.value.bytes.size() + kAnswerBytes > longest) {
        const NoSpace why("the result of a task has " + std::to_string(it.value.bytes.size()) +
                              " bytes, and its process takes messages of at most " + std::to_string(longest) +
                              " bytes (max_message)",
                          EMSGSIZE);
        it.word = PoolWord::exception;
        it.value = take_blob(objects_, encoded(std::make_exception_ptr(why)));
      }
      call.out.array_header(4);
      call.out.uint(it.job);
      call.out.uint(it.item);
      call.out.uint(static_cast<std::uint64_t>(it.word));
      call.give(it.value);
    }
  }
  /// [box]: what has not begun is withdrawn, what runs is not heard of.
  void leave(Call& call) {
    call.arguments(1, "leave");
    std::shared_ptr<Box> box;
    {
      const std::lock_guard lock(mutex_);
      const auto it = boxes_.find({call.session->client().get(), call.in.uint()});
      if (it != boxes_.end()) {
        box = std::move(it->second);
        boxes_.erase(it);
      }
    }
    if (box) take_back(box->close(), "its results are not wanted any more");
    call.out.nil();
  }
  /// [box, job]
  void withdraw(Call& call) {
    call.arguments(2, "withdraw");
    if (const auto job = job_of(call)) take_back({job}, "its results are not wanted any more");
    call.out.nil();
  }
  void cancel(Call& call) {
    call.arguments(2, "cancel");
    const auto job = job_of(call);
    call.out.boolean(job && job->cancel());
  }
  /// [box, job, grace in nanoseconds, may it be killed?]
  void cancel_running(Call& call) {
    call.arguments(4, "cancel_running");
    const auto job = job_of(call);
    CancelOptions options;
    options.grace = std::chrono::nanoseconds(call.in.sint());
    options.kill = call.in.boolean();
    call.out.boolean(job && job->cancel_running(options));
  }
  void is_running(Call& call) {
    call.arguments(2, "is_running");
    const auto job = job_of(call);
    call.out.boolean(job && job->is_running());
  }

  void check(Call& call) {
    call.arguments(0, "check");
    body().check_running();
    call.out.nil();
  }
  void size(Call& call) {
    call.arguments(0, "size");
    call.out.uint(body().size());
  }
  void insight(Call& call) {
    call.arguments(0, "insight");
    detail::encode(call.out, body().insight());
  }
  void close(Call& call) {
    call.arguments(0, "close");
    const std::lock_guard lock(order_mutex_);
    end("close", PoolOrder::End::closed);
    body().close();
    call.out.nil();
  }
  void terminate(Call& call) {
    call.arguments(0, "terminate");
    const std::lock_guard lock(order_mutex_);
    end("terminate", PoolOrder::End::terminated);
    body().terminate();
    call.out.nil();
  }
  /// With the lock.
  void end(std::string_view method, PoolOrder::End how) {
    if (order_.end >= how) return;
    if (has_journal()) {
      Encoder none;
      none.array_header(0);
      write_ahead(method, none.bytes());
    }
    order_.end = how;
  }
  /// [workers]
  void resize(Call& call) {
    call.arguments(1, "resize");
    const std::int64_t workers = call.in.sint();
    const std::lock_guard lock(order_mutex_);
    if (has_journal()) {
      Encoder arguments;
      arguments.array_header(1);
      arguments.sint(workers);
      write_ahead("resize", arguments.bytes());
    }
    try {
      body().resize(workers);
    } catch (...) {
      write_failed();
      throw;
    }
    order_.workers = workers;
    call.out.nil();
  }
  /// [timeout]
  void join(Call& call) {
    call.arguments(1, "join");
    const Deadline deadline = call.deadline();
    const Asleep mark(*call.session);
    bool is_over = false;
    do {
      require_client(*call.session);
      is_over = body().join(deadline.capped(kLookNs));
    } while (!is_over && !deadline.passed());
    call.out.boolean(is_over);
  }

  using M = Method<ServedPool>;
  static constexpr std::array kMethods = {
      M{"submit", &ServedPool::submit},
      M{"results", &ServedPool::results},
      M{"leave", &ServedPool::leave},
      M{"withdraw", &ServedPool::withdraw},
      M{"cancel", &ServedPool::cancel},
      M{"cancel_running", &ServedPool::cancel_running},
      M{"is_running", &ServedPool::is_running},
      M{"check", &ServedPool::check},
      M{"size", &ServedPool::size},
      M{"insight", &ServedPool::insight},
      M{"close", &ServedPool::close},
      M{"terminate", &ServedPool::terminate},
      M{"resize", &ServedPool::resize},
      M{"join", &ServedPool::join},
  };

  Objects& objects_;
  std::mutex order_mutex_;
  PoolOrder order_;
  detail::PoolCore core_;
  std::mutex mutex_;
  std::map<std::pair<const Client*, std::uint64_t>, std::shared_ptr<Box>> boxes_;
  std::map<std::tuple<std::string, std::uint64_t, bool>, const void*> places_;
};

}  // namespace

std::unique_ptr<Served> make_pool(Call& call) { return std::make_unique<ServedPool>(call); }

}  // namespace brood::inline v1::manager
