// The journal of a server: what was made and changed, in a file, so that another server can go on where this one ended.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.hpp"
#include "brood/serialize.hpp"
#include "os/not_in_forks.hpp"

namespace brood::inline v1::manager {

/// An open file. Its lock ends with this process, as no child that it has forked shares it.
class LockedFile {
 public:
  LockedFile() = default;
  /// Sets errno if it cannot be opened; then it is none. Not locked yet.
  LockedFile(const std::string& path, int flags);
  LockedFile(LockedFile&&) noexcept = default;
  LockedFile& operator=(LockedFile&& other) noexcept;
  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(file_); }
  [[nodiscard]] int get() const noexcept { return file_.get(); }

 private:
  base::UniqueFd file_;
  std::unique_ptr<os::NotInForks> kept_from_forks_;
};

/// A file of records, each with its length and a checksum. What append() has returned from survives the death of this process; with
/// `sync`, that of the machine. A record that was being written at the end is cut off when the file is opened.
///
/// Threads: safe, but for read().
class Journal {
 public:
  struct Options {
    std::string path;
    bool sync = false;
    std::uint64_t spare_bytes = 0;  ///< of records that are out of date, before it is written anew
  };
  /// The first element of each record. Part of the format: never renumber.
  enum class Word : std::uint8_t {
    identity = 1,     ///< server, address, address for clients of the domain
    made = 2,         ///< object, type, word, [arguments]
    called = 3,       ///< object, method, [arguments]: is about to be done
    failed = 4,       ///< object: its last `called` threw, and has changed nothing
    published = 5,    ///< name, object
    unpublished = 6,  ///< name
    token = 7,        ///< object, token
    last_id = 8,      ///< number of the last object that was made
  };

  /// Makes it, or opens it, and keeps other servers out of it.
  /// Errors: OsError, PermissionDenied; AddressInUse (another server has it); TypeMismatch (no journal, or another version);
  ///         DecodeError (damaged in the middle).
  explicit Journal(Options options);
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  /// All records, from the first. Errors: OsError, DecodeError, and what `see` throws.
  void read(const std::function<void(Word word, Decoder& record)>& see) const;
  [[nodiscard]] bool empty() const noexcept { return size_ == kHeaderBytes; }

  /// `is_in_copy`: write() has told of the object already in the copy that is being made.
  /// Errors: NoSpace, OsError: then nothing was written. Once that cannot be made sure, all further ones throw.
  void append(const Encoder& record, bool is_in_copy);
  [[nodiscard]] static Encoder begin(Word word, std::size_t parts);

  /// There is much in it that is out of date: it should be written anew.
  [[nodiscard]] bool is_due() const noexcept { return size_.load() > limit_.load(); }
  /// From now on records go to the copy, too, if they say so. `number` of the copy: never 0.
  std::uint64_t begin_copy();
  [[nodiscard]] std::uint64_t copy_number() const noexcept { return copy_number_.load(); }
  /// A record for the copy alone.
  void write(const Encoder& record);
  /// The copy takes the place of the journal, or is given up if something went wrong with it.
  void finish_copy();
  /// Gives the copy up. Not due again before there is twice as much.
  void put_off();

 private:
  static constexpr std::uint64_t kHeaderBytes = 16;
  /// One record at `at`; empty if what is there was not written to its end. Errors: DecodeError if it was.
  [[nodiscard]] std::optional<std::vector<std::byte>> record_at(std::uint64_t at, std::uint64_t end) const;
  void open_and_lock();
  void cut_torn_tail();
  void drop_copy() noexcept;
  void write_at_end(const std::vector<std::byte>& bytes);

  Options options_;  ///< the path without symbolic links, once it is open: the file there will be replaced
  LockedFile file_;
  std::atomic<std::uint64_t> size_ = 0;
  std::atomic<std::uint64_t> limit_ = 0;

  std::mutex mutex_;
  bool is_broken_ = false;
  LockedFile copy_;
  std::uint64_t copy_size_ = 0;
  std::atomic<std::uint64_t> copy_number_ = 0;
};

}  // namespace brood::inline v1::manager
