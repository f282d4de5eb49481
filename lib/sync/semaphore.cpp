#include "brood/semaphore.hpp"

#include <ostream>

#include "brood/detail/wait_source.hpp"
#include "brood/error.hpp"
#include "registry/objects.hpp"
#include "shm/segment.hpp"
#include "sync/semaphore_body.hpp"

namespace brood::inline v1 {
namespace {

static_assert(sizeof(sync::SemaphoreBody) == shm::smallest_body(Kind::semaphore) &&
              sizeof(sync::SemaphoreBody) == shm::smallest_body(Kind::bounded_semaphore));

sync::SemaphoreCore core_of(const detail::Object& object, Kind kind) {
  return {*static_cast<sync::SemaphoreBody*>(object.body()), kind, object.id()};
}

shm::CreateRequest request(Kind kind, std::string_view name) {
  return {.kind = kind,
          .name = name,
          .body_bytes = sizeof(sync::SemaphoreBody),
          .reserved_bytes = sync::kSemaphoreReserved};
}

auto initialiser(Kind kind, std::int64_t value) {
  if (value < 0 || value > Semaphore::kMaxValue) {
    throw UsageError("a semaphore's value must be between 0 and 2147483647, got " + std::to_string(value));
  }
  return [kind, value](void* memory) {
    auto* body = static_cast<sync::SemaphoreBody*>(memory);
    body->word.store(static_cast<std::uint64_t>(value));
    body->bound = kind == Kind::bounded_semaphore ? static_cast<std::uint32_t>(value) : sync::kMaxCount;
  };
}

detail::Object make(Kind kind, std::string_view name, std::int64_t value) {
  return registry::create(request(kind, name), initialiser(kind, value));
}
detail::Object open_or_make(Kind kind, std::string_view name, std::int64_t value) {
  return registry::open_or_create(request(kind, name), initialiser(kind, value));
}

}  // namespace

namespace {

/// In a wait for many: is there a unit?
class SemaphoreSource final : public detail::WaitSource {
 public:
  explicit SemaphoreSource(const detail::Object& semaphore)
      : core_(core_of(semaphore, semaphore.handle().kind())), handle_(semaphore.handle()) {}
  [[nodiscard]] bool look() override { return core_.value() > 0; }
  [[nodiscard]] bool watch(Bell& bell) override { return core_.watch(bell); }
  void pass_on() noexcept override { core_.pass_wake_on(); }
  void look_round() noexcept override { core_.look_round(); }
  [[nodiscard]] Handle object() const override { return handle_; }

 private:
  sync::SemaphoreCore core_;
  Handle handle_;
};

}  // namespace

detail::WaitSourcePointer detail::semaphore_source(const Object& semaphore) {
  return std::make_unique<SemaphoreSource>(semaphore);
}

Semaphore::Semaphore(std::int64_t value) : SharedObject(make(Kind::semaphore, {}, value)) {}
Semaphore Semaphore::create(std::string_view name, std::int64_t value) {
  return Semaphore(make(Kind::semaphore, shm::given_name(name), value));
}
Semaphore Semaphore::open_or_create(std::string_view name, std::int64_t value) {
  return Semaphore(open_or_make(Kind::semaphore, name, value));
}

bool Semaphore::acquire_before(Deadline deadline) {
  return core_of(object_, Kind::semaphore).acquire(sync::Account::none, deadline);
}

void Semaphore::release() {
  if (core_of(object_, Kind::semaphore).release(sync::Account::none, false) != sync::SemaphoreCore::Released::yes) {
    throw ReleasedTooOften(handle().str() + ": release() at the ceiling of 2147483647 units");
  }
}

std::int64_t Semaphore::get_value() const { return core_of(object_, Kind::semaphore).value(); }

Permit Semaphore::permit() { return std::move(*permit_before(Deadline::never())); }
std::optional<Permit> Semaphore::try_permit() { return permit_before(Deadline::now()); }
std::optional<Permit> Semaphore::permit_before(Deadline deadline) {
  if (!core_of(object_, Kind::semaphore).acquire(sync::Account::owned, deadline)) return std::nullopt;
  return Permit(*this, Permit::Taken{});
}

std::ostream& operator<<(std::ostream& out, const Semaphore& semaphore) {
  return out << "<Semaphore " << semaphore.handle() << " value=" << semaphore.get_value() << '>';
}

Permit::Permit(Semaphore& semaphore) : Permit(semaphore.permit()) {}

Permit& Permit::operator=(Permit&& other) noexcept {
  if (this != &other) {
    Permit gone(std::move(*this));
    semaphore_ = other.semaphore_;
    other.semaphore_ = nullptr;
  }
  return *this;
}

Permit::~Permit() {
  // In a forked child the unit still belongs to the parent: its own account holds nothing, and nothing is given back.
  if (semaphore_ != nullptr) (void)core_of(semaphore_->object_, Kind::semaphore).release(sync::Account::owned, false);
}

void Permit::release() {
  if (semaphore_ == nullptr) throw ReleasedTooOften("a permit was released twice, or after it was moved from");
  const auto released = core_of(semaphore_->object_, Kind::semaphore).release(sync::Account::owned, false);
  if (released != sync::SemaphoreCore::Released::yes) {
    throw ReleasedTooOften(
        semaphore_->handle().str() +
        ": this process holds no permit of it (a permit of the parent, released in a forked child?)");
  }
  semaphore_ = nullptr;
}

BoundedSemaphore::BoundedSemaphore(std::int64_t value) : SharedObject(make(Kind::bounded_semaphore, {}, value)) {}
BoundedSemaphore BoundedSemaphore::create(std::string_view name, std::int64_t value) {
  return BoundedSemaphore(make(Kind::bounded_semaphore, shm::given_name(name), value));
}
BoundedSemaphore BoundedSemaphore::open_or_create(std::string_view name, std::int64_t value) {
  return BoundedSemaphore(open_or_make(Kind::bounded_semaphore, name, value));
}

bool BoundedSemaphore::acquire_before(Deadline deadline) {
  return core_of(object_, Kind::bounded_semaphore).acquire(sync::Account::owned, deadline);
}

void BoundedSemaphore::release() {
  if (core_of(object_, Kind::bounded_semaphore).release(sync::Account::owned, true) !=
      sync::SemaphoreCore::Released::yes) {
    throw ReleasedTooOften(handle().str() + ": release() of a bounded semaphore whose units are all in");
  }
}

std::int64_t BoundedSemaphore::get_value() const { return core_of(object_, Kind::bounded_semaphore).value(); }

std::ostream& operator<<(std::ostream& out, const BoundedSemaphore& semaphore) {
  return out << "<BoundedSemaphore " << semaphore.handle() << " value=" << semaphore.get_value() << '>';
}

}  // namespace brood::inline v1
