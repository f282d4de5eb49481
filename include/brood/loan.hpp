// Loan and View: messages that are written and read where they lie.                               (room: channel)
//
// Complete example: examples/12_zero_copy.cpp
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "brood/deadline.hpp"
#include "brood/detail/chunk.hpp"
#include "brood/detail/copy_bytes.hpp"
#include "brood/detail/in_place.hpp"
#include "brood/error.hpp"

namespace brood::inline v1 {

namespace detail {

/// Of every message in a chunk: a line of the processor's caches.
inline constexpr std::size_t kChunkAlignment = 64;

/// What Loan and View of one T share: a value, or a run of elements. `E` is const in a View.
template <class T, class E>
class Elements {
 public:
  // One plain value.
  [[nodiscard]] E& operator*() const noexcept requires kIsOne<T> { return *data_; }
  [[nodiscard]] E* operator->() const noexcept requires kIsOne<T> { return data_; }
  // A run of elements.
  [[nodiscard]] E& operator[](std::size_t index) const noexcept requires kIsRun<T> { return data_[index]; }
  [[nodiscard]] E* begin() const noexcept requires kIsRun<T> { return data_; }
  [[nodiscard]] E* end() const noexcept requires kIsRun<T> { return data_ + size_; }

  [[nodiscard]] E* data() const noexcept { return data_; }
  /// Of a plain value: 1.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::span<E> span() const noexcept { return {data_, size_}; }

