// Queue, JoinableQueue, PriorityQueue: values that wait for somebody.
#include <array>
#include <deque>
#include <map>
#include <unordered_map>
#include <utility>

#include "brood/error.hpp"
#include "manager/served_types.hpp"
#include "manager/session.hpp"

namespace brood::inline v1::manager {
namespace {

class ServedQueue : public Sleeping {
 public:
  /// [capacity; 0: no limit]
  explicit ServedQueue(Call& call) {
    call.arguments(1, "the capacity");
    capacity_ = call.in.integer<std::size_t>();
  }
  void call(std::string_view method, Call& call) override { run_method(kMethods, *this, "Queue", method, call); }

 protected:
  struct Item {
    Blob value;
    std::int64_t priority = 0;
    unsigned deliveries = 0;
  };
  /// Where a new item goes.
  virtual void place(Item item) { items_.push_back(std::move(item)); }
  /// An item that is handed out.
  virtual void taken(Call& /*call*/, const Item& /*item*/) {}
  virtual void added(std::size_t /*items*/) {}
  virtual void dropped(std::size_t /*items*/) {}

  [[nodiscard]] bool is_full() const { return capacity_ != 0 && items_.size() >= capacity_; }
  void require_open() const {
    if (is_shut_down_) throw QueueClosed("the managed queue was shut down");
  }
  /// [value, timeout, priority]: whether there was room in time
  void put(Call& call) {
    call.arguments(3, "put");
    Item item{call.blob()};
    const Deadline deadline = call.deadline();
    item.priority = call.in.sint();
    Lock lock(mutex_);
    const bool has_room = wait(lock, call, deadline, [this] { return is_shut_down_ || !is_full(); });
    require_open();
    if (has_room) {
      place(std::move(item));
      added(1);
      changed_.notify_all();
    }
    call.out.boolean(has_room);
  }
  /// [timeout]: [value], or nil if there was none in time
  void get(Call& call) {
    call.arguments(1, "get");
    const Deadline deadline = call.deadline();
    Lock lock(mutex_);
    const bool found = wait(lock, call, deadline, [this] { return is_shut_down_ || !items_.empty(); });
    if (items_.empty() && is_shut_down_) require_open();
    if (!found || items_.empty()) return call.out.nil();
    call.out.array_header(1);
    items_.front().value.encode(call.out);
    taken(call, items_.front());
    items_.pop_front();
    changed_.notify_all();
  }
  void qsize(Call& call) {
    call.arguments(0, "qsize");
    const Lock lock(mutex_);
    call.out.uint(items_.size());
  }
  void capacity(Call& call) {
    call.arguments(0, "capacity");
    call.out.uint(capacity_);
  }
  /// [immediately]: what is in it is dropped, too
  void shutdown(Call& call) {
    call.arguments(1, "shutdown");
    const bool immediately = call.in.boolean();
    const Lock lock(mutex_);
    is_shut_down_ = true;
    if (immediately) {
      dropped(items_.size());
      items_.clear();
    }
    changed_.notify_all();
    call.out.nil();
  }

  using M = Method<ServedQueue>;
  static constexpr std::array kMethods = {
      M{"put", &ServedQueue::put},           M{"get", &ServedQueue::get},           M{"qsize", &ServedQueue::qsize},
      M{"capacity", &ServedQueue::capacity}, M{"shutdown", &ServedQueue::shutdown},
  };

  std::size_t capacity_ = 0;
  std::deque<Item> items_;
  bool is_shut_down_ = false;
};

class ServedPriorityQueue final : public ServedQueue {
 public:
  using ServedQueue::ServedQueue;

 private:
  /// The lowest number first, among equals the oldest.
  void place(Item item) override {
    auto at = items_.end();
    while (at != items_.begin() && std::prev(at)->priority > item.priority) --at;
    items_.insert(at, std::move(item));
  }
};

/// What a client has taken and not reported as done goes back to the front when it dies.
class ServedJoinableQueue final : public ServedQueue {
 public:
  using ServedQueue::ServedQueue;
  void call(std::string_view method, Call& call) override {
    if (method == "task_done") return task_done(call);
    if (method == "join") return join(call);
    if (method == "unfinished") return unfinished(call);
    ServedQueue::call(method, call);
  }
  void client_gone(const Client& client) override {
    const Lock lock(mutex_);
    const auto it = leased_.find(&client);
    if (it == leased_.end()) return;
    while (!it->second.empty()) {
      ++it->second.back().deliveries;
      items_.push_front(std::move(it->second.back()));
      it->second.pop_back();
    }
    leased_.erase(it);
    changed_.notify_all();
  }

 private:
  void taken(Call& call, const Item& item) override {
    leased_[call.session.client().get()].push_back(item);
    call.session.client()->remember(call.session.entry());
  }
  void added(std::size_t items) override { unfinished_ += items; }
  void dropped(std::size_t items) override { unfinished_ -= items; }

  void task_done(Call& call) {
    call.arguments(0, "task_done");
    const Lock lock(mutex_);
    if (unfinished_ == 0) throw UsageError("task_done() was called more often than items were taken");
    --unfinished_;
    // The oldest of this client's; one that was taken elsewhere may be reported by anybody.
    if (const auto it = leased_.find(call.session.client().get()); it != leased_.end() && !it->second.empty())
      it->second.pop_front();
    if (unfinished_ == 0) changed_.notify_all();
    call.out.nil();
  }
  /// [timeout]
  void join(Call& call) {
    call.arguments(1, "join");
    const Deadline deadline = call.deadline();
    Lock lock(mutex_);
    call.out.boolean(wait(lock, call, deadline, [this] { return unfinished_ == 0; }));
  }
  void unfinished(Call& call) {
    call.arguments(0, "unfinished");
    const Lock lock(mutex_);
    call.out.uint(unfinished_);
  }

  std::size_t unfinished_ = 0;
  std::unordered_map<const Client*, std::deque<Item>> leased_;
};

}  // namespace

std::unique_ptr<Served> make_queue(Call& call) { return std::make_unique<ServedQueue>(call); }
std::unique_ptr<Served> make_priority_queue(Call& call) { return std::make_unique<ServedPriorityQueue>(call); }
std::unique_ptr<Served> make_joinable_queue(Call& call) { return std::make_unique<ServedJoinableQueue>(call); }

}  // namespace brood::inline v1::manager
