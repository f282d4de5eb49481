#include "manager/journal.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <thread>
#include <utility>

#include "brood/deadline.hpp"
#include "brood/error.hpp"

namespace brood::inline v1::manager {
namespace {

constexpr std::string_view kMagic = "brood journal 1\n";

/// In front of each record; little endian.
struct Head {
  std::uint64_t length = 0;
  std::uint32_t contents_sum = 0;
  std::uint32_t head_sum = 0;  ///< of what stands before
};
constexpr std::uint64_t kHeadBytes = sizeof(Head);

/// CRC-32 (ISO 3309, as of zlib), a byte at a time.
constexpr std::array<std::uint32_t, 256> crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value & 1) != 0 ? (value >> 1) ^ 0xedb88320U : value >> 1;
    table[i] = value;
  }
  return table;
}
constexpr std::array<std::uint32_t, 256> kCrcTable = crc_table();

std::uint32_t checksum(std::span<const std::byte> bytes) noexcept {
  std::uint32_t sum = ~0U;
  for (const std::byte it : bytes) sum = (sum >> 8) ^ kCrcTable[(sum ^ std::to_integer<std::uint32_t>(it)) & 0xff];
  return ~sum;
}
std::uint32_t checksum_of(const Head& head) noexcept {
  return checksum(std::as_bytes(std::span(&head, 1)).first(offsetof(Head, head_sum)));
}

std::vector<std::byte> framed(const Encoder& record) {
  const std::span<const std::byte> contents = record.bytes();
  Head head{.length = contents.size(), .contents_sum = checksum(contents)};
  head.head_sum = checksum_of(head);
  std::vector<std::byte> out(kHeadBytes + contents.size());
  std::memcpy(out.data(), &head, sizeof head);
  std::memcpy(out.data() + kHeadBytes, contents.data(), contents.size());
  return out;
}

/// False at the end of the file.
bool read_all(int file, std::byte* to, std::size_t size, std::uint64_t at, const std::string& path) {
  while (size > 0) {
    const ssize_t got = ::pread(file, to, size, static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw OsError(errno, "read the journal " + path);
    if (got == 0) return false;
    to += got;
    at += static_cast<std::uint64_t>(got);
    size -= static_cast<std::size_t>(got);
  }
  return true;
}

/// The number of what went wrong, or 0.
int write_all(int file, std::span<const std::byte> bytes, std::uint64_t at) noexcept {
  while (!bytes.empty()) {
    const ssize_t done = ::pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return errno;
    at += static_cast<std::uint64_t>(done);
    bytes = bytes.subspan(static_cast<std::size_t>(done));
  }
  return 0;
}

[[noreturn]] void throw_error(int error, const std::string& what) {
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) throw NoSpace(what, error);
  if (error == EACCES || error == EPERM) throw PermissionDenied(what);
  throw OsError(error, what);
}

bool is_file_at(int file, const std::string& path) {
  struct stat mine {};
  struct stat there {};
  return ::fstat(file, &mine) == 0 && ::stat(path.c_str(), &there) == 0 && mine.st_dev == there.st_dev &&
         mine.st_ino == there.st_ino;
}

/// A child that a server forked as it was killed has its lock until the child has run its first instructions. Nobody tells when a
/// flock is free, and waiting in flock() itself has no limit of time: a child that is stopped there would hang the next server.
/// (A POSIX record lock is not inherited by fork, but lost as soon as anything in the process closes that file.)
constexpr std::chrono::milliseconds kUntilForksHaveBegun{500};
constexpr std::chrono::milliseconds kLookAgain{5};

/// So that a new name is there after a power failure, too.
void sync_directory_of(const std::string& path) {
  const std::filesystem::path directory = std::filesystem::absolute(path).parent_path();
  const base::UniqueFd opened(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!opened || ::fsync(opened.get()) != 0) throw OsError(errno, "sync the directory of the journal " + path);
}

}  // namespace

