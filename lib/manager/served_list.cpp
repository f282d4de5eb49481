// list, and Array: a list whose length stays.
#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <mutex>
#include <utility>
#include <vector>

#include "brood/detail/served_access.hpp"
#include "brood/error.hpp"
#include "manager/served_types.hpp"

namespace brood::inline v1::manager {
namespace {

class ServedList final : public Served, public detail::ListAccess {
 public:
  ServedList(Call& call, bool is_array) : is_array_(is_array), objects_(call.objects) {
    call.arguments(1, "the first values");
    values_ = take(call);
  }

  void call(std::string_view method, Call& call) override {
    const std::lock_guard lock(mutex_);
    if (is_array_) return run_method(kArrayMethods, *this, "Array", method, call);
    run_method(kMethods, *this, "list", method, call);
  }
  [[nodiscard]] void* object() noexcept override { return static_cast<detail::ListAccess*>(this); }
  [[nodiscard]] std::mutex* turn() noexcept override { return &mutex_; }

  // ListAccess, with the lock held
  [[nodiscard]] std::size_t size() const override { return values_.size(); }
  [[nodiscard]] std::span<const std::byte> value_at(std::size_t index) override {
    return std::as_bytes(std::span(values_.at(index).bytes));
  }
  void assign(const std::vector<Encoder>& values) override {
    std::vector<Blob> fresh;
    fresh.reserve(values.size());
    for (const Encoder& value : values) fresh.push_back(take_blob(objects_, value));
    if (is_array_ && fresh.size() != values_.size()) throw_length(fresh.size(), values_.size());
    if (has_journal()) {
      Encoder all;
      all.array_header(3);
      all.sint(0);
      all.sint(std::numeric_limits<std::int64_t>::max());
      write(all, fresh);
      write_ahead("set_slice", all.bytes());
    }
    values_ = std::move(fresh);
  }
  void assign(std::size_t index, const Encoder& value) override {
    Blob& place = values_.at(index);
    Blob fresh = take_blob(objects_, value);
    if (has_journal()) {
      Encoder both;
      both.array_header(2);
      both.uint(index);
      fresh.encode(both);
      write_ahead("set", both.bytes());
    }
    place = std::move(fresh);
  }
  void repeat(std::string_view method, Call& call) override { ServedList::call(method, call); }
  void save(Saver& saver) override {
    const std::lock_guard lock(mutex_);
    Encoder arguments;
    arguments.array_header(1);
    write(arguments, values_);
    saver.save(*this, arguments);
  }

 private:
  [[nodiscard]] static std::vector<Blob> take(Call& call) {
    std::vector<Blob> all;
    for (std::size_t left = call.in.array_header(); left > 0; --left) all.push_back(call.blob());
    return all;
  }
  [[noreturn]] static void throw_length(std::size_t given, std::size_t wanted) {
    throw UsageError("an Array keeps its length: " + std::to_string(given) + " values given for " +
                     std::to_string(wanted));
  }
  /// -1 is the last. Errors: std::out_of_range.
  [[nodiscard]] std::size_t index(std::int64_t at) const {
    const auto size = static_cast<std::int64_t>(values_.size());
    const std::int64_t from_front = at < 0 ? at + size : at;
    if (from_front < 0 || from_front >= size) {
      throw std::out_of_range("index " + std::to_string(at) + " of a " +
                              (is_array_ ? "managed Array" : "managed list") + " of " + std::to_string(size));
    }
    return static_cast<std::size_t>(from_front);
  }
  /// Python's slices: beyond the ends means the ends.
  [[nodiscard]] std::pair<std::size_t, std::size_t> range(std::int64_t from, std::int64_t to) const {
    const auto size = static_cast<std::int64_t>(values_.size());
    const auto clamp = [size](std::int64_t at) { return std::clamp<std::int64_t>(at < 0 ? at + size : at, 0, size); };
    const std::int64_t begin = clamp(from);
    return {static_cast<std::size_t>(begin), static_cast<std::size_t>(std::max(begin, clamp(to)))};
  }
  static void write(Encoder& out, std::span<const Blob> values) {
    out.array_header(values.size());
    for (const Blob& it : values) it.encode(out);
  }

