// Object: what every public shared type holds — one attachment of this process to one segment.     (room: shm)
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "brood/handle.hpp"

namespace brood::inline v1::detail {

struct Attachment;  // lib/shm/segment.hpp

struct AttachmentCloser {
  /// Unmaps and, if this was the last user of an unnamed object, frees it.
  void operator()(Attachment* attachment) const noexcept;
};

/// Move-only. Closing never throws; a moved-from object answers every use with UsageError.
class Object {
 public:
  Object() = default;
  explicit Object(Attachment* attachment) noexcept;

  /// The kind's own data, behind the segment's header. Errors: UsageError if this object was moved from.
  [[nodiscard]] void* body() const {
    if (body_ == nullptr) [[unlikely]]
      throw_moved_from();
    return body_;
  }
  [[nodiscard]] Handle handle() const;
  [[nodiscard]] std::uint64_t id() const noexcept { return id_; }
  /// Only of an object that was not moved from.
  [[nodiscard]] const Attachment& attachment() const noexcept { return *attachment_; }
  explicit operator bool() const noexcept { return body_ != nullptr; }

  Object(Object&& other) noexcept
      : attachment_(std::move(other.attachment_)),
        body_(std::exchange(other.body_, nullptr)),
        id_(std::exchange(other.id_, 0)) {}
  Object& operator=(Object&& other) noexcept {
    attachment_ = std::move(other.attachment_);
    body_ = std::exchange(other.body_, nullptr);
    id_ = std::exchange(other.id_, 0);
    return *this;
  }
  ~Object() = default;

  [[noreturn]] static void throw_moved_from();

 private:
  std::unique_ptr<Attachment, AttachmentCloser> attachment_;
  void* body_ = nullptr;
  std::uint64_t id_ = 0;
};

}  // namespace brood::inline v1::detail
