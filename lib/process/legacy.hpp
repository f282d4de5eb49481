// What a process leaves to every child that it starts from now on, besides the arguments of the call: settings of the
// rooms above, each under a name of its own (room log: where records go). It goes on to the children's children.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace brood::inline v1::process {

/// One room's words to the same room of the children.
struct Legacy {
  std::string name;
  std::vector<std::byte> bytes;
};

/// From now on children get these bytes under this name, in the place of earlier ones; empty bytes: nothing any more.
/// A handle among them must stay valid as long as children are started: a child opens it before start() returns.
void bequeath(std::string_view name, std::vector<std::byte> bytes);
/// The same, asked for anew at each start. For static initialisation; `name` lives for ever. The will must not start
/// processes itself; what it throws is thrown by start().
using Will = std::vector<std::byte> (*)();
bool bequeath_at_start(std::string_view name, Will will);

/// Called in each child of this program that is left something under this name, before its target runs and while
/// start() waits; what it throws becomes start()'s StartError. For static initialisation; `name` lives for ever.
using Heir = void (*)(std::span<const std::byte> bytes);
bool expect_legacy(std::string_view name, Heir heir);

/// For the order.
[[nodiscard]] std::vector<Legacy> all_legacies();
/// In the child: keeps everything for its own children, and calls the heirs.
void inherit_legacies(std::vector<Legacy> left);

}  // namespace brood::inline v1::process