  static void give(Call& call, std::span<const Blob> values) {
    write(call.out, values);
    for (const Blob& it : values) call.keep(it);
  }

  void get(Call& call) {
    call.arguments(1, "get");
    call.give(values_[index(call.in.sint())]);
  }
  void set(Call& call) {
    call.arguments(2, "set");
    const std::int64_t at = call.in.sint();
    Blob value = call.blob();
    values_[index(at)] = std::move(value);
    call.out.nil();
  }
  void slice(Call& call) {
    call.arguments(2, "slice");
    const std::int64_t from = call.in.sint();
    const auto [begin, end] = range(from, call.in.sint());
    give(call, std::span(values_).subspan(begin, end - begin));
  }
  /// [from, to, values]: in place of these
  void set_slice(Call& call) {
    call.arguments(3, "set_slice");
    const std::int64_t from = call.in.sint();
    const auto [begin, end] = range(from, call.in.sint());
    std::vector<Blob> fresh = take(call);
    if (is_array_ && fresh.size() != end - begin) throw_length(fresh.size(), end - begin);
    std::vector<Blob> all(values_.begin(), values_.begin() + static_cast<std::ptrdiff_t>(begin));
    std::move(fresh.begin(), fresh.end(), std::back_inserter(all));
    all.insert(all.end(), values_.begin() + static_cast<std::ptrdiff_t>(end), values_.end());
    values_ = std::move(all);
    call.out.nil();
  }
  void length(Call& call) {
    call.arguments(0, "size");
    call.out.uint(values_.size());
  }
  void snapshot(Call& call) {
    call.arguments(0, "snapshot");
    give(call, values_);
  }
  void push_back(Call& call) {
    call.arguments(1, "push_back");
    values_.push_back(call.blob());
    call.out.nil();
  }
  void extend(Call& call) {
    call.arguments(1, "extend");
    std::vector<Blob> more = take(call);
    values_.insert(values_.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
    call.out.nil();
  }
  void insert(Call& call) {
    call.arguments(2, "insert");
    const std::int64_t at = call.in.sint();
    Blob value = call.blob();
    const auto [begin, end] = range(at, at);
    values_.insert(values_.begin() + static_cast<std::ptrdiff_t>(begin), std::move(value));
    call.out.nil();
  }
  void pop(Call& call) {
    call.arguments(1, "pop");
    const std::int64_t at = call.in.sint();
    if (values_.empty()) throw std::out_of_range("pop from an empty managed list");
    const auto it = values_.begin() + static_cast<std::ptrdiff_t>(index(at));
    call.give(*it);
    values_.erase(it);
  }
  void erase(Call& call) {
    call.arguments(2, "erase");
    const std::int64_t from = call.in.sint();
    const auto [begin, end] = range(from, call.in.sint());
    values_.erase(values_.begin() + static_cast<std::ptrdiff_t>(begin),
                  values_.begin() + static_cast<std::ptrdiff_t>(end));
    call.out.uint(end - begin);
  }
  void remove(Call& call) {
    call.arguments(1, "remove");
    const auto it = std::ranges::find(values_, call.blob());
    call.out.boolean(it != values_.end());
    if (it != values_.end()) values_.erase(it);
  }
  void find(Call& call) {
    call.arguments(1, "index");
    const auto it = std::ranges::find(values_, call.blob());
    if (it == values_.end()) call.out.nil();
    else call.out.uint(static_cast<std::uint64_t>(it - values_.begin()));
  }
  void count(Call& call) {
    call.arguments(1, "count");
    call.out.uint(static_cast<std::uint64_t>(std::ranges::count(values_, call.blob())));
  }
  void reverse(Call& call) {
    call.arguments(0, "reverse");
    std::ranges::reverse(values_);
    call.out.nil();
  }
  void clear(Call& call) {
    call.arguments(0, "clear");
    values_.clear();
    call.out.nil();
  }

  using M = Method<ServedList>;
  static constexpr std::array kArrayMethods = {
      M{"get", &ServedList::get},
      M{"set", &ServedList::set, true},
      M{"slice", &ServedList::slice},
      M{"set_slice", &ServedList::set_slice, true},
      M{"size", &ServedList::length},
      M{"snapshot", &ServedList::snapshot},
      M{"index", &ServedList::find},
      M{"count", &ServedList::count},
      M{"reverse", &ServedList::reverse, true},
  };
  static constexpr std::array kMethods = {
      M{"get", &ServedList::get},
      M{"set", &ServedList::set, true},
      M{"slice", &ServedList::slice},
      M{"set_slice", &ServedList::set_slice, true},
      M{"size", &ServedList::length},
      M{"snapshot", &ServedList::snapshot},
      M{"index", &ServedList::find},
      M{"count", &ServedList::count},
      M{"reverse", &ServedList::reverse, true},
      M{"push_back", &ServedList::push_back, true},
      M{"extend", &ServedList::extend, true},
      M{"insert", &ServedList::insert, true},
      M{"pop", &ServedList::pop, true},
      M{"erase", &ServedList::erase, true},
      M{"remove", &ServedList::remove, true},
      M{"clear", &ServedList::clear, true},
  };

  const bool is_array_;
  Objects& objects_;
  std::mutex mutex_;
  std::vector<Blob> values_;
};

/// A value on its own: a list of one, for ListAccess.
class ServedValue final : public Served, public detail::ListAccess {
 public:
  explicit ServedValue(Call& call) : objects_(call.objects) {
    call.arguments(1, "the first value");
    value_ = call.blob();
  }
  void call(std::string_view method, Call& call) override {
    const std::lock_guard lock(mutex_);
    run_method(kMethods, *this, "Value", method, call);
  }
  [[nodiscard]] void* object() noexcept override { return static_cast<detail::ListAccess*>(this); }
  [[nodiscard]] std::mutex* turn() noexcept override { return &mutex_; }

