// The checker of the examples notices a wrong one.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <stdexcept>
#include <string>
#include <system_error>

#include "examples/expectation.hpp"

namespace fs = std::filesystem;
using examples::compare;
using examples::read_expectation;

TEST(Expectation, IsTheRestOfTheFirstComment) {
  const auto expected =
      read_expectation("// A lock.\n//\n// Output:\n//   one\n//     two\n//\n//   three\nint main() {}\n// four\n");
  EXPECT_FALSE(expected.any_order);
  EXPECT_FALSE(expected.regular_expressions);
  EXPECT_EQ(expected.lines, (std::vector<std::string>{"one", "  two", "", "three"}));
}

TEST(Expectation, ReadsItsModes) {
  EXPECT_TRUE(read_expectation("// Output (any order):\n// x\n").any_order);
  EXPECT_TRUE(read_expectation("// Output (regular expressions):\n// x\n").regular_expressions);
  const auto both = read_expectation("// Output (any order, regular expressions):\n// x\n");
  EXPECT_TRUE(both.any_order);
  EXPECT_TRUE(both.regular_expressions);
}

TEST(Expectation, RefusesASourceThatPromisesNothing) {
  EXPECT_THROW((void)read_expectation(""), std::runtime_error);
  EXPECT_THROW((void)read_expectation("// A lock.\nint main() {}\n"), std::runtime_error);
  EXPECT_THROW((void)read_expectation("int main() {}\n// Output:\n//   late\n"), std::runtime_error);
  EXPECT_THROW((void)read_expectation("// Output:\nint main() {}\n"), std::runtime_error);
  EXPECT_THROW((void)read_expectation("// Output (sorted):\n//   x\n"), std::runtime_error);
}

TEST(Compare, AcceptsExactlyThePromisedLines) {
  const auto expected = read_expectation("// Output:\n//   one\n//   two\n");
  EXPECT_EQ(compare(expected, "one\ntwo\n"), "");
  for (const std::string wrong :
       {"", "one\n", "two\none\n", "one\ntwo", "one\ntwo\nthree\n", "one\n\ntwo\n", "one\ntwo \n"}) {
    EXPECT_NE(compare(expected, wrong), "") << wrong;
  }
}

TEST(Compare, AnyOrderCountsEachLine) {
  const auto expected = read_expectation("// Output (any order):\n//   a\n//   a\n//   b\n");
  EXPECT_EQ(compare(expected, "a\nb\na\n"), "");
  for (const std::string wrong : {"a\nb\n", "a\nb\nb\n", "a\na\nb\nb\n", "a\na\nc\n", ""}) {
    EXPECT_NE(compare(expected, wrong), "") << wrong;
  }
}

TEST(Compare, RegularExpressionsMatchWholeLines) {
  const auto expected = read_expectation("// Output (regular expressions):\n//   pid [0-9]+\n");
  EXPECT_EQ(compare(expected, "pid 4711\n"), "");
  for (const std::string wrong : {"pid \n", "a pid 4711\n", "pid 4711 \n", "pid 4711\npid 4711\n"}) {
    EXPECT_NE(compare(expected, wrong), "") << wrong;
  }
}

namespace {

/// Runs the real checker with a shell script in place of the example.
class CheckExample : public ::testing::Test {
 protected:
  CheckExample() {
    std::string pattern = (fs::temp_directory_path() / "brood-check-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr)
      throw std::system_error(errno, std::generic_category(), "mkdtemp " + pattern);
    directory_ = pattern;
  }
  ~CheckExample() override { fs::remove_all(directory_); }

  /// The checker's exit code; what it said is in said_.
  int check(const std::string& script, const std::string& source = "// Output:\n//   hello\n") {
    std::ofstream(directory_ / "example.cpp") << source;
    const char* checker = std::getenv("BROOD_CHECK_EXAMPLE");
    if (checker == nullptr) throw std::runtime_error("BROOD_CHECK_EXAMPLE is not set: run by meson test");
    const std::string command = std::string(checker) + " '" + (directory_ / "example.cpp").string() + "' /bin/sh -c '" +
                                script + "' >'" + (directory_ / "said").string() + "' 2>&1";
    const int status = std::system(command.c_str());
    std::ifstream in(directory_ / "said");
    said_.assign(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  fs::path directory_;
  std::string said_;
};

}  // namespace

TEST_F(CheckExample, PassesAGoodOne) {
  EXPECT_EQ(check("echo hello"), 0) << said_;
  EXPECT_EQ(said_, "");
}

TEST_F(CheckExample, FailsOnWrongOutput) {
  EXPECT_EQ(check("echo hallo"), 1) << said_;
  EXPECT_NE(said_.find("promised: hello\n   and printed: hallo"), std::string::npos) << said_;
}

TEST_F(CheckExample, FailsOnABadEnd) {
  EXPECT_EQ(check("echo hello; exit 3"), 1);
  EXPECT_NE(said_.find("exit code 3"), std::string::npos) << said_;
  EXPECT_EQ(check("echo hello; kill -9 $$"), 1);
  EXPECT_NE(said_.find("killed by signal 9"), std::string::npos) << said_;
}

TEST_F(CheckExample, FailsWhenAFileStays) {
  EXPECT_EQ(check("echo hello; mkdir -p $BROOD_DOMAIN; touch $BROOD_DOMAIN/segment"), 1);
  EXPECT_NE(said_.find("it left a file: /dev/shm/brood-example-"), std::string::npos) << said_;
}

TEST_F(CheckExample, FailsWhenAProcessStays) {
  EXPECT_EQ(check("echo hello; sleep 1000 >/dev/null 2>&1 &"), 1);
  EXPECT_NE(said_.find("it left a process running: "), std::string::npos) << said_;
  EXPECT_NE(said_.find("sleep 1000"), std::string::npos) << said_;
}

TEST_F(CheckExample, FailsWithoutAPromise) {
  EXPECT_EQ(check("echo hello", "int main() {}\n"), 2);
  EXPECT_NE(said_.find("no line '// Output:'"), std::string::npos) << said_;
}

TEST(Examples, EachFileIsInTheBuild) {
  const fs::path folder = fs::path(BROOD_SOURCE_ROOT) / "examples";
  std::ifstream in(folder / "meson.build");
  const std::string build((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  ASSERT_FALSE(build.empty());
  for (const auto& entry : fs::directory_iterator(folder)) {
    static const std::regex kNumbered("[0-9][0-9]_.*\\.cpp");
    if (!std::regex_match(entry.path().filename().string(), kNumbered)) continue;
    EXPECT_NE(build.find("'" + entry.path().stem().string() + "'"), std::string::npos)
        << entry.path() << " is not listed in examples/meson.build, so it is neither built nor checked";
  }
}
