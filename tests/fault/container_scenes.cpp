// Container: a transaction is done or it is not, its pages are whole, and nobody waits for the dead.
#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "brood/shared/container.hpp"
#include "brood/shared/convert.hpp"
#include "fault/parts.hpp"
#include "fault/warm.hpp"

namespace fault {
namespace {

namespace shared = brood::shared;
using namespace std::chrono_literals;

using Texts = shared::map<int, shared::string>;
using Container = shared::Container<Texts>;
using Content = std::map<int, std::string>;

/// The smallest there is and a little to grow: the sweep looks at the first 256 KiB of a segment for changes.
constexpr shared::ContainerOptions kSmall{.budget_bytes = std::size_t{96} << 10};

std::string text(int key, std::size_t size = 50) {
  return std::to_string(key) + std::string(size, static_cast<char>('a' + key % 26));
}

Content old_content() {
  Content content;
  for (int key = 1; key <= 20; ++key) content[key] = text(key);
  return content;
}

/// How many texts fit: a piece of memory that was lost for ever shows here.
int fill_up(Container& container) {
  int count = 0;
  try {
    for (;; ++count) container.with([&](Texts& texts) { texts.emplace(count, shared::string(text(count, 1500))); });
  } catch (const brood::NoSpace&) {
    return count;
  }
}

struct ContainerScene : Scene {
  Container container{kSmall};
  std::atomic<int>& returned = shared_zero(1);
  Content before = old_content();
  Content next = old_content();  ///< what the victim's transaction makes of it
  /// In one that is never filled; the same for all.
  static int most() {
    static const int count = [] {
      Container scratch(kSmall);
      return fill_up(scratch);
    }();
    return count;
  }

  ContainerScene() {
    container.with([](Texts& texts) { put(texts, old_content()); });
    (void)most();
  }
  static void put(Texts& texts, const Content& content) {
    for (const auto& [key, value] : content) texts.insert_or_assign(key, shared::string(value));
  }

  void ready() override {
    settle_in();
    Container scratch(kSmall);
    scratch.with([](Texts& texts) { put(texts, old_content()); });
    for (int i = 0; i < 2; ++i) {
      (void)scratch.look([](const Texts& texts) { return texts.size(); });
      scratch.with([&](Texts& texts) { texts.erase(i + 1); });
      scratch.write().abandon();
    }
    (void)scratch.try_write_for(1ms);
  }

