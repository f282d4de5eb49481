// dict and Namespace: keys and values as bytes, in the order in which the keys came.
#include <array>
#include <list>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "brood/detail/served_access.hpp"
#include "brood/error.hpp"
#include "manager/served_types.hpp"

namespace brood::inline v1::manager {
namespace {

class ServedDict final : public Served, public detail::DictAccess {
 public:
  ServedDict(Call& call, bool is_namespace) : is_namespace_(is_namespace), objects_(call.objects) {
    call.arguments(1, "the first items");
    take_items(call);
  }

  void call(std::string_view method, Call& call) override {
    const std::lock_guard lock(mutex_);
    run_method(kMethods, *this, is_namespace_ ? "Namespace" : "dict", method, call);
  }
  [[nodiscard]] void* object() noexcept override { return static_cast<detail::DictAccess*>(this); }
  [[nodiscard]] std::mutex* turn() noexcept override { return &mutex_; }

  // DictAccess, with the lock held: for functions of the program.
  [[nodiscard]] std::optional<std::span<const std::byte>> value_of(std::span<const std::byte> key) override {
    const auto it = by_key_.find(text(key));
    if (it == by_key_.end()) return std::nullopt;
    return std::as_bytes(std::span(it->second->second.bytes));
  }
  void assign(std::span<const std::byte> key, const Encoder& value) override {
    Blob blob = take_blob(objects_, value);
    if (has_journal()) {
      Encoder both;
      both.array_header(2);
      both.value(key, {});
      blob.encode(both);
      write_ahead("set", both.bytes());
    }
    set({std::string(text(key)), nullptr}, std::move(blob));
  }
  void erase(std::span<const std::byte> key) override {
    if (has_journal()) {
      Encoder one;
      one.array_header(1);
      one.value(key, {});
      write_ahead("erase", one.bytes());
    }
    (void)remove(text(key));
  }
  void repeat(std::string_view method, Call& call) override { ServedDict::call(method, call); }
  void save(Saver& saver) override {
    const std::lock_guard lock(mutex_);
    Encoder arguments;
    arguments.array_header(1);
    write_items(arguments);
    saver.save(*this, arguments);
  }

 private:
  using Items = std::list<std::pair<Blob, Blob>>;

