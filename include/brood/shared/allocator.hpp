// Memory of a shared container, as an allocator for the containers in it.                          (room: shared)
#pragma once

#include <boost/container/scoped_allocator.hpp>
#include <boost/interprocess/offset_ptr.hpp>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>
#include <type_traits>

#include "brood/detail/container_core.hpp"

namespace brood::inline v1::shared {

/// Takes memory from one shared container. Pointers are offsets (Boost.Interprocess), so that every process may have the
/// memory at another address.
///
/// One that is made without arguments belongs to the container that the calling thread writes to. So strings and
/// containers of brood::shared can be made as usual while a guard of write() is there, and structs of them need no
/// constructors.
///
/// Errors: making one throws UsageError outside of a transaction, and while the thread writes to several containers.
///           What is moved or swapped from one shared container into another would keep the memory of the first: copy it.
///           (Elements of vectors, maps … that are strings or containers themselves are copied then by themselves.)
/// Lifetime: whatever has such an allocator must be gone, or be in the container, before the guard ends.
template <class T>
class allocator {  // NOLINT(readability-identifier-naming): as std spells it
 public:
  using value_type = T;
  using pointer = boost::interprocess::offset_ptr<T>;
  using const_pointer = boost::interprocess::offset_ptr<const T>;
  using void_pointer = boost::interprocess::offset_ptr<void>;
  using const_void_pointer = boost::interprocess::offset_ptr<const void>;
  using reference = std::add_lvalue_reference_t<T>;
  using const_reference = std::add_lvalue_reference_t<const T>;
  using size_type = std::size_t;
  using difference_type = std::ptrdiff_t;
  using is_always_equal = std::false_type;
  using propagate_on_container_copy_assignment = std::false_type;
  using propagate_on_container_move_assignment = std::false_type;
  using propagate_on_container_swap = std::false_type;
  template <class U>
  struct rebind {
    using other = allocator<U>;
  };

  allocator() : heap_(static_cast<std::byte*>(detail::current_heap())) {}
  /// See Container::WriteGuard::memory().
  [[nodiscard]] static allocator of(void* heap) noexcept { return allocator(heap); }
  allocator(const allocator& other) noexcept : heap_(other.heap_) {}
  template <class U>
  allocator(const allocator<U>& other) noexcept : heap_(static_cast<std::byte*>(other.heap())) {}  // NOLINT
  allocator& operator=(const allocator& other) noexcept {
    heap_ = other.heap_;
    return *this;
  }
  ~allocator() = default;

  [[nodiscard]] pointer allocate(size_type count) {
    static_assert(alignof(T) <= 16, "brood: elements of a shared container may have an alignment of at most 16");
    if (count > max_size()) throw std::bad_array_new_length();
    return pointer(static_cast<T*>(detail::allocate_in(heap(), count * sizeof(T))));
  }
  void deallocate(const pointer& piece, size_type /*count*/) noexcept {
    detail::free_in(heap(), const_cast<std::remove_const_t<T>*>(boost::interprocess::ipcdetail::to_raw_pointer(piece)));
  }
  [[nodiscard]] size_type max_size() const noexcept {
    return static_cast<size_type>(std::numeric_limits<difference_type>::max()) / sizeof(T);
  }
  /// A copy belongs where it is made, which need not be where its original lies.
  [[nodiscard]] allocator select_on_container_copy_construction() const { return {}; }

  [[nodiscard]] void* heap() const noexcept { return heap_.get(); }
  template <class U>
  friend bool operator==(const allocator& a, const allocator<U>& b) noexcept {
    return a.heap() == b.heap();
  }

 private:
  explicit allocator(void* heap) noexcept : heap_(static_cast<std::byte*>(heap)) {}
  boost::interprocess::offset_ptr<std::byte> heap_;
};

/// Hands itself on to elements that take an allocator: a vector of strings makes its strings in its own memory.
template <class T>
using scoped = boost::container::scoped_allocator_adaptor<allocator<T>>;

}  // namespace brood::inline v1::shared
