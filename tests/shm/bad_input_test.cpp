// Damaged, foreign and impossible: each gets a typed error that says what to do.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>

#include "brood/condition.hpp"
#include "brood/domain.hpp"
#include "brood/event.hpp"
#include "brood/lock.hpp"
#include "brood/queue.hpp"
#include "brood/value.hpp"
#include "shm/segment.hpp"
#include "support/inspect.hpp"
#include "support/poke.hpp"
#include "sync/ladder.hpp"

namespace ladder {
namespace {

using brood::shm::SegmentHeader;
constexpr uid_t kNobody = 65534;

/// A named event's file, made by hand from a sound one.
class BadInput : public support::NoLeaks {
 protected:
  static std::string path_of(const std::string& name) { return (support::test_domain() / ("=" + name)).string(); }

  /// The bytes of a sound event.
  static std::string sound() {
    const auto event = brood::Event::create("crafted.model");
    std::ifstream file(path_of("crafted.model"), std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    EXPECT_TRUE(brood::Event::remove("crafted.model"));
    return bytes;
  }
  static void write(const std::string& name, const std::string& bytes) {
    std::ofstream file(path_of(name), std::ios::binary);
    file << bytes;
    file.close();
    ::chmod(path_of(name).c_str(), 0600);
  }
  /// Changes the header of a sound event and writes it as `crafted`.
  template <class Change>
  static void craft(Change change) {
    std::string bytes = sound();
    alignas(SegmentHeader) std::byte raw[sizeof(SegmentHeader)];
    std::memcpy(raw, bytes.data(), sizeof raw);
    change(*reinterpret_cast<SegmentHeader*>(raw));
    std::memcpy(bytes.data(), raw, sizeof raw);
    write("crafted", bytes);
  }
  static void expect_refused(const std::vector<std::string>& words) {
    std::vector<std::string> all = words;
    all.emplace_back("crafted");
    expect_error<brood::TypeMismatch>([] { (void)brood::Event::open_named("crafted"); }, all);
    expect_error<brood::TypeMismatch>([] { (void)brood::Event::open_or_create("crafted"); }, all);
    EXPECT_EQ(::unlink(path_of("crafted").c_str()), 0);
  }
};

TEST_F(BadInput, CopyOfASoundSegmentOpens) {
  craft([](SegmentHeader&) {});
  auto event = brood::Event::open_named("crafted");
  event.set();
  EXPECT_TRUE(brood::Event::remove("crafted"));
}
TEST_F(BadInput, WrongMagic) {
  craft([](SegmentHeader& header) { header.magic ^= 1; });
  expect_refused({"magic"});
}
TEST_F(BadInput, OtherLayoutVersion) {
  craft([](SegmentHeader& header) { header.layout_version += 1; });
  const auto ours = brood::shm::kLayoutVersion;
  expect_refused({"layout version " + std::to_string(ours + 1), "speaks " + std::to_string(ours), "same brood"});
}
TEST_F(BadInput, OtherWordSizeAndByteOrder) {
  craft([](SegmentHeader& header) { header.word_bytes = 4; });
  expect_refused({"32-bit"});
  craft([](SegmentHeader& header) { header.little_endian ^= 1; });
  expect_refused({"byte order"});
}
TEST_F(BadInput, OtherKind) {
  craft([](SegmentHeader& header) { header.kind = static_cast<std::uint16_t>(brood::Kind::barrier); });
  expect_refused({"barrier", "event"});
  craft([](SegmentHeader& header) { header.kind = 999; });
  expect_refused({"event"});
}
TEST_F(BadInput, OtherPayload) {
  craft([](SegmentHeader& header) {
    header.type_fingerprint = 5;
    std::memset(header.type_name, 'T', sizeof header.type_name);  // not terminated either
  });
  expect_refused({"TTTT"});
}
TEST_F(BadInput, SizeThatDoesNotFitTheFile) {
  craft([](SegmentHeader& header) { header.size_bytes = 1 << 20; });
  expect_refused({"damaged", "4096", "1048576"});
}
TEST_F(BadInput, TruncatedFiles) {
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, std::size_t{191}, std::size_t{192}, std::size_t{4095}}) {
    write("crafted", sound().substr(0, size));
    expect_refused({size < 192 ? "too short" : "damaged"});
  }
}
/// A segment whose header is in order but which is too small for its kind must not be a way to SIGBUS.
TEST_F(BadInput, SegmentTooSmallForItsKind) {
  craft([](SegmentHeader& header) { header.kind = static_cast<std::uint16_t>(brood::Kind::condition); });
  Child child([](Line&) { EXPECT_THROW(brood::Condition::open_named("crafted").notify_all(), brood::TypeMismatch); });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(::unlink(path_of("crafted").c_str()), 0);
}
TEST_F(BadInput, RandomBytes) {
  write("crafted", std::string(4096, '\xA5'));
  expect_refused({"magic"});
}
TEST_F(BadInput, SymbolicLinkIsNotFollowed) {
  const auto event = brood::Event::create("real");
  ASSERT_EQ(::symlink("=real", path_of("crafted").c_str()), 0);
  expect_error<brood::PermissionDenied>([] { (void)brood::Event::open_named("crafted"); }, {"crafted"});
  EXPECT_EQ(::unlink(path_of("crafted").c_str()), 0);
  EXPECT_TRUE(brood::Event::remove("real"));
}
TEST_F(BadInput, DirectoryAndFifoInPlaceOfASegment) {
  ASSERT_EQ(::mkdir(path_of("crafted").c_str(), 0700), 0);
  EXPECT_THROW((void)brood::Event::open_named("crafted"), brood::OsError);
  EXPECT_EQ(::rmdir(path_of("crafted").c_str()), 0);
  ASSERT_EQ(::mkfifo(path_of("crafted").c_str(), 0600), 0);
  EXPECT_THROW((void)brood::Event::open_named("crafted"), brood::TypeMismatch);
  EXPECT_EQ(::unlink(path_of("crafted").c_str()), 0);
}

TEST_F(BadInput, FileOfAnotherUser) {
  const auto event = brood::Event::create("crafted");
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown(path_of("crafted").c_str(), kNobody, kNobody), 0);
    expect_error<brood::PermissionDenied>([] { (void)brood::Event::open_named("crafted"); },
                                          {"crafted", "65534", "runs as 0"});
  } else {
    ASSERT_EQ(::chmod(path_of("crafted").c_str(), 0), 0);
    expect_error<brood::PermissionDenied>([] { (void)brood::Event::open_named("crafted"); }, {"crafted", "permission"});
  }
  EXPECT_EQ(::unlink(path_of("crafted").c_str()), 0);
}

