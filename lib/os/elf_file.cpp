#include "os/elf_file.hpp"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "brood/error.hpp"

namespace brood::inline v1::os {
namespace {

constexpr std::size_t kMostSegments = 256;  // real modules have about a dozen

/// The entries of a table in the file, as `Entry`s.
template <class Entry>
std::vector<Entry> table(const ElfFile& file, std::uint64_t offset, std::size_t count) {
  const std::vector<std::byte> bytes = file.read(offset, count * sizeof(Entry));
  std::vector<Entry> entries(count);
  if (!bytes.empty()) std::memcpy(entries.data(), bytes.data(), bytes.size());
  return entries;
}

}  // namespace

ElfFile::ElfFile(const std::string& path) : path_(path), file_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
  if (!file_ && (errno == EMFILE || errno == ENFILE)) throw OsError(errno, "cannot open the module " + path_);
  if (!file_) refuse(std::string("it cannot be opened: ") + std::strerror(errno));
  struct stat status {};
  if (::fstat(file_.get(), &status) != 0 || !S_ISREG(status.st_mode)) refuse("it is not a regular file");
  size_ = static_cast<std::uint64_t>(status.st_size);
  const std::vector<std::byte> start = read(0, sizeof header_);
  std::memcpy(&header_, start.data(), sizeof header_);
  constexpr unsigned char kClass = sizeof(void*) == 8 ? ELFCLASS64 : ELFCLASS32;
  if (std::memcmp(header_.e_ident, ELFMAG, SELFMAG) != 0 || header_.e_ident[EI_CLASS] != kClass ||
      header_.e_phentsize != sizeof(ElfW(Phdr)) || header_.e_phnum > kMostSegments) {
    refuse("it is not an ELF module of this machine's kind");
  }
  segments_ = table<ElfW(Phdr)>(*this, header_.e_phoff, header_.e_phnum);
}

std::vector<ElfW(Shdr)> ElfFile::sections() const {
  if (header_.e_shoff == 0 || header_.e_shentsize != sizeof(ElfW(Shdr))) return {};
  return table<ElfW(Shdr)>(*this, header_.e_shoff, header_.e_shnum);
}

void ElfFile::refuse(const std::string& why) const {
  throw StartError("cannot use the module " + path_ + " that holds the target: " + why);
}

std::vector<std::byte> ElfFile::read(std::uint64_t offset, std::uint64_t size_bytes) const {
  if (offset > size_ || size_bytes > size_ - offset) refuse("it is cut short");
  std::vector<std::byte> bytes(size_bytes);
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got =
        ::pread(file_.get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) refuse("it cannot be read");
    done += static_cast<std::size_t>(got);
  }
  return bytes;
}

}  // namespace brood::inline v1::os
