// Light processes: children that load one library and nothing of the program. This file is part of a library, see
// meson.build; light_parent is a program without brood::init().
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "brood/custom_process.hpp"
#include "brood/error.hpp"
#include "brood/lock.hpp"
#include "brood/queue.hpp"
#include "brood/value.hpp"
#include "os/elf_identity.hpp"
#include "process/light_library.hpp"
#include "process/process_support.hpp"

namespace {

using namespace process_test;
namespace fs = std::filesystem;

class Light : public Processes {
 protected:
  /// What start() says when it fails; nothing may be left then.
  template <class E>
  static std::string refusal(brood::Process& p) {
    try {
      p.start();
    } catch (const E& error) {
      EXPECT_FALSE(p.pid());
      return error.what();
    }
    ADD_FAILURE() << "it was started";
    return {};
  }
  template <class F, class... Args>
  static std::optional<int> code_of(F f, Args&&... args) {
    brood::Process p({.start_method = StartMethod::light}, f, std::forward<Args>(args)...);
    p.start();
    p.join();
    return p.exitcode();
  }
};

class TemporaryDirectory {
 public:
  TemporaryDirectory() : path_((fs::temp_directory_path() / "brood-light-XXXXXX").string()) {
    if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error("mkdtemp");
  }
  ~TemporaryDirectory() { fs::remove_all(path_); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  [[nodiscard]] fs::path operator/(const std::string& name) const { return fs::path(path_) / name; }

 private:
  std::string path_;
};

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

std::string own_library() { return test_program("libtest_process_light.so"); }

/// Whether this file is mapped here.
bool is_loaded(const std::string& path) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.ends_with(" " + path)) return true;
  }
  return false;
}

// --- what runs, and what does not ------------------------------------------------------------------------------------

TEST_F(Light, NothingOfTheProgramRuns) {
  const Ran ran = run_program(test_program("light_parent"), {"library"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.err, "");
  EXPECT_EQ(ran.out,
            "library made\n"
            "program made\n"
            "main runs\n"
            "library made\n"  // the child, from here
            "the target runs in speaker\n"
            "library destroyed in speaker\n"
            "exitcode 5\n"  // to here
            "program destroyed\n"
            "library destroyed in MainProcess\n");
}

TEST_F(Light, WithoutATargetNothingOfTheLibraryRunsEither) {
  const Ran ran = run_program(test_program("light_parent"), {"no-target"});
  EXPECT_EQ(ran.out,
            "library made\nprogram made\nmain runs\nexitcode 0\nprogram destroyed\nlibrary destroyed in MainProcess\n")
      << ran.err;
}

TEST_F(Light, ATargetInTheProgramIsRefusedWithTheCure) {
  for (const char* which : {"own-target", "librarys-target-from-here", "named-library"}) {
    const Ran ran = run_program(test_program("light_parent"), {which});
    EXPECT_EQ(ran.code, 1) << ran.err;
    EXPECT_EQ(ran.out,
              "library made\nprogram made\nmain runs\n"
              "Process::start: process 'speaker' cannot be started by light: its target, or the code that made this "
              "Process, is part of a program, and a light child loads only a library. Cures: put the target into a "
              "shared library that is linked with brood, with a function that makes and returns the Process; or use "
              "StartMethod::spawn or StartMethod::forkserver. No process was made.\n"
              "program destroyed\nlibrary destroyed in MainProcess\n")
        << which;
  }
}

TEST_F(Light, AStaticObjectOfTheLibraryCannotBreed) {
  const Ran ran = run_program(test_program("light_parent"), {"library"}, {.environment = {"LIGHT_LIBRARY_DOES=start"}});
  EXPECT_EQ(ran.code, 0) << ran.out << ran.err;
  // The program's library starts one when it is loaded, main another one; each of them tries.
  EXPECT_EQ(count(ran.out, "library made\n"), 3U) << ran.out;
  EXPECT_EQ(
      count(ran.out,
            "Process::start: process 'speaker' cannot be started now: this process is a light child whose library "
            "is still being loaded, and it would start one of its own as this one was. Cure: start it from the "
            "target, not from a static object. No process was made.\n"),
      2U)
      << ran.out;
  EXPECT_EQ(count(ran.out, "the target runs in speaker\n"), 2U) << ran.out;
}

TEST_F(Light, TheProcessIsTheLauncherWithTheLibrarysName) {
  Pipe out;
  EXPECT_EQ(code_of(
                [](const std::string& to) {
                  std::string name;
                  std::getline(std::ifstream("/proc/self/comm"), name);
                  tell(to, fs::read_symlink("/proc/self/exe").string() + " " + name);
                },
                out.writer()),
            0);
  EXPECT_EQ(out.line(), "/memfd:brood-light (deleted) libtest_process");
}

TEST_F(Light, ALibraryWithTheStaticBroodInsideNeedsNothingElse) {
  const Ran ran = run_program(test_program("light_plain"), {test_program("light_static.so")});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out, "main runs\n");
}

