#include "manager/served.hpp"

#include "brood/error.hpp"
#include "brood/proxy.hpp"
#include "manager/served_types.hpp"

namespace brood::inline v1::manager {

Served::~Served() = default;

Deadline Call::deadline() const { return detail::decode<detail::Timeout>(in).deadline; }

void throw_no_method(std::string_view type, std::string_view method, std::string_view known) {
  throw UsageError(std::string(type) + " has no method '" + std::string(method) +
                   "' for clients; it has: " + std::string(known));
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
  return nullptr;
}

}  // namespace brood::inline v1::manager