LockedFile::LockedFile(const std::string& path, int flags) {
  const os::NotInForks::Pause pause = os::NotInForks::pause();
  file_.reset(::open(path.c_str(), flags | O_CLOEXEC, 0600));
  if (file_) kept_from_forks_ = std::make_unique<os::NotInForks>(file_.get(), pause);
}
LockedFile& LockedFile::operator=(LockedFile&& other) noexcept {
  kept_from_forks_.reset();  // before the descriptor is closed
  file_ = std::move(other.file_);
  kept_from_forks_ = std::move(other.kept_from_forks_);
  return *this;
}

Journal::Journal(Options options) : options_(std::move(options)) {
  open_and_lock();
  cut_torn_tail();
  limit_ = std::max(options_.spare_bytes, 2 * size_.load());
}

Journal::~Journal() {
  const std::lock_guard lock(mutex_);
  drop_copy();
}

void Journal::open_and_lock() {
  const Deadline patience = Deadline::after(kUntilForksHaveBegun);
  for (;;) {
    file_ = LockedFile(options_.path, O_RDWR | O_CREAT);
    if (!file_) throw_error(errno, "open the journal " + options_.path);
    std::error_code unknown;
    const auto real = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(file_.get()), unknown);
    if (!unknown && is_file_at(file_.get(), real)) options_.path = real;
    if (::flock(file_.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK) throw OsError(errno, "lock the journal " + options_.path);
      if (patience.passed()) throw AddressInUse("the journal " + options_.path + " is that of another server");
      std::this_thread::sleep_for(kLookAgain);
      continue;
    }
    // Between open and lock its server may have put a copy in its place.
    if (is_file_at(file_.get(), options_.path)) return;
  }
}

std::optional<std::vector<std::byte>> Journal::record_at(std::uint64_t at, std::uint64_t end) const {
  const auto damaged = [&] {
    return DecodeError("the journal " + options_.path + " is damaged at byte " + std::to_string(at) +
                       ", and goes on behind that; nothing was changed in it");
  };
  if (end - at < kHeadBytes) return std::nullopt;
  Head head;
  if (!read_all(file_.get(), reinterpret_cast<std::byte*>(&head), sizeof head, at, options_.path)) return std::nullopt;
  if (head.head_sum != checksum_of(head)) {
    // After a failure of the power a file may have grown without what was written there.
    if (head.length == 0 && head.contents_sum == 0 && head.head_sum == 0) return std::nullopt;
    throw damaged();
  }
  if (head.length > end - at - kHeadBytes) return std::nullopt;
  std::vector<std::byte> contents(head.length);
  if (!read_all(file_.get(), contents.data(), contents.size(), at + kHeadBytes, options_.path)) return std::nullopt;
  if (checksum(contents) == head.contents_sum) return contents;
  // What was being written when the server died is the last thing there.
  if (at + kHeadBytes + head.length < end) throw damaged();
  return std::nullopt;
}

void Journal::cut_torn_tail() {
  struct stat found {};
  if (::fstat(file_.get(), &found) != 0) throw OsError(errno, "look at the journal " + options_.path);
  const auto end = static_cast<std::uint64_t>(found.st_size);
  std::string magic(std::min<std::uint64_t>(end, kHeaderBytes), '\0');
  (void)read_all(file_.get(), reinterpret_cast<std::byte*>(magic.data()), magic.size(), 0, options_.path);
  if (!kMagic.starts_with(magic))
    throw TypeMismatch("the file " + options_.path + " is no journal of a manager, or one of another version");
  if (magic.size() < kHeaderBytes) {
    if (const int error = write_all(file_.get(), std::as_bytes(std::span(kMagic)), 0); error != 0)
      throw_error(error, "begin the journal " + options_.path);
    if (options_.sync) sync_directory_of(options_.path);
    size_ = kHeaderBytes;
    return;
  }
  std::uint64_t at = kHeaderBytes;
  while (const auto record = record_at(at, end)) at += kHeadBytes + record->size();
  if (at != end) {
    if (::ftruncate(file_.get(), static_cast<off_t>(at)) != 0)
      throw OsError(errno, "cut off the torn end of the journal " + options_.path);
  }
  size_ = at;
}

