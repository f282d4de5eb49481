#include "os/elf_identity.hpp"

#include <elf.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "base/hex.hpp"
#include "os/elf_file.hpp"

namespace brood::inline v1::os {

namespace {

constexpr std::size_t kMostNoteBytes = 1U << 20;  // real note segments have some dozen bytes

std::size_t round_up(std::size_t value, std::size_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

/// The build id within one note segment. Notes are padded to 4 bytes, in 8-aligned segments to 8.
std::optional<std::string> build_id_in(std::span<const std::byte> notes, std::size_t segment_alignment) {
  const std::size_t alignment = segment_alignment == 8 ? 8 : 4;
  std::size_t at = 0;
  while (at + sizeof(ElfW(Nhdr)) <= notes.size()) {
    ElfW(Nhdr) note;
    std::memcpy(&note, notes.data() + at, sizeof note);
    const std::size_t name_at = at + sizeof note;
    const std::size_t text_at = at + round_up(sizeof note + note.n_namesz, alignment);
    if (text_at > notes.size() || note.n_descsz > notes.size() - text_at) return std::nullopt;
    if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && std::memcmp(notes.data() + name_at, "GNU", 4) == 0 &&
        note.n_descsz > 0) {
      return base::hex_bytes(notes.data() + text_at, note.n_descsz);
    }
    at = text_at + round_up(note.n_descsz, alignment);
  }
  return std::nullopt;
}

/// Hash of a module without a build id; 64 bits, and the number of bytes hashed as a second opinion.
class ContentHash {
 public:
  // The address sanitizer puts red zones between the constants of a module; they are bytes of the segment like others.
  __attribute__((no_sanitize("address"))) void add(std::span<const std::byte> bytes) {
    size_ += bytes.size();
    const std::byte* from = bytes.data();
    for (std::size_t left = bytes.size(); left > 0;) {
      std::uint64_t word = 0;
      const std::size_t taken = left < sizeof word ? left : sizeof word;
      // Not memcpy, which the sanitizer watches wherever it is called from.
      for (std::size_t i = 0; i < taken; ++i) word |= static_cast<std::uint64_t>(from[i]) << (8 * i);
      hash_ = (hash_ ^ word) * 1099511628211ULL;
      hash_ ^= hash_ >> 29;  // FNV over words carries upward only; this brings the top bits back down
      from += taken;
      left -= taken;
    }
  }
  [[nodiscard]] std::string str() const { return "hash-" + base::hex16(hash_) + "-" + std::to_string(size_); }

 private:
  std::uint64_t hash_ = 14695981039346656037ULL;
  std::uint64_t size_ = 0;
};

bool is_unchanging(const ElfW(Phdr) & header) {
  return header.p_type == PT_LOAD && (header.p_flags & PF_W) == 0 && header.p_filesz > 0;
}

}  // namespace

std::string module_identity(const dl_phdr_info& module) {
  const std::span headers(module.dlpi_phdr, module.dlpi_phnum);
  const auto mapped = [&](const ElfW(Phdr) & header) {
    return std::span(reinterpret_cast<const std::byte*>(module.dlpi_addr + header.p_vaddr), header.p_filesz);
  };
  for (const ElfW(Phdr) & header : headers) {
    if (header.p_type != PT_NOTE || header.p_filesz > kMostNoteBytes) continue;
    if (auto id = build_id_in(mapped(header), header.p_align)) return *id;
  }
  ContentHash hash;
  for (const ElfW(Phdr) & header : headers) {
    if (is_unchanging(header)) hash.add(mapped(header));
  }
  return hash.str();
}

std::string file_identity(const std::string& path) {
  const ElfFile file(path);
  for (const ElfW(Phdr) & header : file.segments()) {
    if (header.p_type != PT_NOTE || header.p_filesz > kMostNoteBytes) continue;
    const std::vector<std::byte> notes = file.read(header.p_offset, header.p_filesz);
    if (auto id = build_id_in(notes, header.p_align)) return *id;
  }
  ContentHash hash;
  for (const ElfW(Phdr) & header : file.segments()) {
    if (is_unchanging(header)) hash.add(file.read(header.p_offset, header.p_filesz));
  }
  return hash.str();
}

}  // namespace brood::inline v1::os
