// set: values as bytes, in the order in which they came.
#include <array>
#include <list>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "brood/error.hpp"
#include "manager/served_types.hpp"

namespace brood::inline v1::manager {
namespace {

class ServedSet final : public Served {
 public:
  explicit ServedSet(Call& call) {
    call.arguments(1, "the first values");
    for (Blob& it : take(call)) (void)add(std::move(it));
  }
  void call(std::string_view method, Call& call) override {
    const std::lock_guard lock(mutex_);
    run_method(kMethods, *this, "set", method, call);
  }

  void repeat(std::string_view method, Call& call) override { ServedSet::call(method, call); }
  void save(Saver& saver) override {
    const std::lock_guard lock(mutex_);
    Encoder arguments;
    arguments.array_header(1);
    write(arguments);
    saver.save(*this, arguments);
  }

 private:
  void write(Encoder& out) const {
    out.array_header(values_.size());
    for (const Blob& it : values_) it.encode(out);
  }
  [[nodiscard]] static std::vector<Blob> take(Call& call) {
    std::vector<Blob> all;
    for (std::size_t left = call.in.array_header(); left > 0; --left) all.push_back(call.blob());
    return all;
  }
  bool add(Blob value) {
    if (by_value_.contains(value.bytes)) return false;
    values_.push_back(std::move(value));
    const auto last = std::prev(values_.end());
    try {
      by_value_.emplace(last->bytes, last);
    } catch (...) {
      values_.pop_back();
      throw;
    }
    return true;
  }
  bool discard(std::string_view value) {
    const auto it = by_value_.find(value);
    if (it == by_value_.end()) return false;
    const auto item = it->second;
    by_value_.erase(it);
    values_.erase(item);
    return true;
  }

  void add(Call& call) {
    call.arguments(1, "add");
    call.out.boolean(add(call.blob()));
  }
  void discard(Call& call) {
    call.arguments(1, "discard");
    call.out.boolean(discard(call.blob().bytes));
  }
  void contains(Call& call) {
    call.arguments(1, "contains");
    call.out.boolean(by_value_.contains(call.blob().bytes));
  }
  void pop(Call& call) {
    call.arguments(0, "pop");
    if (values_.empty()) return call.out.nil();
    call.out.array_header(1);
    call.give(values_.front());
    by_value_.erase(values_.front().bytes);
    values_.pop_front();
  }
  void size(Call& call) {
    call.arguments(0, "size");
    call.out.uint(values_.size());
  }
  void clear(Call& call) {
    call.arguments(0, "clear");
    by_value_.clear();
    values_.clear();
    call.out.nil();
  }
  void snapshot(Call& call) {
    call.arguments(0, "snapshot");
    write(call.out);
    for (const Blob& it : values_) call.keep(it);
  }
  /// [values]: those too
  void update(Call& call) {
    call.arguments(1, "update");
    for (Blob& it : take(call)) (void)add(std::move(it));
    call.out.nil();
  }
  /// [values]: those not
  void difference_update(Call& call) {
    call.arguments(1, "difference_update");
    for (const Blob& it : take(call)) (void)discard(it.bytes);
    call.out.nil();
  }
  /// [values]: those alone
  void intersection_update(Call& call) {
    call.arguments(1, "intersection_update");
    std::unordered_map<std::string, bool> wanted;
    for (Blob& it : take(call)) wanted.emplace(std::move(it.bytes), true);
    for (auto it = values_.begin(); it != values_.end();) {
      const auto next = std::next(it);
      if (!wanted.contains(it->bytes)) (void)discard(it->bytes);
      it = next;
    }
    call.out.nil();
  }
  /// [values]: those that only one of the two has
  void symmetric_difference_update(Call& call) {
    call.arguments(1, "symmetric_difference_update");
    std::unordered_map<std::string, bool> seen;
    for (Blob& it : take(call)) {
      if (!seen.emplace(it.bytes, true).second) continue;
      if (!discard(it.bytes)) (void)add(std::move(it));
    }
    call.out.nil();
  }

  using M = Method<ServedSet>;
  static constexpr std::array kMethods = {
      M{"add", &ServedSet::add, true},
      M{"discard", &ServedSet::discard, true},
      M{"contains", &ServedSet::contains},
      M{"pop", &ServedSet::pop, true},
      M{"size", &ServedSet::size},
      M{"clear", &ServedSet::clear, true},
      M{"snapshot", &ServedSet::snapshot},
      M{"update", &ServedSet::update, true},
      M{"difference_update", &ServedSet::difference_update, true},
      M{"intersection_update", &ServedSet::intersection_update, true},
      M{"symmetric_difference_update", &ServedSet::symmetric_difference_update, true},
  };

  std::mutex mutex_;
  std::list<Blob> values_;
  std::unordered_map<std::string_view, std::list<Blob>::iterator> by_value_;
};

}  // namespace

std::unique_ptr<Served> make_set(Call& call) { return std::make_unique<ServedSet>(call); }

}  // namespace brood::inline v1::manager
