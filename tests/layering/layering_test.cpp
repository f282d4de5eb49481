// The rooms stack one way — and the checker that says so notices when they do not.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <vector>

#include "layering/layers.hpp"

namespace fs = std::filesystem;

namespace {

std::string listed(const std::vector<std::string>& lines) {
  std::string text;
  for (const auto& line : lines) text += line + '\n';
  return text;
}

/// A small clean checkout of its own, into which each test plants one breach.
class LayeringCheck : public ::testing::Test {
 protected:
  LayeringCheck() {
    std::string pattern = (fs::temp_directory_path() / "brood-layering-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr)
      throw std::system_error(errno, std::generic_category(), "mkdtemp " + pattern);
    root_ = pattern;
    std::string build_file;
    for (const std::string room : {"base", "os", "shm", "registry", "sync", "wire", "channel", "shared", "process",
                                   "net", "wait", "call", "remote", "log", "pool", "manager"}) {
      write("lib/" + room + "/README.md", "# " + room + "\n");
      write("lib/" + room + "/meson.build", "");
      write("lib/" + room + "/x.hpp", "#include <vector>\n#include \"base/x.hpp\"\n");
      build_file += "subdir('" + room + "')\n";
    }
    write("lib/meson.build", build_file);
    write("include/brood/error.hpp", "// Errors.   (room: base)\n#pragma once\n#include <string>\n");
    write("include/brood/lock.hpp", "// Lock.  (room: sync)\n#include <chrono>\n#include \"brood/error.hpp\"\n");
    write("include/brood/queue.hpp", "// Queue.  (room: channel)\n#include \"brood/lock.hpp\"\n");
    write("include/brood/detail/codec_fields.hpp", "// Codec.  (room: wire)\n#include <boost/pfr/core.hpp>\n");
    write("include/brood/brood.hpp", "// All of it.\n#include \"brood/queue.hpp\"\n");
    write("lib/sync/lock.cpp", "#include \"brood/lock.hpp\"\n#include <boost/x.hpp>\n#include \"registry/x.hpp\"\n");
    write("lib/os/futex.cpp", "#include <linux/futex.h>\n#include <sys/syscall.h>\n");
    write("examples/01_lock.cpp", "#include \"brood/lock.hpp\"\n#include <iostream>\n");
  }
  ~LayeringCheck() override { fs::remove_all(root_); }

  void write(const std::string& path, const std::string& text) const {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream out(root_ / path);
    out << text;
    ASSERT_TRUE(out.flush()) << path;
  }

  /// The planted breach, and nothing else, is found.
  void expect_breach(const std::string& where, const std::string& what) const {
    const auto found = layering::breaches(root_);
    ASSERT_EQ(found.size(), 1U) << listed(found);
    EXPECT_EQ(found[0].rfind(where, 0), 0U) << found[0];
    EXPECT_NE(found[0].find(what), std::string::npos) << found[0];
  }

  fs::path root_;
};

}  // namespace

TEST(Layering, RoomsOfThisCheckoutStackOneWay) {
  const auto found = layering::breaches(BROOD_SOURCE_ROOT);
  EXPECT_TRUE(found.empty()) << listed(found);
}

TEST_F(LayeringCheck, ACleanTreeHasNoBreach) {
  const auto found = layering::breaches(root_);
  EXPECT_TRUE(found.empty()) << listed(found);
}

TEST_F(LayeringCheck, FindsAnUpwardInclude) {
  write("lib/os/bad.cpp", "\n  #  include \"sync/x.hpp\"  // why not\n");
  expect_breach("lib/os/bad.cpp:2:", "upward: os includes \"sync/x.hpp\" of sync");
}

TEST_F(LayeringCheck, FindsAnUpwardIncludeOfAPublicHeader) {
  write("lib/registry/bad.cpp", "#include \"brood/queue.hpp\"\n");
  expect_breach("lib/registry/bad.cpp:1:", "upward: registry includes \"brood/queue.hpp\" of channel");
}

TEST_F(LayeringCheck, FindsAnUpwardIncludeBetweenPublicHeaders) {
  write("include/brood/lock.hpp", "// Lock.  (room: sync)\n#include \"brood/queue.hpp\"\n");
  expect_breach("include/brood/lock.hpp:2:", "upward: sync includes \"brood/queue.hpp\" of channel");
}

TEST_F(LayeringCheck, FindsAnUpwardIncludeOfTheHeaderOfAll) {
  write("lib/process/bad.cpp", "#include \"brood/brood.hpp\"\n");
  expect_breach("lib/process/bad.cpp:1:", "upward: process includes \"brood/brood.hpp\"");
}

TEST_F(LayeringCheck, FindsEachPairOfStrangers) {
  for (const auto& [one, other] : {std::pair("sync", "wire"), std::pair("channel", "shared"),
                                   std::pair("process", "net"), std::pair("remote", "log")}) {
    for (const auto& [from, to] : {std::pair(one, other), std::pair(other, one)}) {
      for (const std::string room : {from, to}) {
        write("lib/" + room + "/README.md", "");
        write("lib/" + room + "/meson.build", "");
      }
      const std::string bad = std::string("lib/") + from + "/bad.hpp";
      write(bad, std::string("#include \"") + to + "/x.hpp\"\n");
      expect_breach(bad, std::string("sideways: ") + from);
      fs::remove(root_ / bad);
    }
  }
}

TEST_F(LayeringCheck, FindsCliUsingTheInside) {
  write("lib/cli/README.md", "");
  write("lib/cli/meson.build", "");
  write("lib/cli/main.cpp", "#include \"brood/queue.hpp\"\n#include \"sync/x.hpp\"\n");
  expect_breach("lib/cli/main.cpp:2:", "public headers only");
}

TEST_F(LayeringCheck, FindsWhatAPublicHeaderMayNotInclude) {
  for (const std::string include : {"<boost/pfr/core.hpp>", "<absl/strings/str_cat.h>", "<unistd.h>", "<sys/mman.h>",
                                    "<linux/futex.h>", "\"sync/x.hpp\"", "\"error.hpp\""}) {
    write("include/brood/error.hpp", "// Errors.  (room: base)\n#include " + include + "\n");
    expect_breach("include/brood/error.hpp:2:", "a public header includes ");
  }
}

TEST_F(LayeringCheck, TheCodecMayUsePfrAndNothingElseOfBoost) {
  write("include/brood/detail/codec_fields.hpp",
        "// Codec.  (room: wire)\n#include <boost/pfr.hpp>\n#include <boost/any.hpp>\n");
  expect_breach("include/brood/detail/codec_fields.hpp:3:", "<boost/any.hpp>");
}

TEST_F(LayeringCheck, FindsAPublicHeaderWithoutRoom) {
  write("include/brood/value.hpp", "// Value.\n#pragma once\n");
  expect_breach("include/brood/value.hpp:1:", "(room: …)");
  write("include/brood/value.hpp", "// Value.  (room: attic)\n#pragma once\n");
  expect_breach("include/brood/value.hpp:1:", "'attic' is no room");
}

TEST_F(LayeringCheck, FindsIncludesThatNameNoRoom) {
  write("lib/sync/bad.cpp", "#include \"x.hpp\"\n");
  expect_breach("lib/sync/bad.cpp:1:", "names neither a room's file nor a public header");
  write("lib/sync/bad.cpp", "#include \"../process/x.hpp\"\n");
  expect_breach("lib/sync/bad.cpp:1:", "names neither a room's file nor a public header");
  write("lib/sync/bad.cpp", "#include HIDDEN\n");
  expect_breach("lib/sync/bad.cpp:1:", "through a macro");
}

TEST_F(LayeringCheck, FindsRawSystemCallsOutsideOs) {
  for (const std::string include : {"<linux/futex.h>", "<sys/syscall.h>"}) {
    write("lib/sync/bad.cpp", "#include " + include + "\n");
    expect_breach("lib/sync/bad.cpp:1:", "only the room os");
  }
}

TEST_F(LayeringCheck, FindsMissingPapersAndUnknownRooms) {
  fs::remove(root_ / "lib/shm/README.md");
  expect_breach("lib/shm:", "no README.md");
  write("lib/shm/README.md", "");
  fs::remove(root_ / "lib/shm/meson.build");
  expect_breach("lib/shm:", "no meson.build");
  write("lib/shm/meson.build", "");
  write("lib/attic/README.md", "");
  write("lib/attic/meson.build", "");
  expect_breach("lib/attic:", "is no room");
  fs::remove_all(root_ / "lib/attic");
  fs::remove_all(root_ / "lib/shared");
  expect_breach("lib/shared:", "the room is missing");
}

TEST_F(LayeringCheck, FindsABuildFileOutOfOrder) {
  write("lib/meson.build", "subdir('base')\nsubdir('sync')\nsubdir('os')\n");
  expect_breach("lib/meson.build:3:", "os stands above a room that it lies below");
  write("lib/meson.build", "");
  expect_breach("lib/meson.build:0:", "enters no room");
}

TEST_F(LayeringCheck, FindsAnExampleThatLooksInside) {
  for (const std::string include : {"sync/x.hpp", "brood/detail/codec_fields.hpp", "helpers.hpp"}) {
    write("examples/01_lock.cpp", "#include \"" + include + "\"\n");
    expect_breach("examples/01_lock.cpp:1:", "no public header");
  }
}
