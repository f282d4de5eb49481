// Queue, JoinableQueue, PriorityQueue: values that wait for somebody.
#include <algorithm>
#include <array>
#include <deque>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "brood/error.hpp"
#include "manager/served_types.hpp"
#include "manager/session.hpp"

namespace brood::inline v1::manager {
namespace {

class ServedQueue : public Sleeping {
 public:
  /// [capacity; 0: no limit]; as save() writes it, also: was it shut down, how many are unfinished, the last serial number,
  /// [[value, priority, serial number]…]
  explicit ServedQueue(Call& call) {
    const std::size_t parts = call.in.array_header();
    if (parts != 1 && (parts != 5 || call.session != nullptr))
      call.in.fail("the capacity", std::to_string(parts) + " things");
    capacity_ = call.in.integer<std::size_t>();
    if (parts == 1) return;
    is_shut_down_ = call.in.boolean();
    unfinished_ = call.in.integer<std::size_t>();
    last_serial_ = call.in.uint();
    for (std::size_t left = call.in.array_header(); left > 0; --left) {
      call.in.expect_array(3, "an item");
      Item item{.value = call.blob()};
      item.priority = call.in.sint();
      item.serial = call.in.uint();
      items_.push_back(std::move(item));
    }
  }
  void call(std::string_view method, Call& call) override { run_method(kMethods, *this, "Queue", method, call); }
  void repeat(std::string_view method, Call& call) override {
    if (method == "put") return put(call);
    if (method == "shutdown") return shutdown(call);
    if (method == "get" && forgets_taken()) return get(call);
    Served::repeat(method, call);
  }
  void save(Saver& saver) override {
    const Lock lock(mutex_);
    const std::vector<Item> all = all_items();
    Encoder arguments;
    arguments.array_header(5);
    arguments.uint(capacity_);
    arguments.boolean(is_shut_down_);
    arguments.uint(unfinished_);
    arguments.uint(last_serial_);
    arguments.array_header(all.size());
    for (const Item& it : all) {
      arguments.array_header(3);
      it.value.encode(arguments);
      arguments.sint(it.priority);
      arguments.uint(it.serial);
    }
    saver.save(*this, arguments);
  }

 protected:
  struct Item {
    Blob value;
    std::int64_t priority = 0;
    std::uint64_t serial = 0;  ///< in the order in which they came
  };
  /// Where a new item goes.
  virtual void place(Item item) { items_.push_back(std::move(item)); }
  /// An item that is handed out.
  virtual void taken(Call& /*call*/, const Item& /*item*/) {}
  /// Is what was handed out gone with that? For a journal.
  [[nodiscard]] virtual bool forgets_taken() const { return true; }
  /// Those, too, that were handed out and may come back; these first.
  [[nodiscard]] virtual std::vector<Item> all_items() const { return {items_.begin(), items_.end()}; }

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
      if (has_journal()) {
        Encoder arguments;
        arguments.array_header(3);
        item.value.encode(arguments);
        arguments.nil();
        arguments.sint(item.priority);
        write_ahead("put", arguments.bytes());
      }
      item.serial = ++last_serial_;
      place(std::move(item));
      ++unfinished_;
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
    if (has_journal() && forgets_taken()) {
      Encoder arguments;
      arguments.array_header(1);
      arguments.sint(0);
      write_ahead("get", arguments.bytes());
    }
    call.out.array_header(1);
    call.give(items_.front().value);
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
    if (immediately) drop_items();
    if (has_journal()) {
      Encoder arguments;
      arguments.array_header(1);
      arguments.boolean(immediately && forgets_taken());
      write_ahead("shutdown", arguments.bytes());
    }
    is_shut_down_ = true;
    changed_.notify_all();
    call.out.nil();
  }

  virtual void drop_items() { items_.clear(); }

  using M = Method<ServedQueue>;
  static constexpr std::array kMethods = {
      M{"put", &ServedQueue::put},           M{"get", &ServedQueue::get},           M{"qsize", &ServedQueue::qsize},
      M{"capacity", &ServedQueue::capacity}, M{"shutdown", &ServedQueue::shutdown},
  };

  std::size_t capacity_ = 0;
  std::deque<Item> items_;
  bool is_shut_down_ = false;
  std::size_t unfinished_ = 0;  ///< that were put, and not reported as done
  std::uint64_t last_serial_ = 0;
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
  void repeat(std::string_view method, Call& call) override {
    if (method == "finished") return finished(call);
    ServedQueue::repeat(method, call);
  }
  void client_gone(const Client& client) override {
    const Lock lock(mutex_);
    const auto it = leased_.find(&client);
    if (it == leased_.end()) return;
    while (!it->second.empty()) {
      items_.push_front(std::move(it->second.back()));
      it->second.pop_back();
    }
    leased_.erase(it);
    changed_.notify_all();
  }

 private:
  void taken(Call& call, const Item& item) override {
    leased_[call.session->client().get()].push_back(item);
    call.session->client()->remember(call.session->entry());
  }
  [[nodiscard]] bool forgets_taken() const override { return false; }
  [[nodiscard]] std::vector<Item> all_items() const override {
    std::vector<Item> all;
    for (const auto& [client, items] : leased_) all.insert(all.end(), items.begin(), items.end());
    std::ranges::sort(all, {}, &Item::serial);
    all.insert(all.end(), items_.begin(), items_.end());
    return all;
  }
  void drop_items() override {
    while (!items_.empty()) {
      finish(items_.front().serial);
      items_.pop_front();
    }
  }
  /// With the lock.
  void finish(std::uint64_t serial) {
    if (has_journal()) {
      Encoder arguments;
      arguments.array_header(1);
      arguments.uint(serial);
      write_ahead("finished", arguments.bytes());
    }
    --unfinished_;
  }
  /// From the journal, where nothing was handed out to anybody: [serial]
  void finished(Call& call) {
    call.arguments(1, "finished");
    const std::uint64_t serial = call.in.uint();
    const Lock lock(mutex_);
    if (unfinished_ == 0) throw UsageError("a journal that says more items were done than put");
    --unfinished_;
    std::erase_if(items_, [serial](const Item& it) { return it.serial == serial; });
  }

  void task_done(Call& call) {
    call.arguments(0, "task_done");
    const Lock lock(mutex_);
    // A process can finish only what it took: the oldest of that.
    const auto it = leased_.find(call.session->client().get());
    if (it == leased_.end() || it->second.empty())
      throw ReleasedTooOften("task_done() was called more often than this process took items");
    finish(it->second.front().serial);
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

  std::unordered_map<const Client*, std::deque<Item>> leased_;
};

}  // namespace

std::unique_ptr<Served> make_queue(Call& call) { return std::make_unique<ServedQueue>(call); }
std::unique_ptr<Served> make_priority_queue(Call& call) { return std::make_unique<ServedPriorityQueue>(call); }
std::unique_ptr<Served> make_joinable_queue(Call& call) { return std::make_unique<ServedJoinableQueue>(call); }

}  // namespace brood::inline v1::manager