  [[nodiscard]] std::size_t size() const override { return 1; }
  [[nodiscard]] std::span<const std::byte> value_at(std::size_t /*index*/) override {
    return std::as_bytes(std::span(value_.bytes));
  }
  void assign(const std::vector<Encoder>& values) override { assign(0, values.at(0)); }
  void assign(std::size_t /*index*/, const Encoder& value) override {
    Blob fresh = take_blob(objects_, value);
    if (has_journal()) {
      Encoder one;
      one.array_header(1);
      fresh.encode(one);
      write_ahead("set", one.bytes());
    }
    value_ = std::move(fresh);
  }
  void repeat(std::string_view method, Call& call) override { ServedValue::call(method, call); }
  void save(Saver& saver) override {
    const std::lock_guard lock(mutex_);
    Encoder arguments;
    arguments.array_header(1);
    value_.encode(arguments);
    saver.save(*this, arguments);
  }

 private:
  void get(Call& call) {
    call.arguments(0, "get");
    call.give(value_);
  }
  void set(Call& call) {
    call.arguments(1, "set");
    value_ = call.blob();
    call.out.nil();
  }
  void exchange(Call& call) {
    call.arguments(1, "exchange");
    Blob fresh = call.blob();
    call.give(value_);
    value_ = std::move(fresh);
  }
  void compare_exchange(Call& call) {
    call.arguments(2, "compare_exchange");
    const Blob expected = call.blob();
    Blob desired = call.blob();
    const bool matches = value_ == expected;
    if (matches) value_ = std::move(desired);
    call.out.boolean(matches);
  }
  using M = Method<ServedValue>;
  static constexpr std::array kMethods = {
      M{"get", &ServedValue::get},
      M{"set", &ServedValue::set, true},
      M{"exchange", &ServedValue::exchange, true},
      M{"compare_exchange", &ServedValue::compare_exchange, true},
  };
  Objects& objects_;
  std::mutex mutex_;
  Blob value_;
};

}  // namespace

std::unique_ptr<Served> make_list(Call& call) { return std::make_unique<ServedList>(call, false); }
std::unique_ptr<Served> make_array(Call& call) { return std::make_unique<ServedList>(call, true); }
std::unique_ptr<Served> make_value(Call& call) { return std::make_unique<ServedValue>(call); }

}  // namespace brood::inline v1::manager
