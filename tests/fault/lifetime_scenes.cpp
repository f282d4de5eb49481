// Lifetime of objects: made whole or not at all, kept while somebody uses them, gone with the last user or its death.
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "base/hex.hpp"
#include "brood/domain.hpp"
#include "brood/error.hpp"
#include "brood/lock.hpp"
#include "brood/queue.hpp"
#include "fault/domain_view.hpp"
#include "fault/parcels.hpp"
#include "registry/registry.hpp"

namespace fault {
namespace {

using brood::Handle;
using brood::Kind;
using brood::Lock;
using brood::Queue;
using brood::QueueOptions;

constexpr const char* kName = "kill-sweep";
const QueueOptions kTwo{.capacity = 2, .byte_budget = 4096};

bool works(Lock& lock) {
  if (!lock.try_lock()) return false;
  lock.unlock();
  return !lock.locked();
}
bool works(Queue<int>& queue) { return queue.try_put(7) && queue.try_get() == 7 && queue.empty(); }

template <class O>
constexpr Kind kKindOf = std::is_same_v<O, Lock> ? Kind::lock : Kind::queue;
template <class O>
O made();
template <>
Lock made() {
  return Lock();
}
template <>
Queue<int> made() {
  return Queue<int>(kTwo);
}

void run_gc(Findings& findings) {
  findings.fresh("gc()", [](Self&) { (void)brood::gc(); });
}
bool is_there(std::uint64_t id) {
  for (const auto& file : DomainView::objects()) {
    if (file == brood::base::hex16(id)) return true;
  }
  return false;
}

/// A victim that has or gets an object of its own. Not destroyed with the victim: it is killed, or exits at once.
template <class O>
struct LifetimeScene : Scene {
  Ledger& ledger = renewed<Ledger>();
  std::atomic<std::uint64_t>& id = renewed<std::atomic<std::uint64_t>>();  ///< of the object, once it is known
  std::optional<O> object;

  void ready() override {
    settle_in();
    O scratch = made<O>();
    O again = O::open(scratch.handle());
    must(works(again), "the victim's scratch object does not work");
  }
  void note() {
    id = object->handle().id();
    ledger.returned = 1;
  }
};

/// A new unnamed object: after the death of its only user nothing is left, however far it had come.
template <class O>
struct Create : LifetimeScene<O> {
  void operate() override {
    this->object.emplace(made<O>());
    this->note();
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    // Not seen before it is whole: whatever has a name can be opened and works.
    findings.fresh("somebody who looks round", [](Self&) {
      for (const auto& file : DomainView::objects()) {
        const auto found = brood::base::parse_hex16(file);
        must(found.has_value(), "in the domain is a file that is no object: " + file);
        O opened = O::open(Handle(kKindOf<O>, *found));
        must(works(opened), "a half-made object can be opened");
      }
    });
    run_gc(findings);
    for (const auto& file : DomainView::objects()) findings.check(false, "left by a dead maker: " + file);
  }
};

/// A victim that makes, opens or removes the lock called kName.
struct NamedScene : LifetimeScene<Lock> {
  NamedScene() { (void)Lock::remove(kName); }
  ~NamedScene() override { (void)Lock::remove(kName); }
  NamedScene(const NamedScene&) = delete;
  NamedScene& operator=(const NamedScene&) = delete;