  static bool is_one_of(const Content& content, const std::vector<Content>& right) {
    return std::find(right.begin(), right.end(), content) != right.end();
  }
  /// A fresh process finds one of these, and can change it.
  void judge_content(Findings& findings, const std::vector<Content>& right) {
    findings.fresh("a fresh process", [&](Self&) {
      auto opened = Container::open(container.handle());
      const Content found = shared::to_std(*opened.read());
      must(is_one_of(found, right), "wrong contents: " + std::to_string(found.size()) + " texts");
      must(!opened.locked(), "a container that nobody alive holds says that it is locked");
      must(opened.with([](const Texts& texts) { return shared::to_std(texts); }) == found,
           "a writer finds something else than a reader");
      opened.with([](Texts& texts) { texts.insert_or_assign(99, shared::string(text(99))); });
      must(opened.read()->size() == found.size() + 1, "a later change is lost");
      opened.write()->clear();
      const int fits = fill_up(opened);
      must(fits == most(), std::to_string(fits) + " texts fit, not " + std::to_string(most()));
    });
  }
  [[nodiscard]] std::vector<Content> old_or_new() const {
    return returned != 0 ? std::vector<Content>{next} : std::vector<Content>{before, next};
  }
  void judge(Findings& findings, const Arrival& /*at*/) override { judge_content(findings, old_or_new()); }
};

struct Insert : ContainerScene {
  Insert() { next[21] = text(21); }
  void operate() override {
    container.write()->emplace(21, shared::string(text(21)));
    returned = 1;
  }
};

struct Erase : ContainerScene {
  Erase() { next.erase(7); }
  void operate() override {
    container.write()->erase(7);
    returned = 1;
  }
};

/// One that needs memory that the heap does not have yet.
struct Grow : ContainerScene {
  const std::string late = text(51, 9000);
  Grow() {
    before[50] = text(50, 58000);
    container.with([this](Texts& texts) { put(texts, before); });
    next = before;
    next[51] = late;
  }
  void operate() override {
    container.write()->emplace(51, shared::string(late));
    returned = 1;
  }
};

/// A commit of many pages, which do not lie next to each other.
struct SeveralPages : ContainerScene {
  SeveralPages() {
    for (int key = 30; key < 50; ++key) before[key] = text(key, 1800);
    container.with([this](Texts& texts) { put(texts, before); });
    next = before;
    for (int key = 30; key < 50; key += 5) next[key].back() = '!';
    next.erase(1);
  }
  void operate() override {
    container.with([](Texts& texts) {
      for (int key = 30; key < 50; key += 5) texts.find(key)->second.back() = '!';
      texts.erase(1);
    });
    returned = 1;
  }
};

struct Nested : ContainerScene {
  Nested() {
    next[21] = text(21);
    next.erase(3);
  }
  void operate() override {
    {
      auto outer = container.write();
      container.write()->erase(3);
      outer->emplace(21, shared::string(text(21)));
    }
    returned = 1;
  }
};

struct Abandon : ContainerScene {
  void operate() override {
    auto guard = container.write();
    guard->clear();
    guard.abandon();
  }
  void judge(Findings& findings, const Arrival& /*at*/) override { judge_content(findings, {old_content()}); }
};

struct Read : ContainerScene {
  void operate() override { returned = container.read()->size() == 20 ? 1 : 2; }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    findings.check(returned != 2, "a reader read something else");
    judge_content(findings, {old_content()});
  }
};

struct Reset : ContainerScene {
  Reset() { next.clear(); }
  void operate() override {
    container.reset();
    returned = 1;
  }
};

/// Stays inside of a read until it is told to go.
Actor reader_in(Container& container) {
  return Actor([&container](Self& self) {
    const auto reading = container.read();
    self.mark(1);
    self.await_go(1);
  });
}

/// The commit waits for a reader, who goes when the victim sleeps.
struct CommitBesideReader : Insert {
  Actor reader;
  void set() override {
    reader = reader_in(container);
    must(reader.await(1), "the reader does not read");
  }
  Sleep on_sleep(int /*nth*/) override {
    reader.go(1);
    return Sleep::woken;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    reader.go(1);
    if (!findings.finishes(reader, "the reader")) return;
    judge_content(findings, old_or_new());
  }
};

/// Another writer sleeps until the victim's end.
struct CommitBesideWriter : Insert {
  Actor writer;
  std::optional<Container::WriteGuard> guard;
  void ready() override {
    ContainerScene::ready();
    guard.emplace(container.write());
    (*guard)->emplace(21, shared::string(text(21)));
  }
  void placed() override {
    writer = Actor([this](Self& self) {
      self.mark(1);
      container.with([](Texts& texts) { texts.emplace(22, shared::string(text(22))); });
    });
    writer.await_blocked();
  }
  void operate() override {
    guard.reset();
    returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (!findings.finishes(writer, "the sleeping writer")) return;
    auto right = old_or_new();
    for (Content& content : right) content[22] = text(22);
    judge_content(findings, right);
  }
};

/// The end of a read for which a writer waits in its commit.
struct ReaderLeaves : Insert {
  Actor writer;
  std::optional<Container::ReadGuard> guard;
  void ready() override {
    ContainerScene::ready();
    guard.emplace(container.read());
  }
  void placed() override {
    writer = Actor([this](Self& self) {
      self.mark(1);
      container.write()->emplace(21, shared::string(text(21)));
    });
    writer.await_blocked();
  }
  void operate() override { guard.reset(); }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (!findings.finishes(writer, "the writer")) return;
    judge_content(findings, {next});
  }
};

/// A writer was killed after its commit and before all of its pages were copied.
struct Unfinished : SeveralPages {
  void set() override {
    Actor reader = reader_in(container);
    must(reader.await(1), "the reader does not read");
    Actor writer([this](Self& self) {
      self.mark(1);
      SeveralPages::operate();
    });
    writer.await_blocked();
    writer.kill();
    reader.go(1);
    must(reader.await_done(), "the reader does not leave");
    returned = 0;
  }
};

