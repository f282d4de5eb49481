// What all shared types have in common: handles, names, moving, wrong kinds.
#include <fcntl.h>
#include <unistd.h>

#include <concepts>
#include <type_traits>

#include "brood/barrier.hpp"
#include "brood/condition.hpp"
#include "brood/domain.hpp"
#include "brood/event.hpp"
#include "brood/lock.hpp"
#include "brood/queue.hpp"
#include "brood/rlock.hpp"
#include "brood/semaphore.hpp"
#include "brood/value.hpp"
#include "support/inspect.hpp"
#include "sync/ladder.hpp"

namespace ladder {
namespace {

/// How each type is made, and one use of it that is no mere question.
template <class T>
struct Made {
  static T fresh() { return T(); }
  static T named(std::string_view name) { return T::create(name); }
  static T either(std::string_view name) { return T::open_or_create(name); }
};
template <>
struct Made<brood::Barrier> {
  static brood::Barrier fresh() { return brood::Barrier(1); }
  static brood::Barrier named(std::string_view name) { return brood::Barrier::create(name, 1); }
  static brood::Barrier either(std::string_view name) { return brood::Barrier::open_or_create(name, 1); }
};

void use(brood::Lock& lock) {
  lock.lock();
  lock.unlock();
}
void use(brood::RLock& lock) {
  lock.lock();
  lock.unlock();
}
void use(brood::Semaphore& semaphore) {
  semaphore.acquire();
  semaphore.release();
}
void use(brood::BoundedSemaphore& semaphore) {
  semaphore.acquire();
  semaphore.release();
}
void use(brood::Event& event) {
  event.set();
  event.clear();
}
void use(brood::Condition& condition) { condition.notify_all(); }
void use(brood::Barrier& barrier) { (void)barrier.wait(); }
void use(brood::Queue<int>& queue) {
  queue.put(1);
  (void)queue.get();
}
void use(brood::Value<long>& value) { value.set(1); }

/// A forked child that has used the inherited object says that it takes no further part: it never destroys it.
void finish(brood::Barrier& barrier) { barrier.leave(); }
template <class T>
void finish(T& /*object*/) {}

template <class T>
class SharedObject : public support::NoLeaks {
 protected:
  static T fresh() { return Made<T>::fresh(); }
};
using All = ::testing::Types<brood::Lock, brood::RLock, brood::Semaphore, brood::BoundedSemaphore, brood::Event,
                             brood::Condition, brood::Barrier, brood::Queue<int>, brood::Value<long>>;
TYPED_TEST_SUITE(SharedObject, All);

TYPED_TEST(SharedObject, IsMoveOnly) {
  static_assert(!std::is_copy_constructible_v<TypeParam> && !std::is_copy_assignable_v<TypeParam>);
  static_assert(std::is_nothrow_move_constructible_v<TypeParam> && std::is_nothrow_move_assignable_v<TypeParam>);
  auto first = this->fresh();
  const auto handle = first.handle();
  TypeParam second(std::move(first));
  EXPECT_EQ(second.handle(), handle);
  use(second);
  auto third = this->fresh();
  third = std::move(second);
  EXPECT_EQ(third.handle(), handle);
  use(third);
}

TYPED_TEST(SharedObject, MovedFromAnswersEveryUseWithUsageError) {
  auto first = this->fresh();
  const TypeParam second(std::move(first));
  expect_error<brood::UsageError>([&] { use(first); }, {"moved from"});  // NOLINT(bugprone-use-after-move): the point
  expect_error<brood::UsageError>([&] { (void)first.handle(); }, {"moved from"});  // NOLINT(bugprone-use-after-move)
  expect_error<brood::UsageError>([&] { (void)printed(first); }, {"moved from"});  // NOLINT(bugprone-use-after-move)
}

TYPED_TEST(SharedObject, ReopensTwiceInOneProcessFromItsText) {
  auto first = this->fresh();
  const std::string text = first.handle().str();
  auto second = TypeParam::open(brood::Handle(text));
  auto third = TypeParam::open(text);
  EXPECT_EQ(second.handle(), first.handle());
  use(first);
  use(second);
  use(third);
}

TYPED_TEST(SharedObject, OutlivesItsMakerWhileAnybodyHasItOpen) {
  auto first = std::make_unique<TypeParam>(this->fresh());
  auto second = TypeParam::open(first->handle());
  first.reset();
  use(second);
  auto third = TypeParam::open(second.handle());
  use(third);
}

TYPED_TEST(SharedObject, OpensInAForkedChildAndUsesTheInheritedObjectToo) {
  auto mine = this->fresh();
  Child child([&](Line&) {
    use(mine);
    finish(mine);
    auto theirs = TypeParam::open(mine.handle());
    use(theirs);
  });
  EXPECT_EQ(child.wait(), 0);
  use(mine);
}

TYPED_TEST(SharedObject, StaleHandleIsRefusedWithTheRemedy) {
  std::string text;
  {
    const auto gone = this->fresh();
    text = gone.handle().str();
  }
  expect_error<brood::HandleError>([&] { (void)TypeParam::open(text); }, {text, "no such object", "BROOD_DOMAIN"});
}

TYPED_TEST(SharedObject, MalformedHandleIsRefusedAndShown) {
  for (const char* text : {"", "brood", "brood:lock", "brood:lock:xyz", "brood:cupboard:0123456789abcdef",
                           "lock:0123456789abcdef", "brood:lock:0123456789abcdef:a/b"}) {
    expect_error<brood::HandleError>([&] { (void)TypeParam::open(text); }, {text});
  }
}

TYPED_TEST(SharedObject, HandleOfAnotherKindIsRefused) {
  const auto mine = this->fresh();
  const brood::Lock lock;
  const brood::Event event;
  const brood::Handle other = mine.handle().kind() == brood::Kind::lock ? event.handle() : lock.handle();
  expect_error<brood::TypeMismatch>(
      [&] { (void)TypeParam::open(other); },
      {std::string(to_string(other.kind())), std::string(to_string(mine.handle().kind()))});
  // and a handle that lies about its kind
  const brood::Handle lie(mine.handle().kind(), other.id());
  expect_error<brood::TypeMismatch>([&] { (void)TypeParam::open(lie); }, {std::string(to_string(other.kind()))});
}

TYPED_TEST(SharedObject, NamedLivesUntilRemoved) {
  const std::string name = "ladder.named";
  {
    auto made = Made<TypeParam>::named(name);
    EXPECT_EQ(made.handle().name(), name);
    EXPECT_NE(made.handle().str().find(name), std::string::npos);
    expect_error<brood::AlreadyExists>([&] { (void)Made<TypeParam>::named(name); }, {name});
    use(made);
  }
  auto again = TypeParam::open_named(name);
  auto either = Made<TypeParam>::either(name);
  EXPECT_EQ(again.handle(), either.handle());
  (void)brood::gc();  // named objects survive
  use(again);
  auto by_handle = TypeParam::open(again.handle().str());
  use(by_handle);
  EXPECT_TRUE(TypeParam::remove(name));
  EXPECT_FALSE(TypeParam::remove(name));
  use(again);  // who has it open keeps it
  expect_error<brood::HandleError>([&] { (void)TypeParam::open_named(name); }, {name, "no such object"});
  expect_error<brood::HandleError>([&] { (void)TypeParam::open(again.handle()); }, {name});

  auto newer = Made<TypeParam>::either(name);
  EXPECT_FALSE(newer.handle() == again.handle());
  expect_error<brood::HandleError>([&] { (void)TypeParam::open(again.handle()); }, {name, "stale", "newer"});
  EXPECT_TRUE(TypeParam::remove(name));
}

TYPED_TEST(SharedObject, NameOfAnotherKindIsRefusedAndKept) {
  const std::string name = "ladder.kind";
  const bool is_event = std::same_as<TypeParam, brood::Event>;
  if (is_event) (void)brood::Lock::create(name);
  if (!is_event) (void)brood::Event::create(name);
  const std::string other = is_event ? "lock" : "event";
  expect_error<brood::TypeMismatch>([&] { (void)TypeParam::open_named(name); }, {name, other});
  expect_error<brood::TypeMismatch>([&] { (void)Made<TypeParam>::either(name); }, {name, other});
  expect_error<brood::TypeMismatch>([&] { (void)TypeParam::remove(name); }, {name, other, "not removed"});
  EXPECT_TRUE(is_event ? brood::Lock::remove(name) : brood::Event::remove(name));
}

TYPED_TEST(SharedObject, BadNamesAreRefused) {
  for (const std::string& name : {std::string(), std::string(".hidden"), std::string("a/b"), std::string("a b"),
                                  std::string(121, 'x'), std::string("a\0b", 3)}) {
    EXPECT_THROW((void)Made<TypeParam>::named(name), brood::UsageError) << name;
    EXPECT_THROW((void)Made<TypeParam>::either(name), brood::UsageError) << name;
    EXPECT_THROW((void)TypeParam::open_named(name), brood::UsageError) << name;
    EXPECT_THROW((void)TypeParam::remove(name), brood::UsageError) << name;
  }
}

TYPED_TEST(SharedObject, PrintedFormHasTheHandle) {
  const auto mine = this->fresh();
  EXPECT_NE(printed(mine).find(mine.handle().str()), std::string::npos) << printed(mine);
}

TYPED_TEST(SharedObject, NoDescriptorStaysOpen) {
  const auto before = support::open_descriptors().size();
  const auto mine = this->fresh();
  const auto again = TypeParam::open(mine.handle());
  EXPECT_EQ(support::open_descriptors().size(), before);
}

TYPED_TEST(SharedObject, ManyProcessesRaceToMakeOneName) {
  const std::string name = "ladder.race";
  std::vector<Child> children;
  for (int i = 0; i < 4; ++i) {
    children.emplace_back([&](Line& line) {
      line.expect();
      auto mine = Made<TypeParam>::either(name);
      line.send_text(mine.handle().str());
      line.expect();
      use(mine);
    });
  }
  for (auto& child : children) child.line.say();
  std::string first;
  for (auto& child : children) {
    const std::string text = child.line.hear_text();
    if (first.empty()) first = text;
    EXPECT_EQ(text, first);
  }
  for (auto& child : children) child.line.say();
  for (auto& child : children) EXPECT_EQ(child.wait(), 0);
  EXPECT_TRUE(TypeParam::remove(name));
}

}  // namespace
}  // namespace ladder