void Journal::read(const std::function<void(Word word, Decoder& record)>& see) const {
  const std::uint64_t end = size_;
  for (std::uint64_t at = kHeaderBytes; at < end;) {
    const auto record = record_at(at, end);
    if (!record) throw DecodeError("the journal " + options_.path + " was changed by somebody else");
    Decoder in(*record);
    (void)in.array_header();
    const auto word = static_cast<Word>(in.integer<std::uint8_t>());
    see(word, in);
    at += kHeadBytes + record->size();
  }
}

Encoder Journal::begin(Word word, std::size_t parts) {
  Encoder out;
  out.array_header(parts + 1);
  out.uint(static_cast<std::uint64_t>(word));
  return out;
}

void Journal::append(const Encoder& record, bool is_in_copy) {
  const std::vector<std::byte> bytes = framed(record);
  const std::lock_guard lock(mutex_);
  write_at_end(bytes);
  if (!copy_ || !is_in_copy) return;
  if (write_all(copy_.get(), bytes, copy_size_) != 0) return drop_copy();
  copy_size_ += bytes.size();
}

void Journal::write_at_end(const std::vector<std::byte>& bytes) {
  if (is_broken_) throw OsError(EIO, "the journal " + options_.path + " could not be written before");
  if (const int error = write_all(file_.get(), bytes, size_); error != 0) {
    // Behind half a record nothing would be found again.
    is_broken_ = ::ftruncate(file_.get(), static_cast<off_t>(size_.load())) != 0;
    throw_error(error, "write to the journal " + options_.path);
  }
  if (options_.sync && ::fdatasync(file_.get()) != 0) {
    is_broken_ = true;  // nobody knows what is on the disk now
    throw OsError(errno, "sync the journal " + options_.path);
  }
  size_ += bytes.size();
}

std::uint64_t Journal::begin_copy() {
  const std::lock_guard lock(mutex_);
  drop_copy();
  const std::string path = options_.path + ".new";
  LockedFile copy(path, O_RDWR | O_CREAT | O_TRUNC);
  if (!copy) throw_error(errno, "open the journal " + path);
  if (::flock(copy.get(), LOCK_EX | LOCK_NB) != 0) throw OsError(errno, "lock the journal " + path);
  if (const int error = write_all(copy.get(), std::as_bytes(std::span(kMagic)), 0); error != 0)
    throw_error(error, "begin the journal " + path);
  copy_ = std::move(copy);
  copy_size_ = kHeaderBytes;
  return ++copy_number_;
}

void Journal::write(const Encoder& record) {
  const std::vector<std::byte> bytes = framed(record);
  const std::lock_guard lock(mutex_);
  if (!copy_) return;
  if (write_all(copy_.get(), bytes, copy_size_) != 0) return drop_copy();
  copy_size_ += bytes.size();
}

void Journal::finish_copy() {
  const std::lock_guard lock(mutex_);
  const std::string path = options_.path + ".new";
  // Always synced: what it replaces may have been on the disk for long.
  const bool is_whole =
      copy_ && !is_broken_ && ::fdatasync(copy_.get()) == 0 && ::rename(path.c_str(), options_.path.c_str()) == 0;
  if (!is_whole) {
    drop_copy();
    limit_ = 2 * size_.load();
    return;
  }
  file_ = std::exchange(copy_, LockedFile());
  size_ = copy_size_;
  limit_ = std::max(size_ + options_.spare_bytes, 2 * size_.load());
  if (options_.sync) sync_directory_of(options_.path);
}

void Journal::put_off() {
  const std::lock_guard lock(mutex_);
  drop_copy();
  limit_ = 2 * size_.load();
}

void Journal::drop_copy() noexcept {
  if (!copy_) return;
  copy_ = LockedFile();
  (void)::unlink((options_.path + ".new").c_str());
}

}  // namespace brood::inline v1::manager