/// What was committed is finished by the reader who is the victim, or by those who come after it.
struct ReadFinishes : Unfinished {
  void operate() override { returned = shared::to_std(*container.read()) == next ? 1 : 2; }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    findings.check(returned != 2, "a reader read something else than was committed");
    judge_content(findings, {next});
  }
};
struct WriteFinishes : Unfinished {
  void operate() override {
    container.write()->erase(30);
    returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    Content after = next;
    after.erase(30);
    judge_content(findings, returned != 0 ? std::vector<Content>{after} : std::vector<Content>{next, after});
  }
};

/// What a fresh process finds of a change in place: it is damaged and says so, or it is whole.
struct InPlace : Insert {
  void operate() override {
    container.change_in_place([](Texts& texts) { texts.emplace(21, shared::string(text(21))); });
    returned = 1;
  }
  /// True if it was damaged; it is not any more.
  bool renew_if_damaged(Findings& findings, const Content& content) {
    auto& damaged = shared_zero(2);
    findings.fresh("a fresh process that renews", [&](Self&) {
      auto opened = Container::open(container.handle());
      try {
        (void)opened.read();
      } catch (const brood::ContainerDamaged& error) {
        damaged = 1;
        bool refused = false;
        try {
          (void)opened.write();
        } catch (const brood::ContainerDamaged&) {
          refused = true;
        }
        must(refused && error.dead_pid() > 0, "a damaged container can be written to");
        opened.reset();
        opened.with([&](Texts& texts) { put(texts, content); });
      }
    });
    return damaged != 0;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    const bool damaged = renew_if_damaged(findings, next);
    findings.check(!damaged || returned == 0, "damaged although the change in place was over");
    judge_content(findings, damaged ? std::vector<Content>{next} : old_or_new());
  }
};

/// A repair: it is made, or the container is as damaged as before.
struct Recover : InPlace {
  void set() override {
    Actor writer([this](Self& self) {
      container.change_in_place([&](Texts& texts) {
        texts.erase(5);
        self.mark(1);
        self.await_go(1);
      });
    });
    must(writer.await(1), "nobody changes in place");
    writer.kill();
    next = old_content();
  }
  void operate() override {
    container.recover([](Texts& texts) { texts.insert_or_assign(5, shared::string(text(5))); });
    returned = 1;
  }
};

/// Nothing of a container is left that was not made whole.
struct Make : Scene {
  void ready() override {
    settle_in();
    const Container scratch(kSmall);
  }
  void operate() override { const Container made(kSmall); }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    findings.fresh("a fresh process", [](Self&) {
      Container made(kSmall);
      made.write()->emplace(1, shared::string("x"));
    });
  }
};

}  // namespace

/// Most instructions of a commit are the bytes of pages that are copied, one of which is like the others; the insert is
/// swept in full.
constexpr long kCopies = 200;

void add_container_operations(Operations& all) {
  add<Insert>(all, "Container: insert; nobody waits");
  add_every<Erase>(all, kCopies, "Container: erase; nobody waits");
  add_every<Grow>(all, kCopies, "Container: insert that grows the heap");
  add_every<SeveralPages>(all, kCopies, "Container: commit of several pages");
  add_every<Nested>(all, kCopies, "Container: write in a write");
  add_every<Abandon>(all, kCopies, "Container: write, abandon");
  add<Read>(all, "Container: read; nobody waits");
  add_every<Reset>(all, kCopies, "Container: reset");
  add_every<CommitBesideReader>(all, kCopies, "Container: commit waits for a reader");
  add_every<CommitBesideWriter>(all, kCopies, "Container: end of a write; a writer sleeps");
  add<ReaderLeaves>(all, "Container: end of a read; a commit waits for it");
  add_every<ReadFinishes>(all, kCopies, "Container: read that finishes a dead writer's commit");
  add_every<WriteFinishes>(all, kCopies, "Container: write that finishes a dead writer's commit");
  add<InPlace>(all, "Container: change in place");
  add_every<Recover>(all, kCopies, "Container: recover after a change in place");
  add_long<Make>(all, "Container: make and let go");
}

}  // namespace fault
