// The attachments of this process: mapped here, linked in one list, let go of at exit.
#pragma once

#include <cstdint>
#include <string>

#include "absl/container/btree_set.h"
#include "brood/detail/object.hpp"
#include "shm/segment.hpp"

namespace brood::inline v1::shm {

/// Maps an open, share-locked file and links the mapping.
[[nodiscard]] detail::Attachment* attach(int fd, std::size_t size_bytes, Kind kind, std::uint64_t id, std::string name,
                                         std::string file, Access access = Access::read_write);
/// Unlinks and unmaps; the caller reclaims.
void detach(detail::Attachment* attachment) noexcept;

/// Remembers an object that could not be freed because others still use it: they may be killed and free nothing.
void remember_orphan(const std::string& file) noexcept;
void forget_orphan(const std::string& file) noexcept;
/// To be asked after each attempt to free something. Now and then all orphans, to be tried again, else none.
[[nodiscard]] absl::btree_set<std::string> take_orphans_due() noexcept;

/// Runs at exit after the objects with static storage that were made before: replaces every mapping by private zeros,
/// so that threads still running do no harm, then frees what nobody uses.
void register_exit_handler();
/// True once that has begun: no object that was open until then can be used any more. (Ones made later can.)
[[nodiscard]] bool has_let_go() noexcept;
/// What is called when no object is mapped any more, before the registry's mapping goes.
void set_farewell(void (*leave)() noexcept) noexcept;
/// The same at once, for a process that ends without running its exit handlers.
void let_go_of_everything() noexcept;

}  // namespace brood::inline v1::shm