// --- which library ---------------------------------------------------------------------------------------------------

void tell_where(const std::string& to, const std::string& first, const std::string& second) {
  tell(to, std::to_string(is_loaded(first)) + std::to_string(is_loaded(second)) + " " + fs::current_path().string());
}

TEST_F(Light, ACopyMayBeNamedRelativeToTheParent) {
  const TemporaryDirectory directory;
  const fs::path copy = directory / "copy.so";
  fs::copy_file(own_library(), copy);
  Pipe out;
  brood::Process p({.start_method = StartMethod::light, .library = fs::relative(copy), .working_directory = "/usr"},
                   tell_where, out.writer(), copy.string(), own_library());
  p.start();
  EXPECT_EQ(out.line(), "10 /usr");
  p.join();
  EXPECT_EQ(p.exitcode(), 0);
}

TEST_F(Light, ALibraryThatDoesNotHoldTheTargetIsLoadedAsWell) {
  Pipe out;
  const std::string other = test_program("light_library.so");
  brood::Process p({.start_method = StartMethod::light, .library = other, .standard_output = brood::Stdio::null()},
                   tell_where, out.writer(), other, own_library());
  p.start();
  EXPECT_EQ(out.line(), "11 " + fs::current_path().string());
  p.join();
  EXPECT_EQ(p.exitcode(), 0);
}

TEST_F(Light, TheOptionIsIgnoredByOtherMethods) {
  brood::Process p({.start_method = StartMethod::spawn, .library = "/no/such/library.so"}, [] {});
  p.start();
  p.join();
  EXPECT_EQ(p.exitcode(), 0);
}

TEST_F(Light, APathWithAZeroByteIsRefused) {
  try {
    const brood::Process p({.library = std::string("a\0b", 3)}, [] {});
    FAIL() << "it was taken";
  } catch (const brood::UsageError& error) {
    EXPECT_STREQ(error.what(), "ProcessOptions: the path of the library has a zero byte in it");
  }
}

TEST_F(Light, WhatCannotBeLoadedIsToldByStart) {
  const TemporaryDirectory directory;
  const std::string text = directory / "text.so";
  std::ofstream(text) << std::string(200, 'x');
  const std::string empty = directory / "empty.so";
  std::ofstream{empty};
  const std::string missing = directory / "missing.so";
  const std::string bare = test_program("light_bare.so");
  const std::string program = test_program("light_plain");
  const std::string load = "cannot start process 'p': cannot load the library of a light process: ";
  const std::pair<std::string, std::string> cases[] = {
      {missing, load + missing + ": cannot open shared object file: No such file or directory"},
      {text, load + text + ": invalid ELF header"},
      {empty, load + empty + ": file too short"},
      {program, load + program + ": cannot dynamically load position-independent executable"},
      {bare,
       "cannot start process 'p': the library " + bare +
           " has no door for light processes (brood_v1_enter_light): link it with brood, and if that is the static "
           "library, leave this symbol visible"},
  };
  for (const auto& [library, expected] : cases) {
    brood::Process p({.name = "p", .start_method = StartMethod::light, .library = library}, [] {});
    EXPECT_EQ(refusal<brood::StartError>(p), expected);
    EXPECT_EQ(refusal<brood::StartError>(p), expected) << "the second time";
    // An order that has not even been sent to its end when the child gives up.
    brood::Process large(
        {.name = "p", .start_method = StartMethod::light, .library = library}, [](const std::string&) {},
        std::string(4UL << 20, 'x'));
    EXPECT_EQ(refusal<brood::StartError>(large), expected);
  }
  brood::Process longest({.start_method = StartMethod::light, .library = "/" + std::string(5000, 'x')}, [] {});
  EXPECT_NE(refusal<brood::OsError>(longest).find("cannot name the library of a child process"), std::string::npos);
}

