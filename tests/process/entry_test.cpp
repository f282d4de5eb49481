// The door into the program: who may come in, and what happens to the others.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/unique_fd.hpp"
#include "os/socket.hpp"
#include "process/process_support.hpp"

namespace {

using namespace process_test;
namespace fs = std::filesystem;
using brood::base::UniqueFd;

class Entry : public Processes {
 protected:
  static Ran enter_with(const std::string& value, RunOptions options = {}) {
    options.environment = {"BROOD_ENTER=" + value};
    return run_program(test_program("process_cases"), {"fork", "return"}, options);
  }
  static void expect_refused(const Ran& ran, const std::string& why) {
    EXPECT_EQ(ran.code, 255) << ran.out << ran.err;
    EXPECT_EQ(ran.out, "") << "main ran";
    EXPECT_NE(ran.err.find(why), std::string::npos) << ran.err;
    EXPECT_NE(ran.err.find("main() was not run"), std::string::npos) << ran.err;
  }
};

TEST_F(Entry, AValueThatIsNoDescriptorIsRefused) {
  for (const char* value : {"", "x", "-1", "7x", " 7", "99999999999999999999"})
    expect_refused(enter_with(value), "no descriptor's number");
}

TEST_F(Entry, ADescriptorThatIsNotOurSocketIsRefused) {
  expect_refused(enter_with("999"), "descriptor 999 is not a socket of brood");
  expect_refused(enter_with("1"), "descriptor 1 is not a socket of brood");
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const UniqueFd ours(ends[0]);
  const UniqueFd theirs(ends[1]);
  expect_refused(enter_with(std::to_string(theirs.get()), {.inherited = theirs.get()}), "is not a socket of brood");
}

TEST_F(Entry, ASocketOfAnotherProcessThanTheParentIsRefused) {
  const brood::os::SocketPair pair = brood::os::packet_socket_pair();
  ASSERT_EQ(pair.error, 0);
  const Ran ran =
      enter_with(std::to_string(pair.theirs.get()), {.inherited = pair.theirs.get(), .by_a_middleman = true});
  expect_refused(ran, "not to its parent");
}

TEST_F(Entry, AParentThatIsGoneEndsItQuietly) {
  brood::os::SocketPair pair = brood::os::packet_socket_pair();
  ASSERT_EQ(pair.error, 0);
  pair.ours.reset();
  const Ran ran = enter_with(std::to_string(pair.theirs.get()), {.inherited = pair.theirs.get()});
  EXPECT_EQ(ran.code, 255);
  EXPECT_EQ(ran.out, "");
  EXPECT_EQ(ran.err, "");
}

TEST_F(Entry, AProgramWithRaisedRightsIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can make a program that runs with other rights";
  // Not below /dev/shm, which is mounted nosuid; nobody may enter the directory of the build.
  std::string directory = (fs::temp_directory_path() / "brood-entry-XXXXXX").string();
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  ASSERT_EQ(::chmod(directory.c_str(), 0755), 0);
  const std::string program = directory + "/raised";
  fs::copy_file(test_program("process_cases"), program);
  ASSERT_EQ(::chown(program.c_str(), 65534, 65534), 0);
  ASSERT_EQ(::chmod(program.c_str(), 06755), 0);
  const brood::os::SocketPair pair = brood::os::packet_socket_pair();
  ASSERT_EQ(pair.error, 0);
  RunOptions options{.environment = {"BROOD_ENTER=" + std::to_string(pair.theirs.get())},
                     .inherited = pair.theirs.get()};
  expect_refused(run_program(program, {"fork", "return"}, options), "runs with raised rights");
  fs::remove_all(directory);
}

TEST_F(Entry, WithoutInitNoChildIsMade) {
  const Ran ran = run_program(test_program("process_unarmed"), {});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out.find("main runs"), ran.out.rfind("main runs")) << ran.out;
  EXPECT_EQ(ran.out.find("child runs"), ran.out.rfind("forked child runs") + 7) << ran.out;
  EXPECT_EQ(ran.out.find("\nstarted\n"), std::string::npos) << ran.out;
  std::size_t refusals = 0;
  for (std::size_t at = ran.out.find("refused: "); at != std::string::npos; at = ran.out.find("refused: ", at + 1))
    ++refusals;
  EXPECT_EQ(refusals, 2U) << ran.out;
  for (const char* cure : {"brood::init(argc, argv) first in main()", "brood-main", "StartMethod::fork",
                           "StartMethod::light", "pid none"}) {
    EXPECT_NE(ran.out.find(cure), std::string::npos) << cure << ran.out;
  }
}

TEST_F(Entry, BroodMainNeedsNoLine) {
  const Ran ran = run_program(test_program("process_wrapped"), {});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out,
            "main runs\nchild 7: static object ready\nchild 7: static object ready\nchild 7: static object ready\n");
}

TEST_F(Entry, WorksThroughTheLoader) {
  const fs::path loader = "/lib64/ld-linux-x86-64.so.2";
  if (!fs::exists(loader)) GTEST_SKIP() << "another loader than " << loader;
  for (const char* method : {"spawn", "forkserver"}) {
    const Ran ran = run_program(loader, {test_program("process_cases"), method, "exit", "5"});
    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_NE(ran.out.find("exitcode 5\n"), std::string::npos) << ran.out << ran.err;
  }
}

TEST_F(Entry, WorksAfterTheProgramWasDeleted) {
  for (const char* method : {"spawn", "forkserver"}) {
    std::string directory = (fs::temp_directory_path() / "brood-entry-XXXXXX").string();
    ASSERT_NE(::mkdtemp(directory.data()), nullptr);
    const std::string program = directory + "/program";
    fs::copy_file(test_program("process_cases"), program);
    const Ran ran = run_program(program, {method, "without-file"});
    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_TRUE(ran.out.starts_with("main runs\ndeleted\n")) << ran.out;
    EXPECT_NE(ran.out.find("exitcode 6\n"), std::string::npos) << ran.out << ran.err;
    EXPECT_FALSE(fs::exists(program));
    fs::remove_all(directory);
  }
}

}  // namespace
