// The types that every server knows. Each maker reads the arguments of its constructor, one array, from the call.
#pragma once

#include <memory>

#include "manager/served.hpp"

namespace brood::inline v1::manager {

// served_dict.cpp, served_list.cpp, served_set.cpp, served_value.cpp: values, each call whole or not at all
[[nodiscard]] std::unique_ptr<Served> make_dict(Call& call);
[[nodiscard]] std::unique_ptr<Served> make_namespace(Call& call);
[[nodiscard]] std::unique_ptr<Served> make_list(Call& call);
[[nodiscard]] std::unique_ptr<Served> make_array(Call& call);
[[nodiscard]] std::unique_ptr<Served> make_set(Call& call);
[[nodiscard]] std::unique_ptr<Served> make_value(Call& call);

// served_queue.cpp
[[nodiscard]] std::unique_ptr<Served> make_queue(Call& call);
[[nodiscard]] std::unique_ptr<Served> make_joinable_queue(Call& call);
[[nodiscard]] std::unique_ptr<Served> make_priority_queue(Call& call);

// served_lock.cpp, served_semaphore.cpp, served_event.cpp, served_condition.cpp, served_barrier.cpp
[[nodiscard]] std::unique_ptr<Served> make_lock(Call& call);
[[nodiscard]] std::unique_ptr<Served> make_rlock(Call& call);
[[nodiscard]] std::unique_ptr<Served> make_semaphore(Call& call);
[[nodiscard]] std::unique_ptr<Served> make_bounded_semaphore(Call& call);
[[nodiscard]] std::unique_ptr<Served> make_condition(Call& call);
[[nodiscard]] std::unique_ptr<Served> make_event(Call& call);
[[nodiscard]] std::unique_ptr<Served> make_barrier(Call& call);

// served_pool.cpp
[[nodiscard]] std::unique_ptr<Served> make_pool(Call& call);

}  // namespace brood::inline v1::manager
