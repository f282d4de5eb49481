#include "manager/served.hpp"

#include "brood/error.hpp"
#include "brood/proxy.hpp"
#include "manager/journal.hpp"
#include "manager/served_class.hpp"
#include "manager/served_types.hpp"

namespace brood::inline v1::manager {

Served::~Served() = default;

void Served::repeat(std::string_view method, Call& /*call*/) {
  throw UsageError("a journal that says '" + std::string(method) + "' of an object that it keeps nothing of");
}

void Served::write_ahead(std::string_view method, std::span<const std::byte> arguments) {
  if (journal_ == nullptr) return;
  Encoder record = Journal::begin(Journal::Word::called, 3);
  record.uint(id_);
  record.str(method);
  record.value(arguments, {});
  journal_->append(record, copy_ == journal_->copy_number());
}

void Served::write_failed() noexcept {
  if (journal_ == nullptr) return;
  try {
    Encoder record = Journal::begin(Journal::Word::failed, 1);
    record.uint(id_);
    journal_->append(record, copy_ == journal_->copy_number());
  } catch (const std::exception&) {
    // The call will be repeated from the journal, and fail as it did now.
    return;
  }
}

Deadline Call::deadline() const { return detail::decode<detail::Timeout>(in).deadline; }

void throw_no_method(std::string_view type, std::string_view method, std::string_view known) {
  throw UsageError(std::string(type) + " has no method '" + std::string(method) +
                   "' for clients; it has: " + std::string(known));
}

namespace {

class ServedLost final : public Served {
 public:
  ServedLost(std::string why, std::span<const std::byte> arguments)
      : why_(std::move(why)), arguments_(arguments.begin(), arguments.end()) {}
  void call(std::string_view /*method*/, Call& /*call*/) override { throw HandleError(why_); }
  void repeat(std::string_view method, Call& call) override {
    if (method != kStateOfClass) throw HandleError(why_);
    const std::span<const std::byte> state = call.in.value([](const detail::Ext&) {});
    arguments_.assign(state.begin(), state.end());
  }
  /// Perhaps the next server knows how.
  void save(Saver& saver) override {
    Encoder arguments;
    arguments.value(arguments_, {});
    saver.save(*this, arguments);
  }

 private:
  const std::string why_;
  std::vector<std::byte> arguments_;
};

}  // namespace

std::unique_ptr<Served> make_lost(std::string why, std::span<const std::byte> arguments) {
  return std::make_unique<ServedLost>(std::move(why), arguments);
}

std::unique_ptr<Served> make_builtin(std::string_view type, Call& call) {
  if (type == "dict") return make_dict(call);
  if (type == "list") return make_list(call);
  if (type == "Array") return make_array(call);
  if (type == "set") return make_set(call);
  if (type == "Namespace") return make_namespace(call);
  if (type == "Value") return make_value(call);
  if (type == "Queue") return make_queue(call);
  if (type == "JoinableQueue") return make_joinable_queue(call);
  if (type == "PriorityQueue") return make_priority_queue(call);
  if (type == "Lock") return make_lock(call);
  if (type == "RLock") return make_rlock(call);
  if (type == "Semaphore") return make_semaphore(call);
  if (type == "BoundedSemaphore") return make_bounded_semaphore(call);
  if (type == "Condition") return make_condition(call);
  if (type == "Event") return make_event(call);
  if (type == "Barrier") return make_barrier(call);
  if (type == "Pool") return make_pool(call);
  return nullptr;
}

}  // namespace brood::inline v1::manager
