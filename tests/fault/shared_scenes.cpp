// Array, Atomic, ShareableList, SharedMemory and its manager: the old state or the new one, or told of a half-made change;
// nobody waits for the dead, and nothing of theirs stays.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "brood/array.hpp"
#include "brood/atomic.hpp"
#include "brood/domain.hpp"
#include "brood/error.hpp"
#include "brood/rlock.hpp"
#include "brood/shareable_list.hpp"
#include "brood/shared_memory.hpp"
#include "brood/shared_memory_manager.hpp"
#include "brood/value.hpp"
#include "fault/domain_view.hpp"
#include "fault/parcels.hpp"
#include "fault/parts.hpp"

namespace fault {
namespace {

using namespace std::chrono_literals;
using brood::Array;
using brood::Atomic;
using brood::Handle;
using brood::OwnerDeath;
using brood::RLock;
using brood::ShareableList;
using brood::SharedMemory;
using brood::SharedMemoryManager;

// --- Array -----------------------------------------------------------------------------------------------------------

using Wide = Parcel<136>;
constexpr Key kOld = 1;
constexpr Key kNew = 2;
constexpr Key kRepaired = 3;

Wide wide(Key key) { return ItemOf<Wide>::make(key); }

/// Three elements, all of one key; the victim makes them all of another.
struct ArrayScene : Scene {
  explicit ArrayScene(OwnerDeath policy = OwnerDeath::report, bool given = false) : policy_(policy) {
    const std::vector<Wide> three(3, wide(kOld));
    if (given) array.emplace(lock.emplace(brood::LockOptions{policy}), three);
    else array.emplace(three, brood::ArrayOptions{policy});
  }
  OwnerDeath policy_;
  std::optional<RLock> lock;
  std::optional<Array<Wide>> array;
  Ledger& ledger = renewed<Ledger>();
  const std::vector<Wide> next = std::vector<Wide>(3, wide(kNew));

