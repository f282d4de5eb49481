#include "manager/served_class.hpp"

#include <map>
#include <mutex>
#include <utility>

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
    call.kept = it->second(hosted_->object(), call.in, call.out);
  }
  [[nodiscard]] void* object() noexcept override { return hosted_->object(); }
  [[nodiscard]] std::mutex* turn() noexcept override { return is_concurrent_ ? nullptr : &mutex_; }

 private:
  const std::unique_ptr<detail::Hosted> hosted_;
  const std::shared_ptr<const detail::ServedClassBase> known_;
  const bool is_concurrent_;
  std::mutex mutex_;
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