TEST_F(BadInput, ProcessOfAnotherUserMayNeitherLookNorMake) {
  const brood::Lock lock;
  const support::OwnDomain own;
  const auto become_another = [&] {
    if (::geteuid() != 0) {
      ASSERT_EQ(::chmod(own.path().c_str(), 0755), 0);  // all that a plain user can stage: a domain open to others
      own.choose();
    } else if (::setgid(kNobody) != 0 || ::setuid(kNobody) != 0) {
      ::_exit(99);
    }
  };
  const auto made = support::poke(become_another, "lock");
  EXPECT_EQ(made.said.find("PermissionDenied: "), 0U) << made.said;
  EXPECT_NE(made.said.find("BROOD_DOMAIN"), std::string::npos) << made.said;
  if (::geteuid() == 0) {
    const auto opened = support::poke(become_another, "open", lock.handle().str());
    EXPECT_EQ(opened.said.find("PermissionDenied: "), 0U) << opened.said;
  }
}

TEST_F(BadInput, DomainOpenToOthersIsRefused) {
  const support::OwnDomain own;
  ASSERT_EQ(::chmod(own.path().c_str(), 0755), 0);
  const auto made = support::poke([&] { own.choose(); }, "lock");
  EXPECT_EQ(made.said.find("PermissionDenied: the domain directory " + own.path()), 0U) << made.said;
  EXPECT_NE(made.said.find("0700"), std::string::npos) << made.said;
}

TEST_F(BadInput, DomainThatMayNotBeWrittenIsRefused) {
  const support::OwnDomain own;
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown(own.path().c_str(), kNobody, kNobody), 0);
  }
  ASSERT_EQ(::chmod(own.path().c_str(), 0500), 0);
  const auto made = support::poke(
      [&] {
        own.choose();
        if (::geteuid() == 0 && (::setgid(kNobody) != 0 || ::setuid(kNobody) != 0)) ::_exit(99);
      },
      "lock");
  EXPECT_EQ(made.said.find("PermissionDenied: cannot make a registry"), 0U) << made.said;
  EXPECT_NE(made.said.find(own.path()), std::string::npos) << made.said;
}