  void ready() override {
    LifetimeScene::ready();
    constexpr const char* kScratch = "kill-sweep-scratch";
    { Lock first = Lock::open_or_create(kScratch); }
    { Lock second = Lock::open_or_create(kScratch); }
    Lock::remove(kScratch);
  }
  /// The name has an object that works, or it is free to be given; `has_to_be` if only one of the two is right.
  /// In the end nothing is left but the object `in_use`.
  void judge_name(Findings& findings, std::optional<bool> has_to_be, std::uint64_t in_use = 0) {
    run_gc(findings);
    findings.fresh("somebody who knows the name", [&](Self&) {
      bool was_there = true;
      try {
        Lock opened = Lock::open_named(kName);
        must(works(opened), "an object can be opened by name, but does not work");
      } catch (const brood::HandleError&) {
        was_there = false;
      }
      must(!has_to_be || was_there == *has_to_be,
           was_there ? "the name is still there" : "the object of that name is not there");
      must(Lock::remove(kName) == was_there, "remove() and open_named() disagree");
      Lock anew = Lock::create(kName);
      must(works(anew) && Lock::remove(kName) && works(anew), "the name cannot be given again");
    });
    run_gc(findings);
    for (const auto& file : DomainView::objects())
      findings.check(file == brood::base::hex16(in_use), "left after remove() and gc(): " + file);
  }
};

struct CreateNamed : NamedScene {
  void operate() override {
    object.emplace(Lock::create(kName));
    note();
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    judge_name(findings, ledger.returned != 0 ? std::optional(true) : std::nullopt);
  }
};

/// Anybody else who wants the name meanwhile gets an object, and both get the same.
struct OpenOrCreate : NamedScene {
  explicit OpenOrCreate(bool exists) : exists_(exists) {}
  bool exists_;
  void set() override {
    if (exists_) (void)Lock::create(kName);
  }
  void operate() override {
    object.emplace(Lock::open_or_create(kName));
    note();
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    const std::uint64_t victims = ledger.returned != 0 ? id.load() : 0;
    findings.fresh("another who opens or creates", [victims](Self&) {
      Lock mine = Lock::open_or_create(kName);
      must(works(mine), "open_or_create() gave an object that does not work");
      must(victims == 0 || mine.handle().id() == victims, "two objects have one name");
    });
    judge_name(findings, true);
  }
};

struct OpenNamed : NamedScene {
  void set() override { (void)Lock::create(kName); }
  void operate() override {
    object.emplace(Lock::open_named(kName));
    note();
  }
  void judge(Findings& findings, const Arrival& /*at*/) override { judge_name(findings, true); }
};

/// remove() of a name whose object somebody else uses: that one keeps it.
struct Remove : NamedScene {
  Actor user;
  void set() override {
    user = Actor([this](Self& self) {
      Lock mine = Lock::create(kName);
      id = mine.handle().id();
      self.mark(1);
      self.await_go(1);
      must(works(mine), "the object does not work for the one who has it open");
    });
    must(user.await(1), "the user did not make the object: " + user.error());
  }
  void operate() override { ledger.returned = Lock::remove(kName) ? 1 : -1; }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    findings.check(ledger.returned != -1, "remove() did not find the name");
    run_gc(findings);
    user.go(1);
    findings.finishes(user, "the one who has it open");
    user.kill();
    judge_name(findings, ledger.returned != 0 ? std::optional(false) : std::nullopt);
  }
};

/// open() by handle of an object that somebody else has: it stays with that one, and goes with it.
template <class O>
struct OpenHandle : LifetimeScene<O> {
  Actor owner;
  void set() override { owner = owner_of(this->id); }
  /// Makes an object, keeps it; at go 1 it has to work.
  static Actor owner_of(std::atomic<std::uint64_t>& id) {
    Actor owner([&id](Self& self) {
      O mine = made<O>();
      id = mine.handle().id();
      self.mark(1);
      self.await_go(1);
      must(works(mine), "the object does not work for its owner");
      self.mark(2);
      self.await_go(2);
    });
    must(owner.await(1), "the owner did not make the object: " + owner.error());
    return owner;
  }
  void operate() override {
    this->object.emplace(O::open(Handle(kKindOf<O>, this->id)));
    this->ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    run_gc(findings);
    findings.check(is_there(this->id), "gc() freed an object in use");
    owner.go(1);
    findings.check(owner.await(2), "the owner of an object: " + owner.error());
    findings.fresh("another user", [this](Self&) {
      O opened = O::open(Handle(kKindOf<O>, this->id));
      must(works(opened), "the object does not work for another user");
    });
    findings.check(is_there(this->id), "an object went with a user that was not the last");
    // The last user ends in good order, as if the victim had never been: nothing is left, and nobody needs gc().
    owner.go(2);
    findings.finishes(owner, "the end of the last user");
    findings.check(!is_there(this->id), "the last user has gone in good order, but its object is still there");
  }
};

/// The end of an object in a process, while another one has it too.
template <class O>
struct CloseShared : OpenHandle<O> {
  void ready() override {
    OpenHandle<O>::ready();
    OpenHandle<O>::operate();
    this->ledger.returned = 0;
  }
  void operate() override {
    this->object.reset();
    this->ledger.returned = 1;
  }
};

/// The end of an object in its last user: it is gone at once; if the victim was killed, after gc().
template <class O>
struct CloseLast : LifetimeScene<O> {
  void ready() override {
    LifetimeScene<O>::ready();
    this->object.emplace(made<O>());
    this->id = this->object->handle().id();
  }
  void operate() override {
    this->object.reset();
    this->ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    findings.check(this->ledger.returned == 0 || !is_there(this->id), "the last user's object is still there");
    if (is_there(this->id)) run_gc(findings);
    findings.check(!is_there(this->id), "the object of a dead process is still there after gc()");
  }
};

/// gc(): in the domain are an object of a living process, a named one, a message with a lock from a dead maker, and
/// garbage: two objects of the dead, one of them a queue with a lock in it.
struct CollectGarbage : NamedScene {
  Queue<Lock> queue{kTwo};
  Actor owner;
  void set() override {
    { Lock named = Lock::create(kName); }
    owner = OpenHandle<Lock>::owner_of(id);
  }
  void placed() override {
    Actor dying([this](Self& self) {
      queue.put(Lock());
      static Queue<Lock> inner(kTwo);
      inner.put(Lock());
      static Lock lock;
      self.mark(1);
    });
    must(dying.await_done(), "the garbage was not made: " + dying.error());
  }
  void operate() override {
    (void)brood::gc();
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    // In use: the named lock, the owner's, the queue, and in it a lock with the mark that keeps it.
    constexpr std::size_t kInUse = 5;
    if (ledger.returned != 0) check_files(findings, kInUse, "gc() returned");
    run_gc(findings);
    check_files(findings, kInUse, "after a second gc()");
    owner.go(1);
    findings.check(owner.await(2), "the owner of an object: " + owner.error());
    findings.fresh("a receiver", [this](Self&) {
      Lock got = queue.get();
      must(works(got) && queue.empty(), "the lock in the message does not work");
    });
    owner.kill();
    judge_name(findings, true, queue.handle().id());
  }
  static void check_files(Findings& findings, std::size_t expected, const std::string& when) {
    const auto files = DomainView::objects();
    if (files.size() == expected) return;
    std::string list;
    for (const auto& file : files) list += " " + file;
    findings.check(false, when + ": " + std::to_string(expected) + " files should be there, there are" + list);
  }
};

/// Their code is long, and most of it text and files: what counts is at the system calls and where shared memory changes.
constexpr std::size_t kFewRandomPoints = 60;

}  // namespace

void add_lifetime_operations(Operations& all) {
  const std::size_t first = all.size();
  add<Create<Lock>>(all, "object: create");
  add<Create<Queue<int>>>(all, "object: create a Queue");
  add<CreateNamed>(all, "object: create with a name");
  add<OpenOrCreate>(all, "object: open_or_create, the name is free", false);
  add<OpenOrCreate>(all, "object: open_or_create, the name is taken", true);
  add<OpenNamed>(all, "object: open by name");
  add<OpenHandle<Lock>>(all, "object: open by handle");
  add<CloseShared<Lock>>(all, "object: end in one of two users");
  all.back().stride = 9;  // about 2000 instructions, each of them a point otherwise
  add<CloseLast<Lock>>(all, "object: end in the last user");
  add<CloseLast<Queue<int>>>(all, "object: end of a Queue in the last user");
  add<Remove>(all, "object: remove by name; another has it open");
  add<CollectGarbage>(all, "object: gc");
  for (std::size_t i = first; i < all.size(); ++i) all[i].random_points = kFewRandomPoints;
}

}  // namespace fault