  void ready() override {
    settle_in();
    Array<Wide> scratch(3);
    scratch.assign(0, next);
    scratch.set(0, next[0]);
    (void)scratch.get(0);
    (void)scratch.try_lock_for(1ms);
  }
  /// Reads or, told of the death, repairs; then the array works.
  void judge_array(Findings& findings) {
    findings.fresh("a fresh process", [this](Self&) {
      auto opened = Array<Wide>::open(array->handle());
      std::vector<Wide> seen;
      try {
        seen = opened.to_vector();
      } catch (const brood::OwnerDied&) {
        must(policy_ == OwnerDeath::report, "a healing array was reported as OwnerDied");
        must(ledger.returned == 0, "the change came back, and OwnerDied");
        int told = 0;
        try {
          opened.set(0, wide(kOld));
        } catch (const brood::OwnerDied&) {
          ++told;
        }
        must(told == 1, "OwnerDied was told once only");
        must(opened.recover([](std::span<Wide> all) { std::fill(all.begin(), all.end(), wide(kRepaired)); }),
             "recover() did not repair");
        seen = opened.to_vector();
        must(ItemOf<Wide>::key(seen[0]) == kRepaired, "what was repaired is not there");
      }
      if (policy_ == OwnerDeath::report) {
        // Without a word about a death, nothing is torn or half done.
        for (const Wide& element : seen)
          must(ItemOf<Wide>::key(element) != kTorn, "an element is torn, and no OwnerDied was told");
        must(ItemOf<Wide>::key(seen[0]) == ItemOf<Wide>::key(seen[2]),
             "a change is half done, and no OwnerDied was told");
        must(ledger.returned == 0 || ItemOf<Wide>::key(seen[0]) == kNew, "a change that came back is not there");
      }
      must(!opened.locked(), "an array that nobody alive holds says that it is locked");
      must(!opened.recover([](std::span<Wide>) {}), "recover() of an array in good order repaired");
      opened.fill(wide(kRepaired));
      must(ItemOf<Wide>::key(opened.get(-1)) == kRepaired && !opened.locked(), "the array does not work any more");
    });
  }
  void judge(Findings& findings, const Arrival& /*at*/) override { judge_array(findings); }
};

struct ArrayAssign : ArrayScene {
  using ArrayScene::ArrayScene;
  void operate() override {
    array->assign(0, next);
    ledger.returned = 1;
  }
};

/// One after the other, under one guard.
struct ArrayGuard : ArrayScene {
  using ArrayScene::ArrayScene;
  void operate() override {
    {
      auto guard = array->lock();
      for (std::size_t i = 0; i < 3; ++i) guard[i] = next[i];
      array->set(0, next[0]);  // the lock, once more
    }
    ledger.returned = 1;
  }
};

/// The holder of the lock gives it back, the victim gets it; a reader sleeps behind.
struct ArrayContended : ArrayScene {
  Actor holder;
  std::optional<Actor> reader;
  void set() override {
    holder = Actor([this](Self& self) {
      auto guard = array->lock();
      self.mark(1);
      self.await_go(1);
    });
    must(holder.await(1), "the holder did not get the array");
  }
  void operate() override {
    array->assign(0, next);
    ledger.returned = 1;
  }
  void add_reader() {
    reader.emplace([this](Self& self) {
      self.mark(1);
      try {
        self.set(0, ItemOf<Wide>::key(array->get(1)));
      } catch (const brood::OwnerDied&) {
        self.set(0, kNone);
      }
    });
    reader->await_blocked();
  }
  Sleep on_sleep(int nth) override {
    if (nth == 0) {
      add_reader();
      holder.go(1);
    }
    return Sleep::woken;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (!reader) add_reader();
    holder.go(1);
    if (!findings.finishes(holder, "the holder") || !findings.finishes(*reader, "the reader")) return;
    const Key saw = reader->value(0);
    findings.check(saw == kNone || saw == kOld || saw == kNew, "the reader read " + std::to_string(saw));
    judge_array(findings);
  }
};

/// recover() of an array whose owner has died.
struct ArrayRecover : ArrayScene {
  void set() override {
    Actor owner([this](Self&) {
      static std::optional<Array<Wide>::Guard> guard;
      guard.emplace(array->lock());
      (*guard)[1] = wide(kNew);
    });
    must(owner.await_done(), "the first owner did not get the array");
  }
  void operate() override {
    array->recover([this](std::span<Wide> all) { std::copy(next.begin(), next.end(), all.begin()); });
    ledger.returned = 1;
  }
};

// --- Value, Atomic ---------------------------------------------------------------------------------------------------

struct ValueAdd : Scene {
  brood::Value<long> value{10};
  Ledger& ledger = renewed<Ledger>();
  void ready() override {
    settle_in();
    brood::Value<long> scratch;
    (void)scratch.add(1);
    (void)scratch.update([](long x) { return x; });
  }
  void operate() override {
    (void)value.add(5);
    ledger.returned = 1;
    (void)value.update([](long x) { return x * 2; });
    ledger.returned = 2;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    findings.fresh("a fresh process", [this](Self&) {
      auto opened = brood::Value<long>::open(value.handle());
      const long seen = opened.get();
      const int done = ledger.returned;
      must(done == 0   ? seen == 10 || seen == 15
           : done == 1 ? seen == 15 || seen == 30
                       : seen == 30,
           "the value is " + std::to_string(seen));
      must(opened.add(1) == seen + 1 && !opened.locked(), "the value does not work any more");
    });
  }
};

struct AtomicScene : Scene {
  Atomic<long> atomic{10};
  Ledger& ledger = renewed<Ledger>();
  std::atomic<int>& judging = shared_zero(1);
  void ready() override {
    settle_in();
    Atomic<long> scratch(0);
    (void)scratch.wait_for(0, 1ms);
    ++scratch;
    scratch.notify_one();
    scratch.notify_all();
  }
  Actor waiter() {
    Actor actor([this](Self& self) {
      self.mark(1);
      atomic.wait(10);
      self.set(0, atomic.load());
      self.set(1, judging);
    });
    actor.await_blocked();
    return actor;
  }
  void judge_works(Findings& findings) {
    findings.fresh("a fresh process", [this](Self&) {
      auto opened = Atomic<long>::open(atomic.handle());
      opened.store(1);
      opened.notify_all();
      must(++opened == 2 && !opened.wait_for(2, 1ms) && opened.wait_for(1, 1ms), "the atomic does not work any more");
    });
  }
};

/// A change and its notification while others wait: killed between the two, the death is the notification.
struct AtomicNotify : AtomicScene {
  explicit AtomicNotify(int count) : count_(count) {}
  int count_;
  std::vector<Actor> waiters;
  void set() override {
    for (int i = 0; i < count_; ++i) waiters.push_back(waiter());
  }
  void operate() override {
    atomic.fetch_add(1);
    if (count_ == 1) atomic.notify_one();
    else atomic.notify_all();
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    const bool done = atomic.load() != 10;
    findings.check(done || ledger.returned == 0, "the change is not there");
    if (!done) {
      findings.fresh("a second changer", [this](Self&) {
        judging = 1;
        atomic.fetch_add(1);
        atomic.notify_all();
      });
    }
    for (const Actor& actor : waiters) {
      if (!findings.finishes(actor, "a waiter")) return;
      findings.check(actor.value(0) == 11 && (actor.value(1) == 1) == !done, "a waiter saw another value");
    }
    judge_works(findings);
  }
};

/// The victim waits, and another one behind it; one is to be notified. If that was the victim and it died, the other one
/// has to come through all the same.
struct AtomicWait : AtomicScene {
  std::optional<Actor> other;
  void operate() override {
    atomic.wait(10);
    ledger.returned = 1;
  }
  void change() {
    atomic.store(11);
    atomic.notify_one();
  }
  Sleep on_sleep(int nth) override {
    if (nth == 0) {
      other = waiter();
      change();
    }
    return Sleep::woken;
  }
  void judge(Findings& findings, const Arrival& at) override {
    if (!other) {
      other = waiter();
      change();
    } else if (at.ended) {
      atomic.notify_one();  // the first one was the victim's
    }
    if (!findings.finishes(*other, "the other waiter")) return;
    findings.check(other->value(0) == 11, "the other waiter saw another value");
    judge_works(findings);
  }
};

struct AtomicTimesOut : AtomicScene {
  Actor other;
  void placed() override { other = waiter(); }
  void operate() override { ledger.said = atomic.wait_for(10, 30ms) ? 1 : -1; }
  Sleep on_sleep(int /*nth*/) override { return Sleep::by_itself; }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    findings.check(ledger.said != 1 && !other.is_done(), "a wait ended without a change");
    findings.fresh("a changer", [this](Self&) {
      atomic.store(11);
      atomic.notify_all();
    });
    if (findings.finishes(other, "the other waiter")) judge_works(findings);
  }
};

// --- ShareableList ---------------------------------------------------------------------------------------------------

using Item = ShareableList::Item;

struct ListScene : Scene {
  const Item before = std::string(90, 'o');
  const Item after = std::string(71, 'n');
  ShareableList list{{Item(1), before, Item(3)}, {}};
  Ledger& ledger = renewed<Ledger>();
  void ready() override {
    settle_in();
    ShareableList scratch{1, before};
    scratch.set(0, 2.5);
    scratch.set(1, after);
    (void)scratch.update(0, [](const Item& item) { return item; });
    (void)scratch.get(1);
  }
  /// `states`: before the first call, and after each.
  void judge_list(Findings& findings, const std::vector<Item>& states) {
    findings.fresh("a fresh process", [&](Self&) {
      auto opened = ShareableList::open(list.handle());
      const Item seen = opened.get(1);
      const auto done = static_cast<std::size_t>(ledger.returned);
      must(seen == states[done] || (done + 1 < states.size() && seen == states[done + 1]),
           "the item is neither the old nor the new one");
      must(opened.get(0) == Item(1) && opened.get(2) == Item(3), "another item has changed");
      opened.set(1, "judged");
      must(opened.get(1) == Item("judged"), "the item cannot be changed any more");
      must(opened.update(1, [](const Item&) { return Item(5); }) == Item(5), "update() does not work any more");
    });
  }
};

struct ListSet : ListScene {
  void operate() override {
    list.set(1, after);
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override { judge_list(findings, {before, after}); }
};

/// Text becomes a number, that becomes bytes, and these none.
struct ListTypes : ListScene {
  const Item bytes = ShareableList::Bytes(40, std::byte{7});
  void operate() override {
    list.set(1, 2.5);
    ledger.returned = 1;
    list.set(1, bytes);
    ledger.returned = 2;
    list.set(1, std::monostate{});
    ledger.returned = 3;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    judge_list(findings, {before, Item(2.5), bytes, Item(std::monostate{})});
  }
};

struct ListUpdate : ListScene {
  void operate() override {
    list.update(1, [this](const Item&) { return after; });
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override { judge_list(findings, {before, after}); }
};

/// set() behind a writer that is in the middle of its own; a third one sleeps behind the victim.
struct ListContended : ListScene {
  Actor holder;
  std::optional<Actor> third;
  void set() override {
    holder = Actor([this](Self& self) {
      list.update(0, [&](const Item& item) {
        self.mark(1);
        self.await_go(1);
        return item;
      });
    });
    must(holder.await(1), "the first writer did not begin");
  }
  void operate() override {
    list.set(1, after);
    ledger.returned = 1;
  }
  void add_third() {
    third.emplace([this](Self& self) {
      self.mark(1);
      list.set(2, 3);
    });
    third->await_blocked();
  }
  Sleep on_sleep(int nth) override {
    if (nth == 0) {
      add_third();
      holder.go(1);
    }
    return Sleep::woken;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (!third) add_third();
    holder.go(1);
    if (!findings.finishes(holder, "the first writer") || !findings.finishes(*third, "the third writer")) return;
    judge_list(findings, {before, after});
  }
};

// --- lifetime --------------------------------------------------------------------------------------------------------

constexpr std::int64_t kMemoryBytes = 10'000;
constexpr const char* kName = "kill-sweep-memory";

void run_gc(Findings& findings) {
  findings.fresh("gc()", [](Self&) { (void)brood::gc(); });
}
void nothing_left(Findings& findings) {
  run_gc(findings);
  for (const auto& file : DomainView::objects()) findings.check(false, "left by the dead: " + file);
}

/// Whatever has a name is whole.
void open_all(Findings& findings) {
  findings.fresh("somebody who looks round", [](Self&) {
    for (const auto& file : DomainView::objects()) {
      if (file.front() != '=') continue;
      const auto memory = SharedMemory::open_named(file.substr(1));
      must(memory.size() == static_cast<std::size_t>(kMemoryBytes), "a half-made memory can be opened");
    }
  });
}

struct MemoryCreate : Scene {
  std::optional<SharedMemory> memory;
  std::optional<SharedMemory> named;
  ~MemoryCreate() override { (void)SharedMemory::remove(kName); }
  MemoryCreate() { (void)SharedMemory::remove(kName); }
  MemoryCreate(const MemoryCreate&) = delete;
  MemoryCreate& operator=(const MemoryCreate&) = delete;
  void ready() override {
    settle_in();
    SharedMemory scratch(10);
    (void)SharedMemory::open(scratch.handle());
  }
  void operate() override {
    memory.emplace(kMemoryBytes);
    named.emplace(SharedMemory::create(kName, kMemoryBytes));
  }
  void judge(Findings& findings, const Arrival& at) override {
    open_all(findings);
    const bool was_there = SharedMemory::remove(kName);
    findings.check(was_there || !at.ended, "the named memory is not there");
    nothing_left(findings);
  }
};

/// close() while another process has the memory, with a view before it that refuses it.
struct MemoryClose : Scene {
  SharedMemory memory{kMemoryBytes};
  std::optional<SharedMemory> opened;
  Ledger& ledger = renewed<Ledger>();
  void ready() override {
    settle_in();
    opened.emplace(SharedMemory::open(memory.handle()));
    SharedMemory scratch(10);
    { const auto view = scratch.view(); }
    scratch.close();
  }
  void operate() override {
    {
      const auto view = opened->view();
      view.bytes()[5] = std::byte{7};
    }
    ledger.returned = 1;
    opened->close();
    opened->close();
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    run_gc(findings);
    findings.fresh("another user", [this](Self&) {
      const auto mine = SharedMemory::open(memory.handle());
      must(ledger.returned == 0 || mine.bytes()[5] == std::byte{7}, "what was written through a view is not there");
    });
  }
};

/// An array with a lock that was given, both made by the victim: neither stays, and whoever got the array has the lock.
struct ArrayWithGivenLock : Scene {
  std::optional<RLock> lock;
  std::optional<Array<int>> array;
  void ready() override {
    settle_in();
    RLock scratch;
    Array<int> with(scratch, 3);
    (void)Array<int>::open(with.handle());
  }
  void operate() override {
    lock.emplace();
    array.emplace(*lock, 3);
    lock.reset();
    array->set(0, 1);
    array.reset();
  }
  void judge(Findings& findings, const Arrival& /*at*/) override { nothing_left(findings); }
};

/// Of objects, once they are known.
std::atomic<std::uint64_t>& shared_ids(std::size_t which) {
  static auto& all = shared<std::array<std::atomic<std::uint64_t>, 3>>();
  all.at(which) = 0;
  return all.at(which);
}

struct ManagerScene : Scene {
  void ready() override {
    settle_in();
    auto scratch = SharedMemoryManager::started();
    (void)scratch.shared_memory(10);
    (void)scratch.shareable_list({1});
  }
};

/// A manager's whole life: whatever was begun, nothing stays.
struct ManagerLife : ManagerScene {
  void operate() override {
    SharedMemoryManager manager;
    manager.start();
    { const auto memory = manager.shared_memory(10); }
    const auto list = manager.shareable_list({1, 2});
    manager.shutdown();
  }
  void judge(Findings& findings, const Arrival& /*at*/) override { nothing_left(findings); }
};

/// The victim makes an object by a manager of another process, which then shuts down.
struct ManagerMake : ManagerScene {
  std::atomic<std::uint64_t>& manager_id = shared_ids(0);
  std::atomic<std::uint64_t>& id = shared_ids(1);
  std::optional<SharedMemoryManager> opened;
  Actor keeper;
  void set() override {
    keeper = Actor([this](Self& self) {
      auto manager = SharedMemoryManager::started();
      manager_id = manager.handle().id();
      self.mark(1);
      self.await_go(1);
      manager.shutdown();
    });
    must(keeper.await(1), "the manager was not started: " + keeper.error());
  }
  void ready() override {
    ManagerScene::ready();
    opened.emplace(SharedMemoryManager::open(Handle(brood::Kind::memory, manager_id)));
  }
  void operate() override {
    const std::uint64_t made = opened->shared_memory(kMemoryBytes).handle().id();
    id = made;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    run_gc(findings);
    if (id != 0) {
      findings.fresh("a user", [this](Self&) {
        must(SharedMemory::open(Handle(brood::Kind::memory, id)).size() == static_cast<std::size_t>(kMemoryBytes),
             "the manager did not keep the memory");
      });
    }
    keeper.go(1);
    findings.finishes(keeper, "the manager's shutdown");
    keeper.kill();
    nothing_left(findings);
  }
};

/// shutdown() while another process has one of the objects open and the manager too.
struct ManagerShutdown : ManagerScene {
  std::optional<SharedMemoryManager> manager;
  Ledger& ledger = renewed<Ledger>();
  std::atomic<std::uint64_t>& manager_id = shared_ids(0);
  std::atomic<std::uint64_t>& kept_id = shared_ids(1);
  std::atomic<std::uint64_t>& lost_id = shared_ids(2);
  std::optional<Actor> user;
  void ready() override {
    ManagerScene::ready();
    manager.emplace(SharedMemoryManager::started());
    kept_id = manager->shared_memory(kMemoryBytes).handle().id();
    lost_id = manager->shared_memory(kMemoryBytes).handle().id();
    manager_id = manager->handle().id();
  }
  void placed() override {
    user.emplace([this](Self& self) {
      const auto mine = SharedMemory::open(Handle(brood::Kind::memory, kept_id));
      std::optional<SharedMemoryManager> other(SharedMemoryManager::open(Handle(brood::Kind::memory, manager_id)));
      self.mark(1);
      self.await_go(1);
      mine.bytes()[0] = std::byte{1};
      if (ledger.returned != 0) {
        bool refused = false;
        try {
          (void)other->shared_memory(10);
        } catch (const brood::UsageError&) {
          refused = true;
        }
        must(refused, "a manager that was shut down makes objects");
      }
      other.reset();
      self.mark(2);
      self.await_go(2);
    });
    must(user->await(1), "the user did not open the objects: " + user->error());
  }
  void operate() override {
    manager->shutdown();
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (ledger.returned != 0) {
      findings.fresh("somebody who comes too late", [this](Self&) {
        for (const std::uint64_t id : {kept_id.load(), lost_id.load()}) {
          bool refused = false;
          try {
            (void)SharedMemory::open(Handle(brood::Kind::memory, id));
          } catch (const brood::HandleError&) {
            refused = true;
          }
          must(refused, "an object can be opened after the shutdown");
        }
      });
    }
    user->go(1);
    findings.check(user->await(2), "the user of an object: " + user->error());
    user->go(2);
    findings.finishes(*user, "the user");
    user->kill();
    nothing_left(findings);
  }
};

/// Long, and most of it files and text: what counts is at the system calls and where shared memory changes.
constexpr std::size_t kFewRandomPoints = 60;

}  // namespace

void add_shared_operations(Operations& all) {
  add<ArrayAssign>(all, "Array: assign; nobody waits");
  add<ArrayAssign>(all, "Array (heal): assign; nobody waits", OwnerDeath::heal);
  add_every<ArrayAssign>(all, 3, "Array (given lock): assign; nobody waits", OwnerDeath::report, true);
  add<ArrayGuard>(all, "Array: lock, set inside; nobody waits");
  add<ArrayContended>(all, "Array: assign contended, handed over; a reader sleeps behind");
  add<ArrayRecover>(all, "Array: recover");
  add<ValueAdd>(all, "Value: add, update; nobody waits");
  add<AtomicNotify>(all, "Atomic: fetch_add, notify_one; one waits", 1);
  add<AtomicNotify>(all, "Atomic: fetch_add, notify_all; two wait", 2);
  add<AtomicWait>(all, "Atomic: wait, notified; another waits behind");
  add<AtomicTimesOut>(all, "Atomic: wait_for times out; another waits");
  add<ListSet>(all, "ShareableList: set; nobody waits");
  add<ListTypes>(all, "ShareableList: set to other types; nobody waits");
  add<ListUpdate>(all, "ShareableList: update; nobody waits");
  add<ListContended>(all, "ShareableList: set contended, handed over; a third sleeps behind");
  const std::size_t first = all.size();
  add<MemoryCreate>(all, "SharedMemory: create without and with a name");
  add<MemoryClose>(all, "SharedMemory: view, close; another has it open");
  add<ArrayWithGivenLock>(all, "Array: create and end with a given lock");
  add<ManagerLife>(all, "SharedMemoryManager: start, make, shut down");
  add<ManagerMake>(all, "SharedMemoryManager: make by another's");
  add<ManagerShutdown>(all, "SharedMemoryManager: shut down; another has objects open");
  for (std::size_t i = first; i < all.size(); ++i) all[i].random_points = kFewRandomPoints;
}

}  // namespace fault
