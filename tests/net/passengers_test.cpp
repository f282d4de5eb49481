// Descriptors and shared objects in messages over sockets.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <array>

#include "brood/domain.hpp"
#include "brood/event.hpp"
#include "brood/lock.hpp"
#include "brood/queue.hpp"
#include "net/peers.hpp"
#include "support/inspect.hpp"

namespace nets {
namespace {

using brood::Descriptor;
using ladder::Child;
using ladder::expect_error;
using ladder::Line;
using ladder::require;

class Passengers : public support::NoLeaks {};
const Way kPath{"path", ""};
const Way kTcp{"tcp", "tcp:127.0.0.1:0"};
const Way kTls{"tls", "", false, true};

struct File {
  std::string name;
  Descriptor descriptor;
};

std::pair<Descriptor, Descriptor> kernel_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}
std::string read_from(int fd) {
  std::array<char, 100> some{};
  const ssize_t got = ::read(fd, some.data(), some.size());
  return {some.data(), got > 0 ? static_cast<std::size_t>(got) : 0};
}
void write_to(int fd, const std::string& text) {
  require(::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()), "write");
}

TEST_F(Passengers, ADescriptorOpensTheSameFileThere) {
  auto [ours, theirs] = connected<File>(kPath);
  auto [reader, writer] = kernel_pipe();
  Child child([&end = theirs](Line&) {
    const File file = end.recv();
    require(file.name == "out", "the value");
    write_to(file.descriptor.get(), "from there");
    require((::fcntl(file.descriptor.get(), F_GETFD) & FD_CLOEXEC) != 0, "close-on-exec");
  });
  ours.send({"out", std::move(writer)});
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(read_from(reader.get()), "from there");
}

TEST_F(Passengers, SeveralInOneMessageKeepTheirPlaces) {
  auto [ours, theirs] = connected<std::vector<Descriptor>>(kPath);
  std::vector<Descriptor> writers;
  std::vector<Descriptor> readers;
  for (int i = 0; i < 5; ++i) {
    auto [reader, writer] = kernel_pipe();
    readers.push_back(std::move(reader));
    writers.push_back(std::move(writer));
  }
  ours.send(writers);
  ours.send({});
  writers.clear();
  std::vector<Descriptor> got = theirs.recv();
  ASSERT_EQ(got.size(), 5U);
  for (std::size_t i = 0; i < got.size(); ++i) {
    write_to(got[i].get(), std::to_string(i));
    EXPECT_EQ(read_from(readers[i].get()), std::to_string(i));
  }
  EXPECT_TRUE(theirs.recv().empty());
}

TEST_F(Passengers, WithALongMessageAndAnOptional) {
  struct Long {
    std::string text;
    std::optional<Descriptor> maybe;
    std::optional<Descriptor> none;
  };
  auto [ours, theirs] = connected<Long>(kPath);
  auto [reader, writer] = kernel_pipe();
  std::thread sender([&end = ours, &writer = writer] {
    end.send({std::string(5'000'000, 'x'), std::move(writer), std::nullopt});
  });
  Long got = theirs.recv();
  sender.join();
  EXPECT_EQ(got.text.size(), 5'000'000U);
  EXPECT_FALSE(got.none.has_value());
  write_to(got.maybe->get(), "x");
  EXPECT_EQ(read_from(reader.get()), "x");
}

TEST_F(Passengers, ManyAndTooMany) {
  auto [ours, theirs] = connected<std::vector<Descriptor>>(kPath);
  auto [reader, writer] = kernel_pipe();
  std::vector<Descriptor> many;
  for (int i = 0; i < 253; ++i) many.push_back(writer.copy());
  ours.send(many);
  EXPECT_EQ(theirs.recv().size(), 253U);
  many.push_back(writer.copy());
  expect_error<brood::UsageError>([&end = ours, &many] { end.send(many); }, {"253"});
  EXPECT_FALSE(theirs.poll());
}

// CPython's test_large_fd_transfer: numbers above 256 on both sides.
TEST_F(Passengers, LargeNumbers) {
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const int large = ::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 700);
  ASSERT_GE(large, 700) << "the limit of open files is " << limit.rlim_cur;
  auto [ours, theirs] = connected<Descriptor>(kPath);
  ours.send(Descriptor(large));
  const Descriptor got = theirs.recv();
  struct stat a {};
  struct stat b {};
  ASSERT_EQ(::fstat(got.get(), &a), 0);
  ASSERT_EQ(::fstat(STDERR_FILENO, &b), 0);
  EXPECT_EQ(a.st_ino, b.st_ino);
}