 protected:
  Elements() = default;
  Elements(E* data, std::size_t size) noexcept : data_(data), size_(size) {}
  Elements(Elements&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Elements& operator=(Elements&& other) noexcept {
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }
  ~Elements() = default;

  E* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace detail

/// Memory of a channel in which the next message is written: a T of plain data (`*loan`, `loan->field`), or the elements
/// of a std::vector or std::string (`loan[i]`, `loan.span()`). Put or send it by moving it in; without that it goes back.
///
/// What is in it at first is whatever an earlier message left there; bytes that nobody writes, padding too, travel as
/// they are. Aligned to 64 bytes.
///
/// Threads:  one at a time.   Processes: the one that got it; the copy that a forked child has is worth nothing.
/// Crash:    killed with a loan: its memory goes back to the channel, when the next one wants memory.
/// Source:   reserve and commit of iceoryx and eCAL.
template <class T>
class Loan : public detail::Elements<T, typename detail::InPlace<T>::Element> {
  using How = detail::InPlace<T>;
  using Element = typename How::Element;
  using Base = detail::Elements<T, Element>;

 public:
  Loan(Loan&&) noexcept = default;
  Loan& operator=(Loan&&) noexcept = default;

  /// False once it was put, sent or moved away.
  explicit operator bool() const noexcept { return static_cast<bool>(chunk_); }

  /// Only the first `size` elements are the message. Errors: UsageError if there are fewer.
  void shrink(std::size_t size) requires detail::kIsRun<T> {
    if (size > this->size_)
      throw UsageError("a loan of " + std::to_string(this->size_) + " elements cannot get " + std::to_string(size) +
                       "; take a larger one");
    this->size_ = size;
    How::write_header(chunk_.data() + kSkip, size);
  }

  // For channels.
  /// Bytes of a chunk for so many elements. Errors: UsageError (a run of 4 GiB or more).
  [[nodiscard]] static std::size_t bytes_for(std::size_t size) {
    if (size > How::kMostElements)
      throw UsageError("a message in place has less than 4 GiB, " + std::to_string(size) + " elements of " +
                       std::to_string(sizeof(Element)) + " bytes are more");
    return kBefore + size * sizeof(Element);
  }
  Loan(detail::Chunk chunk, std::size_t size) noexcept
      : Base(reinterpret_cast<Element*>(chunk.data() + kBefore), size), chunk_(std::move(chunk)) {
    How::write_header(chunk_.data() + kSkip, size);
  }
  /// Hands the message to `put(chunk, skip, bytes)`. Errors: UsageError if there is none any more.
  template <class Put>
  bool put_by(Put put) {
    if (!chunk_) throw UsageError("this loan was put already, or moved away; take another one");
    if (!put(chunk_, kSkip, How::kHeader + this->size_ * sizeof(Element))) return false;
    *this = Loan();
    return true;
  }

 private:
  Loan() = default;
  static_assert(alignof(Element) <= detail::kChunkAlignment, "brood: elements of larger alignment cannot be lent");
  /// The elements begin on a boundary, the header right before them.
  static constexpr std::size_t kBefore = How::kHeader == 0 ? 0 : detail::kChunkAlignment;
  static constexpr std::size_t kSkip = kBefore - How::kHeader;

  detail::Chunk chunk_;
};

/// A message that was taken from a channel, read where it lies: a T of plain data, or the elements of a std::vector or
/// std::string. However it was put; a small one that was put by value was copied once. Its memory goes back to the channel
/// with the view.
///
/// Threads:  any number may read.   Crash: killed with a view: the message is gone, as after get(); its memory goes
/// back to the channel when the next one wants memory.
template <class T>
class View : public detail::Elements<T, const typename detail::InPlace<T>::Element> {
  using How = detail::InPlace<T>;
  using Element = typename How::Element;
  using Base = detail::Elements<T, const Element>;

 public:
  View(View&&) noexcept = default;
  View& operator=(View&&) noexcept = default;

  /// False if the message had to be copied.
  [[nodiscard]] bool is_in_place() const noexcept { return static_cast<bool>(chunk_); }

  // For channels.
  /// A message, and the chunk that it lies in; without one it is copied. Errors: DecodeError.
  View(std::span<const std::byte> message, detail::Chunk chunk) {
    const std::span<const std::byte> bytes = How::elements_of(message);
    this->size_ = bytes.size() / sizeof(Element);
    if (chunk && reinterpret_cast<std::uintptr_t>(bytes.data()) % alignof(Element) == 0) {
      chunk_ = std::move(chunk);
      this->data_ = reinterpret_cast<const Element*>(bytes.data());
      return;
    }
    copy_.reset(static_cast<std::byte*>(::operator new (bytes.size(), std::align_val_t{alignof(Element)})));
    detail::copy_bytes(copy_.get(), bytes.data(), bytes.size());
    this->data_ = reinterpret_cast<const Element*>(copy_.get());
  }

 private:
  struct Free {
    void operator()(std::byte* bytes) const noexcept { ::operator delete (bytes, std::align_val_t{alignof(Element)}); }
  };
  detail::Chunk chunk_;
  std::unique_ptr<std::byte, Free> copy_;
};

namespace detail {

/// Base of a channel whose core() lends memory: loan() in its forms. `Channel` has loan_core().
template <class Channel, class T>
class LoanForms {
 public:
  /// Memory to write the next message in; sleep while there is none. For plain data; the attempts say if there was none.
  /// Errors: as of put() or send().
  [[nodiscard]] Loan<T> loan() requires kIsOne<T> { return must(loan_before(1, Deadline::never())); }
  [[nodiscard]] std::optional<Loan<T>> try_loan() requires kIsOne<T> { return loan_before(1, Deadline::now()); }
  template <class Rep, class Period>
  requires kIsOne<T>
  [[nodiscard]] std::optional<Loan<T>> try_loan_for(std::chrono::duration<Rep, Period> timeout) {
    return loan_before(1, Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  requires kIsOne<T>
  [[nodiscard]] std::optional<Loan<T>> try_loan_until(std::chrono::time_point<Clock, Duration> when) {
    return attempt_until(when, [&](Deadline deadline) { return loan_before(1, deadline); });
  }
  /// The same for a std::vector or std::string of `size` elements. Errors: also UsageError (4 GiB or more).
  [[nodiscard]] Loan<T> loan(std::size_t size) requires kIsRun<T> { return must(loan_before(size, Deadline::never())); }
  [[nodiscard]] std::optional<Loan<T>> try_loan(std::size_t size) requires kIsRun<T> {
    return loan_before(size, Deadline::now());
  }
  template <class Rep, class Period>
  requires kIsRun<T>
  [[nodiscard]] std::optional<Loan<T>> try_loan_for(std::size_t size, std::chrono::duration<Rep, Period> timeout) {
    return loan_before(size, Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  requires kIsRun<T>
  [[nodiscard]] std::optional<Loan<T>> try_loan_until(std::size_t size, std::chrono::time_point<Clock, Duration> when) {
    return attempt_until(when, [&](Deadline deadline) { return loan_before(size, deadline); });
  }
  [[nodiscard]] std::optional<Loan<T>> loan_before(std::size_t size, Deadline deadline) {
    Chunk chunk = static_cast<Channel*>(this)->loan_core().allocate(Loan<T>::bytes_for(size), deadline);
    if (!chunk) return std::nullopt;
    return Loan<T>(std::move(chunk), size);
  }

 protected:
  ~LoanForms() = default;
  LoanForms() = default;
  LoanForms(LoanForms&&) noexcept = default;
  LoanForms& operator=(LoanForms&&) noexcept = default;

 private:
  [[nodiscard]] Loan<T> must(std::optional<Loan<T>> loan) {
    if (!loan) static_cast<Channel*>(this)->loan_core().refused_loan();
    return *std::move(loan);
  }
};

}  // namespace detail

}  // namespace brood::inline v1
