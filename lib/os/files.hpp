// The file and memory calls that segments need. Functions return 0 or a negative errno unless they say otherwise.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/unique_fd.hpp"

namespace brood::inline v1::os {

/// The directory, made with mode 0700 if it is missing, must belong to the effective user and be closed to all others.
/// -EPERM: it belongs to somebody else, or others may enter it. -ENOTDIR: it is a link or no directory.
[[nodiscard]] int ensure_private_directory(const char* path) noexcept;
/// The check alone; -ENOENT: it is missing.
[[nodiscard]] int check_private_directory(const char* path) noexcept;

/// An unnamed file in `directory`, mode 0600 whatever the umask. Negative errno on failure.
[[nodiscard]] int open_unnamed(const char* directory) noexcept;
/// Another descriptor of the same open file, close-on-exec. Negative errno on failure.
[[nodiscard]] int duplicate(int fd) noexcept;
/// Gives an unnamed file its name; -EEXIST if the name is taken.
[[nodiscard]] int publish(int fd, const char* path) noexcept;
/// Opens without following links, close-on-exec. Negative errno on failure.
[[nodiscard]] int open_file(const char* path, bool writable) noexcept;

/// Sets the file's length and reserves its first `reserved` bytes: afterwards touching those can not raise SIGBUS.
[[nodiscard]] int reserve(int fd, std::size_t size_bytes, std::size_t reserved) noexcept;
/// Reserves pages of a mapping that were only mapped so far; -ENOSPC if there is no room.
[[nodiscard]] int populate(void* at, std::size_t size_bytes) noexcept;

/// Frees the memory of populated pages of a shared mapping; they read as zeros, and have to be populated again.
void give_back_memory(void* at, std::size_t size_bytes) noexcept;

/// flock without sleeping; -EWOULDBLOCK if somebody holds a lock that conflicts.
[[nodiscard]] int lock_shared(int fd) noexcept;
[[nodiscard]] int lock_exclusive(int fd) noexcept;

/// Marks an open file description as one that is about to be opened for good; the mark goes with the descriptor and is
/// no flock, so the two do not see each other.
[[nodiscard]] int mark_kept(int fd) noexcept;
/// Does another description of this file bear that mark? Negative errno on failure.
[[nodiscard]] int is_kept_elsewhere(int fd) noexcept;

/// Replaces a mapping by private zeros in one step, so that a thread still using it neither crashes nor reaches the
/// file.
void replace_by_zeros(void* at, std::size_t size_bytes) noexcept;

/// For a private mapping of which only a part will be written: its pages count when they are made (MAP_NORESERVE).
extern const int kNoReserve;

/// A page of private zeros that a forked child sees as zeros again. Aborts if there is no memory for one page.
[[nodiscard]] void* page_wiped_by_fork() noexcept;

/// What one entry of the processor's second page table covers: 2 MiB.
inline constexpr std::size_t kHugePage = std::size_t{2} << 20;
/// Addresses for a mapping that begins on a multiple of `alignment`; whoever maps there passes kMapOver. Null if there
/// are none.
[[nodiscard]] void* reserve_addresses(std::size_t size_bytes, std::size_t alignment) noexcept;
void release_addresses(void* at, std::size_t size_bytes) noexcept;
extern const int kMapOver;
/// Asks for huge pages, now and later. Advice: what the kernel made of it says huge_bytes().
void use_huge_pages(void* at, std::size_t size_bytes) noexcept;
/// Bytes of the mapping that begins at `at` which this process reaches by huge pages.
[[nodiscard]] std::size_t huge_bytes(const void* at);

/// Random bits from the kernel.
[[nodiscard]] std::uint64_t random_u64() noexcept;

[[nodiscard]] std::size_t page_size() noexcept;
[[nodiscard]] inline std::size_t round_up(std::size_t size, std::size_t unit) noexcept {
  return (size + unit - 1) / unit * unit;
}

/// Free bytes of the filesystem that holds `path`; 0 if unknown.
[[nodiscard]] std::uint64_t free_bytes(const char* path) noexcept;

}  // namespace brood::inline v1::os