TEST_F(Passengers, ElsewhereTheyCannotTravel) {
  auto [reader, writer] = kernel_pipe();
  for (const Way& way : {kTcp, kTls}) {
    auto [ours, theirs] = connected<Descriptor>(way);
    expect_error<brood::UsageError>([&end = ours, &writer = writer] { end.send(writer); },
                                    {"Unix-socket", "without TLS"});
    EXPECT_FALSE(theirs.poll());
  }
  auto [one, other] = brood::pipe<Descriptor>();
  expect_error<brood::UsageError>([&end = one, &writer = writer] { end.send(writer); },
                                  {one.handle().str(), "Unix-socket connections only"});
  brood::Queue<Descriptor> queue;
  expect_error<brood::UsageError>([&queue, &writer = writer] { queue.put(writer); }, {"Unix-socket connections only"});
  EXPECT_EQ(queue.qsize(), 0U);
  auto [ours, theirs] = connected<Descriptor>(kPath);
  expect_error<brood::UsageError>([&end = ours] { end.send(Descriptor()); }, {"holds nothing"});
}

// CPython's test_missing_fd_transfer.
TEST_F(Passengers, AMessageThatLacksItsDescriptorIsAnError) {
  auto [ours, theirs] = connected<Descriptor>(kPath);
  brood::Encoder encoder;
  encoder.carry_descriptors();
  encoder.descriptor(0);
  ours.send_bytes(encoder.bytes());
  expect_error<brood::DecodeError>([&end = theirs] { (void)end.recv(); }, {"0 descriptors"});
  ours.send_bytes("x");
  EXPECT_THROW((void)theirs.recv(), brood::DecodeError);
  auto [reader, writer] = kernel_pipe();
  ours.send(writer);
  EXPECT_TRUE(theirs.recv()) << "the connection is as good as before";
  // Received as bytes, it is nobody's and is closed.
  ours.send(writer);
  writer.close();
  EXPECT_FALSE(theirs.recv_bytes().empty());
  EXPECT_EQ(read_from(reader.get()), "") << "the last writer has gone";
}

TEST_F(Passengers, WhatIsNeverReceivedIsClosed) {
  auto [reader, writer] = kernel_pipe();
  {
    auto [ours, theirs] = connected<Descriptor>(kPath);
    ours.send(writer);
    writer.close();
  }
  EXPECT_EQ(read_from(reader.get()), "");
  // A message that was taken back: the other end drops what came with it.
  auto [again, other] = kernel_pipe();
  auto [ours, theirs] = connected<File>(kPath);
  EXPECT_FALSE(ours.try_send_for({std::string(24 << 20, 'x'), std::move(other)}, 5ms));
  other.close();
  EXPECT_FALSE(theirs.try_recv().has_value());
  std::thread sender([&end = ours] {
    auto [r, w] = kernel_pipe();
    end.send({"next", std::move(w)});
  });
  EXPECT_EQ(theirs.recv().name, "next");
  sender.join();
  EXPECT_EQ(read_from(again.get()), "");
}

TEST_F(Passengers, AHostilePeersDescriptorsAreClosed) {
  brood::Listener<std::string> listener;
  auto [reader, writer] = kernel_pipe();
  const auto client = [&] {
    RawPeer peer(listener.address());
    peer.hello(false);
    peer.write_note(kType, type_body<std::string>());
    return peer;
  };
  {
    const RawPeer peer = client();
    auto ours = listener.accept();
    // With a message that does not announce them; inside one; far too many.
    peer.send_descriptors(frame_header(1, 1) + "\xa0\xa5", {writer.get(), writer.get()});
    expect_error<brood::DecodeError>([&] { (void)ours.recv(); }, {"2 descriptors came"});
    peer.write(frame_header(8, 3));
    for (int i = 0; i < 8 && ours.writable(); ++i) {
      try {
        peer.send_descriptors(std::string(1, i == 0 ? '\x08' : '\0'), std::vector<int>(60, writer.get()));
      } catch (const std::system_error&) {
        break;  // we are thrown out
      }
    }
    EXPECT_THROW((void)ours.recv(), brood::DecodeError);
  }
  {
    RawPeer peer(listener.address());
    peer.send_descriptors(frame_header(10, 16), {writer.get()});
    EXPECT_THROW((void)listener.accept(), brood::DecodeError);
  }
  writer.close();
  EXPECT_EQ(read_from(reader.get()), "") << "nobody kept one";
}

TEST_F(Passengers, NoRoomForDescriptorsIsSaidAndTheNextMessageIsFine) {
  auto [ours, theirs] = connected<std::vector<Descriptor>>(kPath);
  Child child([&end = theirs](Line& line) {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    const int next = Descriptor::copy_of(STDERR_FILENO).get();
    const rlimit tight{static_cast<rlim_t>(next) + 2, limit.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &tight);
    line.say();
    int code = 0;
    try {
      (void)end.recv();
    } catch (const brood::OsError& error) {
      ::setrlimit(RLIMIT_NOFILE, &limit);  // first: the undefined behaviour sanitizer needs a descriptor to look at it
      code = error.code().value();
    }
    require(code == EMFILE, "no room");
    require(end.recv().size() == 1, "the next one");
  });
  child.line.expect();
  auto [reader, writer] = kernel_pipe();
  std::vector<Descriptor> many;
  for (int i = 0; i < 20; ++i) many.push_back(writer.copy());
  ours.send(many);
  many.resize(1);
  ours.send(many);
  EXPECT_EQ(child.wait(), 0);
}

