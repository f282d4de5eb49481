// An ELF file that is read piece by piece, without mapping or running any of it.                   (room: os)
#pragma once

#include <link.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"

namespace brood::inline v1::os {

/// Errors of all: StartError naming the file if it cannot be read or is not an ELF module of this machine's word size; OsError
/// if no descriptor is free.
class ElfFile {
 public:
  explicit ElfFile(const std::string& path);

  [[nodiscard]] std::span<const ElfW(Phdr)> segments() const noexcept { return segments_; }
  /// Empty for a file that was stripped of them.
  [[nodiscard]] std::vector<ElfW(Shdr)> sections() const;
  [[nodiscard]] std::vector<std::byte> read(std::uint64_t offset, std::uint64_t size_bytes) const;

 private:
  [[noreturn]] void refuse(const std::string& why) const;

  std::string path_;
  base::UniqueFd file_;
  std::uint64_t size_ = 0;
  ElfW(Ehdr) header_ = {};
  std::vector<ElfW(Phdr)> segments_;
};

}  // namespace brood::inline v1::os
