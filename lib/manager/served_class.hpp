// Objects of the program's own classes.
#pragma once

#include <memory>
#include <optional>
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

/// How an object of a class whose state is kept is called in a journal, and the call that says what its state is now: [state]
inline constexpr std::string_view kClassPrefix = "class:";
inline constexpr std::string_view kStateOfClass = "=";
/// By the word, with its state. Errors: UsageError if this program has no such class; what decoding throws.
[[nodiscard]] std::unique_ptr<Served> restore_class(std::string_view word, Decoder& arguments);
/// [state], for the journal; nothing if the class has none that is kept.
[[nodiscard]] std::optional<Encoder> state_of(const detail::ServedClassBase& known, const void* object);

/// Null if this program has registered none of that name.
[[nodiscard]] std::shared_ptr<const detail::ServedClassBase> find_served_class(std::string_view name);
[[nodiscard]] std::string served_class_names();

}  // namespace brood::inline v1::manager
