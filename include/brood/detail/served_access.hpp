// What functions of the program see of a managed container, in the server.                        (room: manager)
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "brood/serialize.hpp"

namespace brood::inline v1::detail {

/// A dict, for DictProxy::update(key, fn). Keys and values as the bytes that they travel as.
class DictAccess {
 public:
  DictAccess() = default;
  DictAccess(const DictAccess&) = delete;
  DictAccess& operator=(const DictAccess&) = delete;
  virtual ~DictAccess() = default;
  [[nodiscard]] virtual std::optional<std::span<const std::byte>> value_of(std::span<const std::byte> key) = 0;
  virtual void assign(std::span<const std::byte> key, const Encoder& value) = 0;
  virtual void erase(std::span<const std::byte> key) = 0;
};

/// A sequence of values, for ListProxy and ValueProxy.
class ListAccess {
 public:
  ListAccess() = default;
  ListAccess(const ListAccess&) = delete;
  ListAccess& operator=(const ListAccess&) = delete;
  virtual ~ListAccess() = default;
  [[nodiscard]] virtual std::size_t size() const = 0;
  [[nodiscard]] virtual std::span<const std::byte> value_at(std::size_t index) = 0;
  /// All of them anew, in place of what was there.
  virtual void assign(const std::vector<Encoder>& values) = 0;
  virtual void assign(std::size_t index, const Encoder& value) = 0;
};

}  // namespace brood::inline v1::detail
