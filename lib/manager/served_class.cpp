#include "manager/served_class.hpp"

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "base/made_once.hpp"
#include "brood/error.hpp"

namespace brood::inline v1::manager {
namespace {

/// Never destroyed: static objects of the program may be older or younger.
struct Classes {
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<const detail::ServedClassBase>, std::less<>> by_name;
};
constinit base::MadeOnce<Classes> g_classes;
Classes& classes() {
  return g_classes.get([] { return std::make_unique<Classes>(); });
}

class ServedHosted final : public Served {
 public:
  ServedHosted(std::unique_ptr<detail::Hosted> hosted, std::shared_ptr<const detail::ServedClassBase> known,
               bool is_concurrent)
      : hosted_(std::move(hosted)), known_(std::move(known)), is_concurrent_(is_concurrent) {}

  void call(std::string_view method, Call& call) override {
    if (!known_) throw_no_method("an object that was not made by name", method, "none");
    const auto it = known_->methods.find(method);
    if (it == known_->methods.end()) {
      std::string known;
      for (const auto& [name, invoke] : known_->methods) known += (known.empty() ? "" : " ") + name;
      throw_no_method(known_->name, method, known);
    }
    std::unique_lock<std::mutex> turn;
    if (!is_concurrent_) turn = std::unique_lock(mutex_);
    try {
      call.kept.push_back(it->second(hosted_->object(), call.in, call.out));
    } catch (...) {
      keep_state();  // it may have changed before it threw
      throw;
    }
    keep_state();
  }
  void repeat(std::string_view method, Call& call) override {
    if (method != kStateOfClass) return Served::repeat(method, call);
    hosted_ = known_->load(call.in);
  }
  void save(Saver& saver) override {
    std::unique_lock<std::mutex> turn;
    if (!is_concurrent_) turn = std::unique_lock(mutex_);
    const std::lock_guard lock(state_mutex_);
    if (const auto state = state_of(*known_, hosted_->object())) saver.save(*this, *state);
  }
  [[nodiscard]] void* object() noexcept override { return hosted_->object(); }
  [[nodiscard]] std::mutex* turn() noexcept override { return is_concurrent_ ? nullptr : &mutex_; }

 private:
  /// Behind each call that has changed it, before the answer. Errors: NoSpace, OsError: the object has changed all the same.
  void keep_state() {
    if (!has_journal()) return;
    const std::lock_guard lock(state_mutex_);
    const auto state = state_of(*known_, hosted_->object());
    if (!state || std::ranges::equal(state->bytes(), kept_)) return;
    write_ahead(kStateOfClass, state->bytes());
    kept_.assign(state->bytes().begin(), state->bytes().end());
  }

  std::unique_ptr<detail::Hosted> hosted_;
  const std::shared_ptr<const detail::ServedClassBase> known_;
  const bool is_concurrent_;
  std::mutex mutex_;
  std::mutex state_mutex_;
  std::vector<std::byte> kept_;  ///< the state that the journal has
};

}  // namespace

std::unique_ptr<Served> serve_hosted(std::unique_ptr<detail::Hosted> hosted,
                                     std::shared_ptr<const detail::ServedClassBase> known, bool is_concurrent) {
  return std::make_unique<ServedHosted>(std::move(hosted), std::move(known), is_concurrent);
}

std::shared_ptr<const detail::ServedClassBase> find_served_class(std::string_view name) {
  Classes& all = classes();
  const std::lock_guard lock(all.mutex);
  const auto it = all.by_name.find(name);
  return it == all.by_name.end() ? nullptr : it->second;
}

std::unique_ptr<Served> restore_class(std::string_view word, Decoder& arguments) {
  const std::string_view name = word.starts_with(kClassPrefix) ? word.substr(kClassPrefix.size()) : word;
  const auto known = find_served_class(name);
  if (!known || known->load == nullptr)
    throw UsageError("this program has no class '" + std::string(name) + "' whose state is kept (ServeClass::kept)");
  return serve_hosted(known->load(arguments), known, known->is_concurrent);
}

std::optional<Encoder> state_of(const detail::ServedClassBase& known, const void* object) {
  if (known.save == nullptr) return std::nullopt;
  Encoder state;
  state.array_header(1);
  known.save(object, state);
  return state;
}

std::string served_class_names() {
  Classes& all = classes();
  const std::lock_guard lock(all.mutex);
  std::string out;
  for (const auto& [name, served] : all.by_name) out += (out.empty() ? "" : ", ") + name;
  return out.empty() ? "none" : out;
}

}  // namespace brood::inline v1::manager

namespace brood::inline v1::detail {

std::unique_ptr<Hosted> ServedClassBase::make(Decoder& in) const {
  if (make_hosted == nullptr)
    throw UsageError("the class '" + name +
                     "' was registered without constructor<…>(), and has none without arguments");
  return make_hosted(in);
}

void register_served_class(std::shared_ptr<const ServedClassBase> served) {
  manager::Classes& all = manager::classes();
  const std::lock_guard lock(all.mutex);
  auto& known = all.by_name[served->name];
  if (known && *known->type != *served->type)
    throw UsageError("brood::ServeClass: two classes of this program are named '" + served->name + "'");
  known = std::move(served);  // a description that is still growing replaces itself
}

}  // namespace brood::inline v1::detail
