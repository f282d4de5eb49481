// A function is found again by another process of the same program, and by nobody else.
#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "brood/detail/callable.hpp"
#include "os/elf_identity.hpp"
#include "os/function_id.hpp"
#include "wire/round_trip.hpp"

using namespace wire_test;
using brood::os::FunctionId;
using brood::os::identify;
using brood::os::resolve;

namespace {

/// Where the programs of meson.build are; wire/ beside this test when it is run by hand.
std::filesystem::path programs() {
  if (const char* given = std::getenv("BROOD_WIRE_PEERS")) return given;
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / "wire";
}

struct Outcome {
  int code = -1;
  std::string said;
};

/// Runs a program to its end; its arguments need no quoting.
Outcome run(const std::vector<std::string>& arguments) {
  std::string command;
  for (const std::string& argument : arguments) command += "'" + argument + "' ";
  std::FILE* pipe = ::popen((command + "2>&1 </dev/null").c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("popen: " + command);
  Outcome outcome;
  char buffer[4096];
  while (const std::size_t size = std::fread(buffer, 1, sizeof buffer, pipe)) outcome.said.append(buffer, size);
  const int status = ::pclose(pipe);
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  if (!outcome.said.empty() && outcome.said.back() == '\n') outcome.said.pop_back();
  return outcome;
}

std::string peer(const std::string& name) { return (programs() / name).string(); }

/// What `receiver` makes of a call that `sender` packed.
Outcome pass(const std::string& sender, const std::string& receiver, const std::string& what,
             const std::string& plugin = "") {
  std::vector<std::string> arguments{peer(sender), "pack", what};
  if (!plugin.empty()) arguments.push_back(plugin);
  const Outcome packed = run(arguments);
  EXPECT_EQ(packed.code, 0) << packed.said;
  return run({peer(receiver), "run", packed.said});
}

/// A directory of this test's own.
class Directory {
 public:
  Directory() {
    std::string text = (std::filesystem::temp_directory_path() / "brood-wire-XXXXXX").string();
    if (::mkdtemp(text.data()) == nullptr) throw std::runtime_error("mkdtemp");
    path_ = text;
  }
  ~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  [[nodiscard]] std::filesystem::path operator/(const char* name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

int local_function(int n) { return n; }
template <class T>
int local_instance(T n) {
  return static_cast<int>(n);
}

template <class F>
const void* address(F* function) {
  return reinterpret_cast<const void*>(function);
}

class EveryLink : public ::testing::TestWithParam<const char*> {};

}  // namespace

TEST(FunctionId, ComesBackToTheSameAddress) {
  for (const void* code : {address(&local_function), address(&local_instance<int>), address(&local_instance<long>),
                           address(&std::abort), address(+[](int n) { return n * 2; })}) {
    const FunctionId id = identify(code);
    EXPECT_EQ(resolve(id), code);
    EXPECT_EQ(resolve(round_trip(id)), code) << "through the codec";
  }
  const FunctionId mine = identify(address(&local_function));
  EXPECT_TRUE(mine.is_main_program);
  EXPECT_EQ(mine.path, std::filesystem::read_symlink("/proc/self/exe").string());
  EXPECT_EQ(mine.build_id, brood::os::file_identity(mine.path));
}

TEST(FunctionId, AddressesThatAreNoCodeOfAModuleAreRefused) {
  const auto heap = std::make_unique<int>(1);
  EXPECT_CONTAINS(message_of<brood::UsageError>([&] { (void)identify(heap.get()); }), "belongs to no loaded module");
  EXPECT_CONTAINS(message_of<brood::UsageError>([&] { (void)identify(nullptr); }), "belongs to no loaded module");
  static int data = 0;
  EXPECT_CONTAINS(message_of<brood::UsageError>([&] { (void)identify(&data); }), "not code");
}

TEST(FunctionId, OtherProgramIsRefusedWithBothIds) {
  FunctionId id = identify(address(&local_function));
  const std::string mine = id.build_id;
  id.build_id = "00112233445566778899aabbccddeeff00112233";
  const std::string what = message_of<brood::StartError>([&] { (void)resolve(id); });
  EXPECT_CONTAINS(what, id.build_id);
  EXPECT_CONTAINS(what, mine);
}

TEST(FunctionId, OffsetsOutsideTheCodeAreRefused) {
  FunctionId id = identify(address(&local_function));
  for (const std::uint64_t offset : {std::uint64_t{0}, ~std::uint64_t{0}, std::uint64_t{1} << 40}) {
    id.offset = offset;
    EXPECT_CONTAINS(message_of<brood::StartError>([&] { (void)resolve(id); }), "no code at offset");
  }
}

TEST(FunctionId, ModulePathsAreTakenOnlyIfAbsoluteAndOfThatBuild) {
  const std::string other = "00112233445566778899aabbccddeeff00112233";
  EXPECT_CONTAINS(message_of<brood::StartError>([&] {
                    (void)resolve({other, 64, false, "plugin.so"});
                  }),
                  "path is not known");
  EXPECT_CONTAINS(message_of<brood::StartError>([&] {
                    (void)resolve({other, 64, false, "/nowhere/plugin.so"});
                  }),
                  "/nowhere/plugin.so");
  EXPECT_CONTAINS(message_of<brood::StartError>([&] {
                    (void)resolve({other, 64, false, "/dev/null"});
                  }),
                  "not a regular file");
  EXPECT_CONTAINS(message_of<brood::StartError>([&] {
                    (void)resolve({other, 64, false, "/proc/self/cmdline"});
                  }),
                  "cut short");
  const std::string plugin = peer("plugin.so");
  const std::string what = message_of<brood::StartError>([&] { (void)resolve({other, 64, false, plugin}); });
  EXPECT_CONTAINS(what, other);
  EXPECT_CONTAINS(what, brood::os::file_identity(plugin));
}

TEST(FunctionId, LoadsAndUnloadsOfModulesAreNoticed) {
  const std::string path = peer("plugin.so");
  FunctionId first;
  for (int i = 0; i < 3; ++i) {
    void* module = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(module, nullptr) << ::dlerror();
    const void* code = ::dlsym(module, "plugin_twice");
    const FunctionId id = identify(code);
    EXPECT_FALSE(id.is_main_program);
    EXPECT_EQ(id.path, path);
    EXPECT_EQ(id.build_id, brood::os::file_identity(path));
    EXPECT_EQ(resolve(id), code);
    ASSERT_EQ(::dlclose(module), 0);
    EXPECT_THROW((void)identify(code), brood::UsageError) << "the module is gone, and so is its code";
    first = id;
  }
  const void* loaded_again = resolve(first);  // by its path
  EXPECT_EQ(reinterpret_cast<int (*)(int)>(const_cast<void*>(loaded_again))(21), 42);
}

TEST(FunctionId, ThreadsMayAskAtTheSameTime) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      for (int k = 0; k < 1000; ++k) ASSERT_EQ(resolve(identify(address(&local_function))), address(&local_function));
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_P(EveryLink, CallsOfEveryKindArriveInAnotherProcess) {
  const std::string self = GetParam();
  EXPECT_EQ(pass(self, self, "plain").said, "result 6");
  EXPECT_EQ(pass(self, self, "text").said, "result 9");
  EXPECT_EQ(pass(self, self, "instance").said, "result 13");
  EXPECT_EQ(pass(self, self, "member").said, "result 82");
  EXPECT_EQ(pass(self, self, "lambda").said, "result 15");
  EXPECT_EQ(pass(self, self, "same_shape").said, "result 20");
  EXPECT_EQ(pass(self, self, "generic").said, "result 9");
  EXPECT_EQ(pass(self, self, "throws").said, "threw: target 5");
  EXPECT_EQ(pass(self, self, "plugin", peer("plugin.so")).said, "result 10");
  EXPECT_EQ(pass(self, self, "plugin_hidden", peer("plugin.so")).said, "result 3005");
}
INSTANTIATE_TEST_SUITE_P(Peers, EveryLink,
                         ::testing::Values("call_peer", "call_peer_no_build_id", "call_peer_hidden",
                                           "call_peer_no_pie"),
                         [](const auto& link) { return std::string(link.param); });

TEST(FunctionIdPeers, ARebuiltProgramIsRefusedWithBothIds) {
  for (const std::string kind : {"call_peer", "call_peer_no_build_id"}) {
    const Outcome outcome = pass(kind, kind + "_other", "plain");
    EXPECT_EQ(outcome.code, 3) << outcome.said;
    EXPECT_CONTAINS(outcome.said, "another build");
    EXPECT_CONTAINS(outcome.said, brood::os::file_identity(peer(kind)));
    EXPECT_CONTAINS(outcome.said, brood::os::file_identity(peer(kind + "_other")));
  }
  EXPECT_EQ(brood::os::file_identity(peer("call_peer_no_build_id")).substr(0, 5), "hash-");
}

TEST(FunctionIdPeers, APluginThatWasReplacedIsRefusedBeforeAnyOfItRuns) {
  const Directory directory;
  const auto plugin = directory / "plugin.so";
  std::filesystem::copy_file(peer("plugin.so"), plugin);
  const Outcome packed = run({peer("call_peer"), "pack", "plugin", plugin.string()});
  ASSERT_EQ(packed.code, 0) << packed.said;
  ASSERT_EQ(run({peer("call_peer"), "run", packed.said}).said, "result 10");
  std::filesystem::remove(plugin);
  std::filesystem::copy_file(peer("plugin_rebuilt.so"), plugin);
  const Outcome outcome = run({peer("call_peer"), "run", packed.said});
  EXPECT_EQ(outcome.code, 3);
  EXPECT_CONTAINS(outcome.said, "rebuilt or replaced");
  EXPECT_CONTAINS(outcome.said, brood::os::file_identity(peer("plugin.so")));
  EXPECT_CONTAINS(outcome.said, brood::os::file_identity(peer("plugin_rebuilt.so")));
  EXPECT_EQ(outcome.said.find("RAN"), std::string::npos) << outcome.said;
}

TEST(FunctionIdPeers, APluginLoadedByARelativePathIsFoundFromElsewhere) {
  const Directory directory;
  std::filesystem::copy_file(peer("plugin.so"), directory / "plugin.so");
  const Outcome packed =
      run({"env", "-C", (directory / ".").string(), peer("call_peer"), "pack", "plugin", "./plugin.so"});
  ASSERT_EQ(packed.code, 0) << packed.said;
  EXPECT_EQ(run({peer("call_peer"), "run", packed.said}).said, "result 10");
}