// --- shared objects --------------------------------------------------------------------------------------------------

using Locks = std::vector<brood::Lock>;

TEST_F(Passengers, SharedObjectsAreReopenedByTheReceiver) {
  for (const Way& way : {kPath, kTcp, kTls}) {
    auto [ours, theirs] = connected<Locks>(way);
    Locks locks;
    for (int i = 0; i < 3; ++i) locks.push_back(brood::Lock::open(i == 0 ? brood::Lock().handle() : locks[0].handle()));
    locks[0].lock();
    ours.send(locks);
    const Locks got = theirs.recv();
    ASSERT_EQ(got.size(), 3U);
    EXPECT_TRUE(got[2].locked());
    EXPECT_EQ(got[1].handle(), locks[0].handle());
    locks[0].unlock();
  }
}

TEST_F(Passengers, AMessageOverAUnixSocketKeepsItsObjects) {
  auto [ours, theirs] = connected<Locks>(kPath);
  brood::Handle handle;
  {
    Locks locks(1);
    handle = locks[0].handle();
    ours.send(locks);
  }
  (void)brood::gc();
  {
    Locks got = theirs.recv();
    ASSERT_EQ(got.size(), 1U);
    EXPECT_EQ(got[0].handle(), handle);
    got[0].lock();
  }
  EXPECT_THROW((void)brood::Lock::open(handle), brood::HandleError) << "freed with the last user";
}

TEST_F(Passengers, AlsoWhenItsSenderWasKilled) {
  brood::Listener<Locks> listener;
  Child child([&](Line& line) {
    auto end = brood::connect<Locks>(listener.address());
    end.send(Locks(3));
    line.say();
    (void)line.hear();
  });
  child.line.expect();
  child.kill();
  (void)brood::gc();
  auto ours = listener.accept();
  EXPECT_EQ(ours.recv().size(), 3U);
}

TEST_F(Passengers, WhatNobodyReceivedIsFreed) {
  brood::Handle handle;
  {
    auto [ours, theirs] = connected<Locks>(kPath);
    Locks locks(1);
    handle = locks[0].handle();
    ours.send(locks);
  }
  (void)brood::gc();
  EXPECT_THROW((void)brood::Lock::open(handle), brood::HandleError);
}

TEST_F(Passengers, OverTcpAHandleKeepsNothingAlive) {
  for (const Way& way : {kTcp, kTls}) {
    auto [ours, theirs] = connected<Locks>(way);
    brood::Handle handle;
    {
      Locks locks(1);
      handle = locks[0].handle();
      ours.send(locks);
    }
    expect_error<brood::HandleError>([&end = theirs] { (void)end.recv(); }, {handle.str()});
    Locks living(1);
    ours.send(living);
    EXPECT_EQ(theirs.recv()[0].handle(), living[0].handle());
  }
}

TEST_F(Passengers, NamedObjectsAndMoreThanTheKernelCarries) {
  auto [ours, theirs] = connected<Locks>(kPath);
  Locks locks;
  locks.push_back(brood::Lock::open_or_create("net-passenger"));
  ours.send(locks);
  EXPECT_EQ(theirs.recv()[0].handle(), locks[0].handle());
  locks.clear();
  EXPECT_TRUE(brood::Lock::remove("net-passenger"));
  locks = Locks(253);
  ours.send(locks);
  EXPECT_EQ(theirs.recv().size(), 253U);
  locks.emplace_back();
  expect_error<brood::UsageError>([&end = ours, &locks] { end.send(locks); }, {"253", "254"});
  EXPECT_FALSE(theirs.poll());
}

TEST_F(Passengers, AnEndOfAPipeInAMessageIsHeld) {
  auto [ours, theirs] = connected<brood::Connection<int>>(kPath);
  auto [here, there] = brood::pipe<int>();
  ours.send(there);
  there.close();
  here.send(5);
  EXPECT_FALSE(here.poll()) << "the other end is on its way, that is no end of file";
  auto got = theirs.recv();
  EXPECT_EQ(got.recv(), 5);
  got.send(6);
  EXPECT_EQ(here.recv(), 6);
  got.close();
  EXPECT_THROW((void)here.recv(), brood::EndOfFile);
}

}  // namespace
}  // namespace nets