TEST_F(Light, ALibraryThatFailsWhileItIsLoadedIsTold) {
  for (const char* how : {"exit", "throw", "kill"}) {
    brood::Process p({.start_method = StartMethod::light,
                      .library = test_program("light_library.so"),
                      .standard_output = brood::Stdio::null(),
                      .standard_error = brood::Stdio::null(),
                      .environment = {{"LIGHT_LIBRARY_DOES", how}}},
                     [] {});
    const std::string said = refusal<brood::StartError>(p);
    EXPECT_NE(said.find("did not get as far as running anything"), std::string::npos) << said;
  }
}

/// Loads a copy that may be changed afterwards.
class Loaded {
 public:
  explicit Loaded(fs::path path) : path_(std::move(path)) {
    fs::copy_file(test_program("light_library.so"), path_);
    library_ = ::dlopen(path_.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library_ == nullptr) throw std::runtime_error(::dlerror());
  }
  ~Loaded() { ::dlclose(library_); }
  Loaded(const Loaded&) = delete;
  Loaded& operator=(const Loaded&) = delete;
  [[nodiscard]] std::unique_ptr<brood::Process> make(const char* maker, int number,
                                                     const std::string& library = {}) const {
    const auto make = reinterpret_cast<brood::Process* (*)(int, const char*)>(::dlsym(library_, maker));
    return std::unique_ptr<brood::Process>(make(number, library.c_str()));
  }

 private:
  fs::path path_;
  void* library_;
};

TEST_F(Light, ALibraryThatWasReplacedIsToldAndDoesNotRun) {
  const TemporaryDirectory directory;
  const std::string path = directory / "library.so";
  const Loaded library(path);
  const auto p = library.make("light_library_new_speaker", 3);
  const std::string before = brood::os::file_identity(path);
  const fs::path rebuilt = directory / "rebuilt.so";
  fs::copy_file(test_program("light_library_rebuilt.so"), rebuilt);
  fs::rename(rebuilt, path);
  const std::string after = brood::os::file_identity(path);
  EXPECT_NE(before, after);
  EXPECT_EQ(refusal<brood::StartError>(*p), "cannot start process 'speaker': the library " + path +
                                                " was rebuilt or replaced: loaded here is build id " + before +
                                                ", the file has build id " + after + "; restart this program");
  fs::remove(path);
  EXPECT_EQ(refusal<brood::StartError>(*p),
            "cannot start process 'speaker': cannot use the module " + path +
                " that holds the target: it cannot be opened: No such file or directory");
  fs::copy_file(test_program("light_library.so"), path);
  p->start();
  p->join();
  EXPECT_EQ(p->exitcode(), 3);
}

TEST_F(Light, AnotherBuildUnderTheOptionIsToldByTheChild) {
  const TemporaryDirectory directory;
  const std::string path = directory / "library.so";
  const Loaded library(path);
  const std::string before = brood::os::file_identity(path);
  const std::string rebuilt = test_program("light_library_rebuilt.so");
  const auto p = library.make("light_library_new_speaker", 3, rebuilt);
  // The one that was asked for is loaded; the target is not in it, and no longer where it was.
  fs::remove(path);
  fs::copy_file(rebuilt, path);
  EXPECT_EQ(refusal<brood::StartError>(*p),
            "cannot start process 'speaker': the module " + path +
                " that holds the target was rebuilt or replaced: the sender has build id " + before +
                ", the file has build id " + brood::os::file_identity(rebuilt) + "; restart the sender");
}

// --- what travels, what is set ---------------------------------------------------------------------------------------

struct Point {
  int x = 0;
  std::string name;
};

