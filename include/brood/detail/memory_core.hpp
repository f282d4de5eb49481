// MemoryCore: raw bytes, mapped until they are closed; counts who looks at them.                   (room: shared)
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "brood/detail/codec_raw.hpp"
#include "brood/detail/object.hpp"
#include "brood/handle.hpp"

namespace brood::inline v1::detail {

/// One mapping of one memory; lives on the heap of the process, so that views stay valid when its owner is moved.
class MemoryCore {
 public:
  /// What to make.
  struct Plan {
    bool named = false;
    std::string_view name = {};
    bool open_existing = false;
    std::int64_t size_bytes = 0;
    bool huge_pages = false;
  };
  [[nodiscard]] static std::shared_ptr<MemoryCore> make(const Plan& plan);
  [[nodiscard]] static std::shared_ptr<MemoryCore> open(const Handle& handle, bool read_only);
  [[nodiscard]] static std::shared_ptr<MemoryCore> open_named(std::string_view name, bool read_only);

  MemoryCore(Object object, bool read_only);

  [[nodiscard]] std::span<std::byte> bytes() const {
    if (users_.load(std::memory_order_acquire) < 0) [[unlikely]]
      throw_closed();
    return {data_, size_};
  }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] const Handle& handle() const noexcept { return handle_; }
  [[nodiscard]] bool is_closed() const noexcept { return users_.load(std::memory_order_acquire) < 0; }
  [[nodiscard]] std::size_t huge_bytes() const;

  void begin_view();
  void end_view() noexcept { users_.fetch_sub(1, std::memory_order_release); }
  /// Errors: UsageError while there are views; nothing has changed then.
  void close();

  /// Checks that a run of Ts fits the bytes and where they lie. Errors: UsageError.
  static std::size_t elements_in(std::size_t size_bytes, std::size_t offset, std::size_t element_bytes,
                                 std::size_t alignment, std::size_t count);
  void print(std::ostream& out, std::string_view word) const;

 private:
  [[noreturn]] void throw_closed() const;
  static constexpr std::int64_t kClosed = -1;
  Object object_;
  std::byte* data_;
  std::size_t size_;
  Handle handle_;
  std::atomic<std::int64_t> users_{0};  ///< views, or kClosed
};

[[noreturn]] void throw_memory_moved_from();
bool remove_memory(std::string_view name);

/// "As many as fit."
inline constexpr std::size_t kAllThatFit = static_cast<std::size_t>(-1);

/// The bytes from `offset` on as Ts. Errors: UsageError.
template <class T, class B>
[[nodiscard]] auto bytes_as(std::span<B> bytes, std::size_t offset, std::size_t count) {
  static_assert(raw_layout<T>, "brood: shared memory is seen as plain data without pointers");
  static_assert(alignof(T) <= 64, "brood: shared memory is aligned to 64 bytes");
  using Element = std::conditional_t<std::is_const_v<B>, const T, T>;
  const std::size_t elements = MemoryCore::elements_in(bytes.size(), offset, sizeof(T), alignof(T), count);
  return std::span<Element>(reinterpret_cast<Element*>(bytes.data() + offset), elements);
}

/// What SharedMemory and ReadOnlyMemory share; `B` is std::byte, or const std::byte.
template <class B>
class MemoryFace {
 public:
  /// A look at the bytes that keeps them mapped: while there is one, close() is refused, and when the object goes first,
  /// the mapping stays for the view. Move-only.
  class View {
   public:
    View(View&&) noexcept = default;
    View& operator=(View&& other) noexcept {
      let_go();
      core_ = std::move(other.core_);
      return *this;
    }
    ~View() { let_go(); }
    /// Errors: UsageError if it was moved from.
    [[nodiscard]] std::span<B> bytes() const {
      if (!core_) throw_memory_moved_from();
      return core_->bytes();
    }
    [[nodiscard]] std::size_t size() const { return bytes().size(); }
    template <class T>
    [[nodiscard]] auto as(std::size_t offset = 0, std::size_t count = kAllThatFit) const {
      return bytes_as<T>(bytes(), offset, count);
    }

   private:
    friend class MemoryFace;
    explicit View(std::shared_ptr<MemoryCore> core) : core_(std::move(core)) { core_->begin_view(); }
    void let_go() noexcept {
      if (core_) core_->end_view();
      core_.reset();
    }
    std::shared_ptr<MemoryCore> core_;
  };

  /// All bytes where they lie, valid until close(). Aligned to 64 bytes. Errors: UsageError once it is closed.
  [[nodiscard]] std::span<B> bytes() const { return core().bytes(); }
  /// The bytes from `offset` on as plain data: `memory.as<double>()` is a span of as many as fit, `as<Header>(0, 1)[0]` the
  /// first. Errors: UsageError (they do not fit, or `offset` is not aligned for T).
  template <class T>
  [[nodiscard]] auto as(std::size_t offset = 0, std::size_t count = kAllThatFit) const {
    return bytes_as<T>(bytes(), offset, count);
  }
  /// The same bytes, counted. Errors: UsageError once it is closed.
  [[nodiscard]] View view() const { return View(shared_core()); }

  /// Bytes, exactly as many as were asked for. Also once it is closed.
  [[nodiscard]] std::size_t size() const { return core().size(); }
  /// Empty if it has none. Also once it is closed.
  [[nodiscard]] const std::string& name() const { return core().handle().name(); }
  /// The text by which any process of the domain reopens it. Also once it is closed; but what has no name and no user is
  /// gone.
  [[nodiscard]] Handle handle() const { return core().handle(); }

  /// Unmaps it here; others keep it. All or nothing: refused while there are views. Once more has no effect.
  /// Errors: UsageError if there are views; it is as before then.
  void close() { core().close(); }
  [[nodiscard]] bool is_closed() const { return core().is_closed(); }
  /// Bytes that this process reaches by huge pages now, as the kernel says (/proc/self/smaps); 0 if it grants none.
  [[nodiscard]] std::size_t huge_bytes() const { return core().huge_bytes(); }

 protected:
  explicit MemoryFace(std::shared_ptr<MemoryCore> core) noexcept : core_(std::move(core)) {}
  MemoryFace(MemoryFace&&) noexcept = default;
  MemoryFace& operator=(MemoryFace&&) noexcept = default;
  ~MemoryFace() = default;
  [[nodiscard]] MemoryCore& core() const { return *shared_core(); }

 private:
  [[nodiscard]] const std::shared_ptr<MemoryCore>& shared_core() const {
    if (!core_) [[unlikely]]
      throw_memory_moved_from();
    return core_;
  }
  std::shared_ptr<MemoryCore> core_;
};

}  // namespace brood::inline v1::detail