  [[nodiscard]] static std::string_view text(std::span<const std::byte> bytes) noexcept {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  /// False if it replaced one; then the key keeps its place.
  bool set(Blob key, Blob value) {
    if (const auto it = by_key_.find(key.bytes); it != by_key_.end()) {
      it->second->second = std::move(value);
      return false;
    }
    items_.emplace_back(std::move(key), std::move(value));
    const auto last = std::prev(items_.end());
    try {
      by_key_.emplace(last->first.bytes, last);
    } catch (...) {
      items_.pop_back();
      throw;
    }
    return true;
  }
  std::optional<Blob> remove(std::string_view key) {
    const auto it = by_key_.find(key);
    if (it == by_key_.end()) return std::nullopt;
    std::optional<Blob> value(std::move(it->second->second));
    const auto item = it->second;
    by_key_.erase(it);
    items_.erase(item);
    return value;
  }
  /// A map, or an array of pairs.
  void take_items(Call& call) {
    std::vector<std::pair<Blob, Blob>> all;  // all or none
    const bool is_map = call.in.peek() == detail::WireType::map;
    for (std::size_t left = is_map ? call.in.map_header() : call.in.array_header(); left > 0; --left) {
      if (!is_map) call.in.expect_array(2, "a key and its value");
      Blob key = call.blob();
      Blob value = call.blob();
      all.emplace_back(std::move(key), std::move(value));
    }
    for (auto& [key, value] : all) set(std::move(key), std::move(value));
  }
  static void maybe(Call& call, const Blob* value) {
    if (value == nullptr) return call.out.nil();
    call.out.array_header(1);
    call.give(*value);
  }
  static void maybe(Call& call, const std::optional<Blob>& value) { maybe(call, value ? &*value : nullptr); }

  void get(Call& call) {
    call.arguments(1, "get");
    const auto it = by_key_.find(text(call.in.value([](const detail::Ext&) {})));
    maybe(call, it == by_key_.end() ? nullptr : &it->second->second);
  }
  void set(Call& call) {
    call.arguments(2, "set");
    Blob key = call.blob();
    set(std::move(key), call.blob());
    call.out.nil();
  }
  void insert(Call& call) {
    call.arguments(2, "insert");
    Blob key = call.blob();
    Blob value = call.blob();
    const bool is_new = !by_key_.contains(key.bytes);
    if (is_new) set(std::move(key), std::move(value));
    call.out.boolean(is_new);
  }
  /// [key, value]: the value that it has, or now has
  void set_default(Call& call) {
    call.arguments(2, "set_default");
    Blob key = call.blob();
    Blob value = call.blob();
    if (const auto it = by_key_.find(key.bytes); it != by_key_.end()) return call.give(it->second->second);
    call.give(value);
    set(std::move(key), std::move(value));
  }
  /// [key, [expected] or nil, [desired] or nil]: whether it was as expected, and has been changed
  void exchange(Call& call) {
    call.arguments(3, "compare_exchange");
    Blob key = call.blob();
    const std::optional<Blob> expected = optional_blob(call);
    std::optional<Blob> desired = optional_blob(call);
    const auto it = by_key_.find(key.bytes);
    const Blob* const present = it == by_key_.end() ? nullptr : &it->second->second;
    const bool matches = expected ? present != nullptr && *present == *expected : present == nullptr;
    if (matches && desired) set(std::move(key), *std::move(desired));
    else if (matches) (void)remove(key.bytes);
    call.out.boolean(matches);
  }
  [[nodiscard]] static std::optional<Blob> optional_blob(Call& call) {
    if (call.in.try_nil()) return std::nullopt;
    call.in.expect_array(1, "a value");
    return call.blob();
  }
  void contains(Call& call) {
    call.arguments(1, "contains");
    call.out.boolean(by_key_.contains(text(call.in.value([](const detail::Ext&) {}))));
  }
  void erase(Call& call) {
    call.arguments(1, "erase");
    call.out.boolean(remove(text(call.in.value([](const detail::Ext&) {}))).has_value());
  }
  void pop(Call& call) {
    call.arguments(1, "pop");
    maybe(call, remove(text(call.in.value([](const detail::Ext&) {}))));
  }
  void pop_item(Call& call) {
    call.arguments(0, "pop_item");
    if (items_.empty()) return call.out.nil();
    call.out.array_header(2);
    call.give(items_.back().first);
    call.give(items_.back().second);
    by_key_.erase(items_.back().first.bytes);
    items_.pop_back();
  }
  void size(Call& call) {
    call.arguments(0, "size");
    call.out.uint(items_.size());
  }
  void clear(Call& call) {
    call.arguments(0, "clear");
    by_key_.clear();
    items_.clear();
    call.out.nil();
  }
  void update(Call& call) {
    call.arguments(1, "update");
    take_items(call);
    call.out.nil();
  }
  void keys(Call& call) {
    call.arguments(0, "keys");
    call.out.array_header(items_.size());
    for (const auto& [key, value] : items_) call.give(key);
  }
  void values(Call& call) {
    call.arguments(0, "values");
    call.out.array_header(items_.size());
    for (const auto& [key, value] : items_) call.give(value);
  }
  void items(Call& call) {
    call.arguments(0, "items");
    write_items(call.out);
    for (const auto& [key, value] : items_) {
      call.keep(key);
      call.keep(value);
    }
  }
  void write_items(Encoder& out) const {
    out.array_header(items_.size());
    for (const auto& [key, value] : items_) {
      out.array_header(2);
      key.encode(out);
      value.encode(out);
    }
  }

  static constexpr std::array kMethods = {
      Method<ServedDict>{"get", &ServedDict::get},
      Method<ServedDict>{"set", &ServedDict::set, true},
      Method<ServedDict>{"contains", &ServedDict::contains},
      Method<ServedDict>{"insert", &ServedDict::insert, true},
      Method<ServedDict>{"set_default", &ServedDict::set_default, true},
      Method<ServedDict>{"compare_exchange", &ServedDict::exchange, true},
      Method<ServedDict>{"erase", &ServedDict::erase, true},
      Method<ServedDict>{"pop", &ServedDict::pop, true},
      Method<ServedDict>{"pop_item", &ServedDict::pop_item, true},
      Method<ServedDict>{"size", &ServedDict::size},
      Method<ServedDict>{"clear", &ServedDict::clear, true},
      Method<ServedDict>{"update", &ServedDict::update, true},
      Method<ServedDict>{"keys", &ServedDict::keys},
      Method<ServedDict>{"values", &ServedDict::values},
      Method<ServedDict>{"items", &ServedDict::items},
  };

  const bool is_namespace_;
  Objects& objects_;
  std::mutex mutex_;
  Items items_;
  std::unordered_map<std::string_view, Items::iterator> by_key_;
};

}  // namespace

std::unique_ptr<Served> make_dict(Call& call) { return std::make_unique<ServedDict>(call, false); }
std::unique_ptr<Served> make_namespace(Call& call) { return std::make_unique<ServedDict>(call, true); }

}  // namespace brood::inline v1::manager
