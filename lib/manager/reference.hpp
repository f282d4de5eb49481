// How an object of a manager is named in messages, and the token that keeps it alive.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "brood/address.hpp"
#include "brood/detail/object.hpp"
#include "brood/handle.hpp"
#include "brood/serialize.hpp"

namespace brood::inline v1::manager {

/// [ext kExtManaged: this, token's handle or nil]
struct Reference {
  std::uint64_t server = 0;
  std::uint64_t object = 0;
  std::string address;

  /// Errors: DecodeError.
  [[nodiscard]] static Reference read(std::span<const std::byte> bytes);
  void write(Encoder& out) const;
};

/// A segment of the domain that stands for a managed object: as long as anybody of the domain has it open, or it lies in a
/// message, the object is used. The kernel counts, so nobody who is killed can forget to.
struct Token {
  /// Errors: NoSpace, OsError.
  [[nodiscard]] static detail::Object make(const Reference& reference, const std::string& type,
                                           const std::optional<std::string>& authkey);
  /// Errors: HandleError if the last user is gone.
  [[nodiscard]] static detail::Object open(const Handle& handle);
  /// What the object is, as its maker called it.
  [[nodiscard]] static std::string type(const detail::Object& token);
  /// What the token says of its object. Errors: HandleError if it is damaged.
  [[nodiscard]] static Reference reference(const detail::Object& token);
  /// The key of the server, if it was short enough.
  [[nodiscard]] static std::optional<std::string> authkey(const detail::Object& token);
};

}  // namespace brood::inline v1::manager
