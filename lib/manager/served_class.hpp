// Objects of the program's own classes.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "brood/detail/method.hpp"
#include "brood/serve_class.hpp"
#include "manager/served.hpp"

namespace brood::inline v1::manager {

/// `known` says which methods have names; null: none.
[[nodiscard]] std::unique_ptr<Served> serve_hosted(std::unique_ptr<detail::Hosted> hosted,
                                                   std::shared_ptr<const detail::ServedClassBase> known,
                                                   bool is_concurrent);

/// Null if this program has registered none of that name.
[[nodiscard]] std::shared_ptr<const detail::ServedClassBase> find_served_class(std::string_view name);
[[nodiscard]] std::string served_class_names();

}  // namespace brood::inline v1::manager