TEST_F(Light, ArgumentsAndSharedObjectsTravel) {
  brood::Lock lock;
  brood::Queue<Point> points(4);
  brood::Value<int> sum(0);
  EXPECT_EQ(code_of(
                [](brood::Lock& guard, brood::Queue<Point>& out, brood::Value<int>& total, const Point& one,
                   const std::vector<int>& more) {
                  const std::scoped_lock turn(guard);
                  for (const int x : more) total.with([x](int& now) { now += x; });
                  out.put({one.x + 1, one.name + "!"});
                },
                lock, points, sum, Point{41, "light"}, std::vector<int>{1, 2, 3}),
            0);
  const Point back = points.get();
  EXPECT_EQ(back.x, 42);
  EXPECT_EQ(back.name, "light!");
  EXPECT_EQ(sum.get(), 6);
}

TEST_F(Light, TheOwnerOfALockMayBeALightProcess) {
  brood::Lock lock;
  EXPECT_EQ(code_of(
                [](brood::Lock& held) {
                  held.lock();
                  ::raise(SIGKILL);
                },
                lock),
            -SIGKILL);
  EXPECT_THROW(lock.lock(), brood::OwnerDied);
  lock.recover([] {});
}

std::string read_all(const brood::Descriptor& from) {
  std::string text;
  std::array<char, 4096> part{};
  for (ssize_t got = ::read(from.get(), part.data(), part.size()); got > 0;
       got = ::read(from.get(), part.data(), part.size()))
    text.append(part.data(), static_cast<std::size_t>(got));
  return text;
}

TEST_F(Light, SettingsHoldBeforeTheLibraryIsLoaded) {
  brood::Process p({.start_method = StartMethod::light,
                    .library = test_program("light_library.so"),
                    .standard_input = brood::Stdio::pipe(),
                    .standard_output = brood::Stdio::pipe(),
                    .standard_error = brood::Stdio::like_output(),
                    .working_directory = "/usr",
                    .environment = {{"LIGHT_TEST", "set"}},
                    .clear_environment = true,
                    .nice = 7,
                    .limits = {{RLIMIT_NOFILE, 50, 60}}},
                   [] {
                     std::string word;
                     std::cin >> word;
                     rlimit limit{};
                     ::getrlimit(RLIMIT_NOFILE, &limit);
                     std::cout << word << ' ' << fs::current_path().string() << ' ' << std::getenv("LIGHT_TEST") << ' '
                               << (std::getenv("PATH") == nullptr) << ' ' << ::getpriority(PRIO_PROCESS, 0) << ' '
                               << limit.rlim_cur << ' ' << (std::getenv("BROOD_ENTER") == nullptr) << std::endl;
                     std::cerr << "and its errors" << std::endl;
                   });
  p.start();
  {
    const brood::Descriptor to = p.take_stdin();
    ASSERT_EQ(::write(to.get(), "word\n", 5), 5);
  }
  EXPECT_EQ(read_all(p.take_stdout()),
            "library made\nword /usr set 1 7 50 1\nand its errors\nlibrary destroyed in " + p.name() + "\n");
  p.join();
  EXPECT_EQ(p.exitcode(), 0);
}

TEST_F(Light, ASettingThatCannotBeIsTold) {
  brood::Process p({.name = "p", .start_method = StartMethod::light, .working_directory = "/no/such/directory"}, [] {});
  EXPECT_EQ(refusal<brood::StartError>(p),
            "cannot start process 'p': cannot change to the working directory '/no/such/directory': No such file or "
            "directory");
}

class Tripler : public brood::CustomProcess<Tripler> {
 public:
  Tripler() = default;
  Tripler(brood::ProcessOptions options, int number) : CustomProcess(std::move(options)), number_(number) {}
  void run() { std::exit(pid() == ::getpid() && name().starts_with("Tripler-") ? 3 * number_ : 1); }
  template <class Archive>
  void serialize(Archive& ar) {
    ar(number_);
  }

 private:
  int number_ = 0;
};

TEST_F(Light, AClassOfOnesOwnRunsInALibrary) {
  Tripler here({.start_method = StartMethod::light}, 11);
  here.start();
  here.join();
  EXPECT_EQ(here.exitcode(), 33);
  const TemporaryDirectory directory;
  const Loaded library(directory / "library.so");
  const auto there = library.make("light_library_new_doubler", 21);
  EXPECT_EQ(there->name().substr(0, 8), "Doubler-");
  there->start();
  there->join();
  EXPECT_EQ(there->exitcode(), 42);
}

// --- children of light processes -------------------------------------------------------------------------------------

