// ContainerCore: memory that is changed by transactions; Container<T> adds the type.               (room: shared)
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

#include "brood/deadline.hpp"
#include "brood/detail/type_id.hpp"
#include "brood/handle.hpp"

namespace brood::inline v1::shared {

struct ContainerOptions {
  /// Address space, and the most memory that the contents can take. What is not used yet takes none. As much again is
  /// taken for the journal, as far as it is used.
  std::size_t budget_bytes = std::size_t{64} << 20;
};

}  // namespace brood::inline v1::shared

namespace brood::inline v1::detail {

/// The container of one process; outlives the object while a guard does.
struct ContainerState;

/// What a guard holds. Move-only; ends by finish(), commit() or abandon(), or not at all.
class ContainerAccess {
 public:
  ContainerAccess() = default;
  ContainerAccess(ContainerAccess&& other) noexcept
      : state_(std::move(other.state_)),
        root_(std::exchange(other.root_, nullptr)),
        slot_(other.slot_),
        of_(other.of_) {}
  ContainerAccess& operator=(ContainerAccess&&) = delete;
  ~ContainerAccess() = default;

  explicit operator bool() const noexcept { return root_ != nullptr; }
  /// Errors: UsageError if the access has ended.
  [[nodiscard]] void* root() const {
    if (root_ == nullptr) [[unlikely]]
      throw_ended();
    return root_;
  }
  /// Of a write: what current_heap() would say if it were the only one. Errors: UsageError if the access has ended.
  [[nodiscard]] void* heap() const;
  /// The outermost one commits, or undoes the change.
  void finish_write(bool keep) noexcept;
  /// Undoes the change; inside of another access of this thread: of that one too, once it ends.
  void abandon() noexcept;
  void finish_read() noexcept;
  /// Errors: UsageError if a part of the transaction was abandoned: all of it is undone then.
  void commit();

 private:
  friend class ContainerCore;
  [[noreturn]] static void throw_ended();
  std::shared_ptr<ContainerState> state_;
  void* root_ = nullptr;
  std::uint32_t slot_ = 0;  ///< of a read
  std::uint32_t of_ = 0;    ///< the process whose access it is: a forked child's copy ends without effect
};

class ContainerCore {
 public:
  struct Type {
    PayloadType payload;
    std::size_t size_bytes;
    /// Makes one at `at`. Memory that it asks for comes out of the container.
    void (*make)(void* at);
  };
  enum class Writing : std::uint8_t {
    transaction,  ///< to a private copy
    in_place,
    recovery,  ///< a transaction that begins with what a dead in-place writer left
    renewal,   ///< a transaction that begins with a new container
  };

  [[nodiscard]] static ContainerCore create(const Type& type, const shared::ContainerOptions& options);
  [[nodiscard]] static ContainerCore create_named(std::string_view name, const Type& type,
                                                  const shared::ContainerOptions& options);
  [[nodiscard]] static ContainerCore open_or_create(std::string_view name, const Type& type,
                                                    const shared::ContainerOptions& options);
  [[nodiscard]] static ContainerCore open(const Handle& handle, const Type& type);
  [[nodiscard]] static ContainerCore open_named(std::string_view name, const Type& type);

  /// Empty if the deadline passed; of a recovery also if there is nothing to recover.
  [[nodiscard]] ContainerAccess begin_write(const Type& type, Writing how, Deadline deadline) const;
  [[nodiscard]] ContainerAccess begin_read(Deadline deadline) const;

  [[nodiscard]] bool locked() const;
  [[nodiscard]] Handle handle() const;
  [[nodiscard]] std::size_t budget_bytes() const;
  /// Memory that the contents have, free pieces between them included.
  [[nodiscard]] std::size_t reserved_bytes() const;

 private:
  friend class ContainerAccess;
  explicit ContainerCore(std::shared_ptr<ContainerState> state) noexcept : state_(std::move(state)) {}
  [[nodiscard]] ContainerState& state() const;
  std::shared_ptr<ContainerState> state_;
};

bool remove_container(std::string_view name);

// --- what the allocator asks for ---------------------------------------------------------------------------------------

/// The memory of the one container that this thread is writing to, or making.
/// Errors: UsageError if there is none, or several.
[[nodiscard]] void* current_heap();
/// Errors: NoSpace (budget, filesystem), UsageError outside of a transaction.
[[nodiscard]] void* allocate_in(void* heap, std::size_t size_bytes);
/// Outside of the transaction it came from: nothing happens.
void free_in(void* heap, void* piece) noexcept;

}  // namespace brood::inline v1::detail