TEST_F(BadInput, LimitOfFileSizesIsSaid) {
  const support::OwnDomain own;
  const auto made = support::poke(
      [&] {
        own.choose();
        ::signal(SIGXFSZ, SIG_IGN);
        const rlimit small{4096, 4096};
        if (::setrlimit(RLIMIT_FSIZE, &small) != 0) ::_exit(99);
      },
      "lock");
  EXPECT_EQ(made.said.find("NoSpace: "), 0U) << made.said;
  EXPECT_NE(made.said.find("ulimit -f"), std::string::npos) << made.said;
}

TEST_F(BadInput, DomainThatIsALinkOrNowhereIsRefused) {
  const support::OwnDomain own;
  const std::string link = own.path() + "/link";
  ASSERT_EQ(::symlink("/tmp", link.c_str()), 0);
  for (const std::string& path : {link, own.path() + "/missing/deeper"}) {
    const auto made = support::poke([&] { ::setenv("BROOD_DOMAIN", path.c_str(), 1); }, "lock");
    EXPECT_EQ(made.code, 1);
    EXPECT_NE(made.said.find(path), std::string::npos) << made.said;
  }
}

/// In the child: a domain that has room for `bytes` only.
void choose_small_domain(const support::OwnDomain& own, std::size_t bytes) {
  own.choose();
  if (::geteuid() == 0) {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("tmpfs", own.path().c_str(), "tmpfs", 0, ("mode=0700,size=" + std::to_string(bytes)).c_str()) != 0) {
      ::_exit(99);
    }
  } else {
    ::signal(SIGXFSZ, SIG_IGN);  // a plain user's way to run out of room
    const rlimit limit{1024, 1024};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
}

TEST_F(BadInput, FullDomainIsNoSpaceWithSizesAndRemedies) {
  const support::OwnDomain own;
  const auto made = support::poke([&] { choose_small_domain(own, 4096); }, "lock");
  EXPECT_EQ(made.said.find("NoSpace: "), 0U) << made.said;
  for (const char* word : {"bytes are free", "remount", "shm-size", "BROOD_DOMAIN", "gc()"}) {
    EXPECT_NE(made.said.find(word), std::string::npos) << word << " is missing in: " << made.said;
  }
}

TEST_F(BadInput, QueueThatCannotGrowIsNoSpaceAndNoSigbus) {
  const support::OwnDomain own;
  const auto made = support::poke([&] { choose_small_domain(own, 1 << 20); }, "queue", "10000");
  EXPECT_EQ(made.code, 1) << made.said;
  EXPECT_EQ(made.said.find("NoSpace: "), 0U) << made.said;
  if (::geteuid() == 0) {
    EXPECT_NE(made.said.find("cannot grow"), std::string::npos) << made.said;
  }
}

TEST_F(BadInput, NoFreeDescriptorIsAnOsErrorWithTheCure) {
  const brood::Lock lock;
  Child child([&](Line&) {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    const rlimit before = limit;
    limit.rlim_cur = 3;
    require(::setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
    for (const auto& attempt : std::vector<std::function<void()>>{[] { const brood::Event event; },
                                                                  [&] { (void)brood::Lock::open(lock.handle()); }}) {
      try {
        attempt();
        ADD_FAILURE() << "worked without a descriptor";
      } catch (const brood::OsError& error) {
        EXPECT_EQ(error.code().value(), EMFILE);
        EXPECT_NE(std::string(error.what()).find("ulimit -n"), std::string::npos) << error.what();
      }
    }
    require(::setrlimit(RLIMIT_NOFILE, &before) == 0, "setrlimit");  // sanitizers need descriptors at the end
  });
  EXPECT_EQ(child.wait(), 0);
}

TEST_F(BadInput, DomainIsChosenOnceAndAbsolute) {
  expect_error<brood::UsageError>([] { brood::set_domain_directory("relative"); }, {"absolute", "relative"});
  expect_error<brood::UsageError>([] { brood::set_domain_directory(""); }, {"absolute"});
  expect_error<brood::UsageError>([] { brood::set_domain_directory("/somewhere/else"); },
                                  {brood::domain_directory(), "before the first"});
  brood::set_domain_directory(brood::domain_directory());  // the same again is fine
}

}  // namespace
}  // namespace ladder