std::string refusal_text(StartMethod method) {
  brood::Process p({.name = "p", .start_method = method}, [] {});
  try {
    p.start();
  } catch (const brood::UsageError& error) {
    return error.what();
  }
  return "started";
}

TEST_F(Light, ChildrenOfALightProcessAreLight) {
  Pipe out;
  EXPECT_EQ(code_of(
                [](const std::string& to) {
                  tell(to, std::string(to_string(brood::get_start_method())));
                  brood::Process p(
                      [](const std::string& there) {
                        tell(there, fs::read_symlink("/proc/self/exe").string() + " " + brood::current_process_name());
                      },
                      to);
                  p.start();
                  p.join();
                  std::exit(p.exitcode().value_or(99));
                },
                out.writer()),
            0);
  out.close_writer();
  EXPECT_EQ(out.line(), "light");
  const std::string grandchild = out.line();
  EXPECT_TRUE(grandchild.starts_with("/memfd:brood-light (deleted) Process-")) << grandchild;
  EXPECT_TRUE(grandchild.ends_with(":1")) << grandchild;
}

TEST_F(Light, InALightProcessForkWorksAndExecutingTheProgramIsRefused) {
  Pipe out;
  EXPECT_EQ(code_of(
                [](const std::string& to) {
                  brood::init();  // changes nothing: there is no main
                  tell(to, refusal_text(StartMethod::spawn));
                  tell(to, refusal_text(StartMethod::forkserver));
                  tell(to, refusal_text(StartMethod::light));
                  brood::Process p({.start_method = StartMethod::fork}, [] { std::exit(4); });
                  p.start();
                  p.join();
                  std::exit(p.exitcode().value_or(99));
                },
                out.writer()),
            4);
  out.close_writer();
  for (const std::string method : {"spawn", "forkserver"}) {
    EXPECT_EQ(out.line(),
              "Process::start: process 'p' cannot be started by " + method +
                  ": this process is a light one and has no program that could be executed again. Cures: use "
                  "StartMethod::light, which is the default here; or StartMethod::fork. No process was made.");
  }
  EXPECT_EQ(out.line(), "started");
}

TEST_F(Light, TheChoiceOfForkGoesOnToItsChildren) {
  expect_scenario(+[](const std::string&) {
    brood::set_start_method(StartMethod::fork, true);
    SCENARIO_CHECK(code_of([] { std::exit(brood::get_start_method() == StartMethod::fork ? 3 : 4); }) == 3);
  });
}

TEST_F(Light, ItIsAmongTheMethods) {
  const auto all = brood::get_all_start_methods();
  EXPECT_EQ(all.back(), StartMethod::light);
  EXPECT_EQ(all.size(), 4U);
  EXPECT_EQ(to_string(StartMethod::light), "light");
}

// --- the launcher ----------------------------------------------------------------------------------------------------

int descriptor_of_launcher() {
  for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    if (fs::read_symlink(entry, gone) == "/memfd:brood-light (deleted)") return std::stoi(entry.path().filename());
  }
  return -1;
}

TEST_F(Light, TheLauncherIsMadeAgainWhenTheProgramHasClosedIt) {
  expect_scenario(+[](const std::string&) {
    SCENARIO_CHECK(code_of([] { std::exit(3); }) == 3);
    const int launcher = descriptor_of_launcher();
    SCENARIO_CHECK(launcher > 2);
    const char byte = 0;
    SCENARIO_CHECK(::pwrite(launcher, &byte, 1, 0) == -1);  // sealed
    const int own = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    SCENARIO_CHECK(::dup2(own, launcher) == launcher);
    SCENARIO_CHECK(descriptor_of_launcher() == -1);
    SCENARIO_CHECK(code_of([] { std::exit(4); }) == 4);
    SCENARIO_CHECK(::fcntl(launcher, F_GETFD) == 0);  // dup2's: still the program's
    SCENARIO_CHECK(descriptor_of_launcher() > 2);
  });
}

TEST_F(Light, TheProgramsStandardStreamsMayBeClosed) {
  expect_scenario(+[](const std::string&) {
    for (const int fd : {0, 1, 2}) ::close(fd);
    SCENARIO_CHECK(code_of([] { std::exit(5); }) == 5);
    SCENARIO_CHECK(descriptor_of_launcher() > 2);
  });
}

}  // namespace
