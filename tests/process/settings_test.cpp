// What the options change about a child before anything of it runs, and what start() says when that fails.
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <sstream>
#include <string>

#include "brood/error.hpp"
#include "brood/lock.hpp"
#include "process/process_support.hpp"

namespace {

using namespace process_test;
using brood::ProcessOptions;
using brood::Stdio;

namespace fs = std::filesystem;

constexpr std::uint32_t kNobody = 65534;

std::string read_all(int fd) {
  std::string text;
  std::array<char, 4096> part;
  for (;;) {
    const ssize_t got = ::read(fd, part.data(), part.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return text;
    text.append(part.data(), static_cast<std::size_t>(got));
  }
}

std::string content(const fs::path& path) {
  std::ifstream in(path);
  return (std::ostringstream() << in.rdbuf()).str();
}

/// A directory that everybody may enter, gone with the test.
class Directory {
 public:
  Directory() {
    std::string name = (fs::temp_directory_path() / "brood-settings-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    path_ = name;
    fs::permissions(path_, fs::perms::all);
  }
  ~Directory() { fs::remove_all(path_); }
  [[nodiscard]] fs::path file(const std::string& name) const { return path_ / name; }
  [[nodiscard]] const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

class Settings : public EveryMethod {
 protected:
  static ProcessOptions options() {
    ProcessOptions out;
    out.start_method = GetParam();
    return out;
  }
  /// The one line that the child tells.
  template <class F, class... Args>
  static std::string told(ProcessOptions given, F target, Args&&... args) {
    Pipe out;
    brood::Process p(std::move(given), target, out.writer(), std::forward<Args>(args)...);
    p.start();
    std::string line = out.line();
    p.join();
    EXPECT_EQ(p.exitcode(), 0);
    return line;
  }
  /// What start() says; empty if it works.
  static std::string refusal(ProcessOptions given) {
    given.name = "child";
    brood::Process p(std::move(given), [] {});
    try {
      p.start();
    } catch (const brood::StartError& error) {
      EXPECT_FALSE(p.pid());
      EXPECT_TRUE(brood::active_children().empty());
      return error.what();
    }
    return {};
  }
};
INSTANTIATE_FOR_EVERY_METHOD(Settings);

void talk() {
  std::cout << "out\n" << std::flush;
  std::cerr << "err\n";
}

TEST_P(Settings, OutputGoesIntoPipes) {
  auto given = options();
  given.standard_output = Stdio::pipe();
  given.standard_error = Stdio::pipe();
  brood::Process p(given, talk);
  EXPECT_THROW((void)p.take_stdout(), brood::NotStarted);
  p.start();
  const brood::Descriptor out = p.take_stdout();
  const brood::Descriptor err = p.take_stderr();
  EXPECT_EQ(read_all(out.get()), "out\n");
  EXPECT_EQ(read_all(err.get()), "err\n");
  p.join();
  EXPECT_THROW((void)p.take_stdout(), brood::UsageError);
  EXPECT_THROW((void)p.take_stdin(), brood::UsageError);
}

TEST_P(Settings, InputComesOutOfAPipe) {
  auto given = options();
  given.standard_input = Stdio::pipe();
  given.standard_output = Stdio::pipe();
  brood::Process p(given, [] {
    std::string text;
    while (std::getline(std::cin, text)) std::cout << '<' << text << '>';
  });
  p.start();
  {
    const brood::Descriptor in = p.take_stdin();
    ASSERT_EQ(::write(in.get(), "a\nb\n", 4), 4);
  }
  const brood::Descriptor out = p.take_stdout();
  EXPECT_EQ(read_all(out.get()), "<a><b>");
  p.join();
}

// A sibling must not keep the pipe of another child open.
TEST_P(Settings, EndOfFileComesWhileSiblingsRun) {
  Pipe gate;
  auto given = options();
  given.standard_output = Stdio::pipe();
  brood::Process talker(given, talk);
  brood::Process sibling(
      {.start_method = GetParam()}, [](const std::string& until) { await(until); }, gate.reader());
  given.standard_output = Stdio::pipe();
  brood::Process piped_sibling(
      given, [](const std::string& until) { await(until); }, gate.reader());
  piped_sibling.start();
  talker.start();
  sibling.start();
  const brood::Descriptor out = talker.take_stdout();
  EXPECT_EQ(read_all(out.get()), "out\n");
  gate.let_go(2);
  sibling.join();
  piped_sibling.join();
}

// The other way round: a child that writes to a parent which has closed its end is told so.
TEST_P(Settings, NobodyElseReadsTheChildsPipe) {
  Pipe gate;
  auto given = options();
  given.standard_output = Stdio::pipe();
  brood::Process p(
      given,
      [](const std::string& until) {
        await(until);
        talk();
      },
      gate.reader());
  p.start();
  p.take_stdout().close();
  gate.let_go();
  p.join();
  EXPECT_EQ(p.exitcode(), -SIGPIPE);
}

TEST_P(Settings, FilesAreReadEmptiedAndAppendedTo) {
  const Directory directory;
  std::ofstream(directory.file("in")) << "question";
  std::ofstream(directory.file("out")) << "old text that is longer than the new one";
  std::ofstream(directory.file("err")) << "before;";
  auto given = options();
  given.standard_input = Stdio::file(directory.file("in"));
  given.standard_output = Stdio::file(directory.file("out"));
  given.standard_error = Stdio::file(directory.file("err"), Stdio::Append::yes);
  brood::Process p(given, [] {
    std::string text;
    std::cin >> text;
    std::cout << "answer to " << text;
    std::cerr << "after";
  });
  p.start();
  p.join();
  EXPECT_EQ(content(directory.file("out")), "answer to question");
  EXPECT_EQ(content(directory.file("err")), "before;after");
}

TEST_P(Settings, ErrorsMayGoWhereOutputGoes) {
  auto given = options();
  given.standard_output = Stdio::pipe();
  given.standard_error = Stdio::like_output();
  brood::Process p(given, talk);
  p.start();
  EXPECT_EQ(read_all(p.take_stdout().get()), "out\nerr\n");
  p.join();
}

TEST_P(Settings, StreamsMayBeNothing) {
  auto given = options();
  given.standard_output = Stdio::null();
  given.standard_error = Stdio::null();
  EXPECT_EQ(told(given,
                 [](const std::string& to) {
                   struct stat null {};
                   struct stat out {};
                   struct stat err {};
                   ::stat("/dev/null", &null);
                   ::fstat(STDOUT_FILENO, &out);
                   ::fstat(STDERR_FILENO, &err);
                   const bool writes = ::write(STDOUT_FILENO, "x", 1) == 1;
                   tell(to, out.st_rdev == null.st_rdev && err.st_rdev == null.st_rdev && writes ? "null" : "other");
                 }),
            "null");
}

TEST_P(Settings, ADescriptorOfOursMayBeAStream) {
  const Directory directory;
  const brood::base::UniqueFd file(::open(directory.file("x").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  auto given = options();
  given.standard_output = Stdio::descriptor(file.get());
  given.standard_error = Stdio::descriptor(file.get());
  brood::Process p(given, talk);
  p.start();
  p.join();
  EXPECT_EQ(content(directory.file("x")), "out\nerr\n");
  // Ours is still open.
  EXPECT_EQ(::write(file.get(), "!", 1), 1);
}

// Standard output and error exchanged: neither is overwritten before it has been copied.
TEST_P(Settings, StreamsMayChangePlaces) {
  const Directory directory;
  expect_scenario(
      +[](const std::string& argument) {
        const auto at = argument.find(' ');
        const std::string base = argument.substr(at + 1);
        ::dup2(::open((base + "/1").c_str(), O_WRONLY | O_CREAT, 0600), 1);
        ::dup2(::open((base + "/2").c_str(), O_WRONLY | O_CREAT, 0600), 2);
        ProcessOptions given;
        for (const auto method : {StartMethod::fork, StartMethod::spawn, StartMethod::forkserver})
          if (to_string(method) == argument.substr(0, at)) given.start_method = method;
        given.standard_output = Stdio::descriptor(2);
        given.standard_error = Stdio::descriptor(1);
        brood::Process p(given, talk);
        p.start();
        p.join();
      },
      std::string(to_string(GetParam())) + " " + directory.path().string());
  EXPECT_EQ(content(directory.file("1")), "err\n");
  EXPECT_EQ(content(directory.file("2")), "out\n");
}

TEST_P(Settings, InputMayBeInherited) {
  expect_scenario(
      +[](const std::string& name) {
        int ends[2];
        SCENARIO_CHECK(::pipe(ends) == 0 && ::write(ends[1], "hello", 5) == 5);
        ::dup2(ends[0], STDIN_FILENO);
        ::close(ends[1]);
        ProcessOptions given;
        for (const auto method : {StartMethod::fork, StartMethod::spawn, StartMethod::forkserver})
          if (to_string(method) == name) given.start_method = method;
        given.standard_input = Stdio::inherit();
        brood::Process p(given, [] {
          std::string text;
          std::cin >> text;
          std::exit(text == "hello" ? 0 : 1);
        });
        p.start();
        p.join();
        SCENARIO_CHECK(p.exitcode() == 0);
      },
      std::string(to_string(GetParam())));
}

TEST_P(Settings, DirectoryAndEnvironment) {
  const Directory directory;
  ::setenv("BROOD_TEST_OURS", "ours", 1);
  ::setenv("BROOD_TEST_GONE", "there", 1);
  auto given = options();
  given.working_directory = directory.path();
  given.environment = {{"BROOD_TEST_NEW", "with = and spaces"}, {"BROOD_TEST_GONE", std::nullopt}, {"LANG", "C"}};
  const auto report = [](const std::string& to) {
    const auto variable = [](const char* name) {
      const char* value = std::getenv(name);
      return std::string(value != nullptr ? value : "none");
    };
    tell(to, fs::current_path().string() + "|" + variable("BROOD_TEST_NEW") + "|" + variable("BROOD_TEST_GONE") + "|" +
                 variable("LANG") + "|" + variable("BROOD_TEST_OURS"));
  };
  // A server made by an earlier test has the environment of then.
  const std::string ours = GetParam() == StartMethod::forkserver ? "" : "ours";
  const std::string line = told(given, report);
  EXPECT_EQ(line.substr(0, line.rfind('|') + 1), directory.path().string() + "|with = and spaces|none|C|");
  if (!ours.empty()) {
    EXPECT_EQ(line.substr(line.rfind('|') + 1), ours);
  }
  given.clear_environment = true;
  EXPECT_EQ(told(given, report), directory.path().string() + "|with = and spaces|none|C|none");
  ::unsetenv("BROOD_TEST_OURS");
  ::unsetenv("BROOD_TEST_GONE");
}

TEST_P(Settings, CpusNiceAndLimits) {
  cpu_set_t ours;
  ASSERT_EQ(::sched_getaffinity(0, sizeof ours, &ours), 0);
  int cpu = 0;
  while (!CPU_ISSET(cpu, &ours)) ++cpu;
  auto given = options();
  given.cpus = {cpu};
  given.nice = 7;
  given.limits = {{RLIMIT_CORE, 0, 4096}, {RLIMIT_NOFILE, 40, 50}};
  EXPECT_EQ(told(given,
                 [](const std::string& to) {
                   cpu_set_t mine;
                   ::sched_getaffinity(0, sizeof mine, &mine);
                   int first = 0;
                   while (!CPU_ISSET(first, &mine)) ++first;
                   rlimit core{};
                   rlimit files{};
                   ::getrlimit(RLIMIT_CORE, &core);
                   ::getrlimit(RLIMIT_NOFILE, &files);
                   tell(to, std::to_string(CPU_COUNT(&mine)) + " " + std::to_string(first) + " " +
                                std::to_string(::getpriority(PRIO_PROCESS, 0)) + " " + std::to_string(core.rlim_cur) +
                                " " + std::to_string(core.rlim_max) + " " + std::to_string(files.rlim_cur) + " " +
                                std::to_string(files.rlim_max));
                 }),
            "1 " + std::to_string(cpu) + " 7 0 4096 40 50");
}

TEST_P(Settings, SessionsAndProcessGroups) {
  const auto report = [](const std::string& to) {
    tell(to, std::string(::getsid(0) == ::getpid() ? "leader " : "member ") +
                 (::getpgid(0) == ::getpid() ? "own" : std::to_string(::getpgid(0))));
  };
  auto given = options();
  given.new_session = true;
  EXPECT_EQ(told(given, report), "leader own");
  given.new_session = false;
  given.process_group = 0;
  EXPECT_EQ(told(given, report), "member own");
  given.process_group = ::getpgid(0);
  EXPECT_EQ(told(given, report), "member " + std::to_string(::getpgid(0)));
}

TEST_P(Settings, AnotherUser) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become somebody else";
  const Directory directory;
  auto given = options();
  given.user = kNobody;
  given.group = kNobody;
  given.environment = {{"BROOD_DOMAIN", "/dev/shm/brood-test-nobody"}};
  given.standard_output = Stdio::pipe();
  brood::Process p(given, [] {
    std::cout << ::getuid() << ' ' << ::geteuid() << ' ' << ::getegid() << ' ' << ::getgroups(0, nullptr) << '\n';
  });
  p.start();
  EXPECT_EQ(read_all(p.take_stdout().get()), "65534 65534 65534 0\n");
  p.join();
  EXPECT_EQ(p.exitcode(), 0);
  // It could not open what is ours; that is said, not misread.
  brood::Lock lock;
  brood::Process sharing(
      given, [](brood::Lock&) {}, lock);
  try {
    sharing.start();
    ADD_FAILURE() << "it was started";
  } catch (const brood::UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("runs as user 65534, who cannot open the shared objects"),
              std::string::npos)
        << error.what();
  }
  EXPECT_FALSE(sharing.pid());
}

TEST_P(Settings, FailuresNameTheStepTheValueAndTheReason) {
  const std::string head = "cannot start process 'child': cannot ";
  auto given = options();
  given.working_directory = "/nonexistent/place";
  EXPECT_EQ(refusal(given), head + "change to the working directory '/nonexistent/place': No such file or directory");
  given = options();
  given.cpus = {8000};
  EXPECT_EQ(refusal(given), head + "run on the CPUs 8000 only: Invalid argument");
  given = options();
  given.limits = {{RLIMIT_CORE, 0, 0}, {777, 1, 1}};
  EXPECT_EQ(refusal(given), head + "set resource limit 777 to 1 (hard 1): Invalid argument");
  given = options();
  given.limits = {{RLIMIT_NOFILE, ~std::uint64_t{1}, ~std::uint64_t{1}}};
  EXPECT_EQ(refusal(given), head +
                                "set resource limit RLIMIT_NOFILE to 18446744073709551614 (hard 18446744073709551614): "
                                "Operation not permitted");
  given = options();
  given.process_group = 999999999;
  EXPECT_EQ(refusal(given), head + "join the process group 999999999: Operation not permitted");
  given = options();
  given.standard_input = Stdio::file("/nonexistent/file");
  EXPECT_EQ(refusal(given), head + "open '/nonexistent/file' for standard input: No such file or directory");
  given = options();
  given.standard_error = Stdio::descriptor(9999);
  EXPECT_EQ(refusal(given), head + "use descriptor 9999 for standard error: Bad file descriptor");
}

TEST_P(Settings, AfterAFailureItMayBeStartedAgain) {
  const Directory directory;
  auto given = options();
  given.working_directory = directory.file("later");
  given.standard_output = Stdio::pipe();
  brood::Process p(given, talk);
  EXPECT_THROW(p.start(), brood::StartError);
  fs::create_directory(directory.file("later"));
  p.start();
  EXPECT_EQ(read_all(p.take_stdout().get()), "out\n");
  p.join();
  EXPECT_EQ(p.exitcode(), 0);
}

StartMethod method_called(const std::string& name) {
  for (const auto method : brood::get_all_start_methods()) {
    if (to_string(method) == name) return method;
  }
  std::abort();
}

/// A lambda without captures, asked in a child.
template <class F>
bool is_so_in_child(ProcessOptions given, F /*is_so*/, const std::string& argument) {
  brood::Process p(
      std::move(given), [](const std::string& wanted) { std::exit(F{}(wanted) ? 0 : 1); }, argument);
  p.start();
  p.join();
  return p.exitcode() == 0;
}

#ifndef BROOD_TEST_LIGHT  // nobody else may enter the directory of the library
// A forkserver has been made by then, by one who had more.
TEST_P(Settings, AUserWhoWasGivenUpIsNotTheChilds) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give itself up";
  expect_scenario(
      +[](const std::string& name) {
        const ProcessOptions given{.start_method = method_called(name)};
        const auto is_user = [](const std::string& wanted) {
          const auto id = static_cast<unsigned>(std::stoul(wanted));
          return ::getuid() == id && ::geteuid() == id && ::getgid() == id && (id == 0 || ::getgroups(0, nullptr) == 0);
        };
        SCENARIO_CHECK(is_so_in_child(given, is_user, "0"));
        SCENARIO_CHECK(::setgroups(0, nullptr) == 0 && ::setresgid(kNobody, kNobody, kNobody) == 0 &&
                       ::setresuid(kNobody, kNobody, kNobody) == 0);
        SCENARIO_CHECK(is_so_in_child(given, is_user, std::to_string(kNobody)));
      },
      std::string(to_string(GetParam())));
}
#endif

TEST_P(Settings, LimitsAreThoseOfTheStart) {
  expect_scenario(
      +[](const std::string& name) {
        const ProcessOptions given{.start_method = method_called(name)};
        for (const rlim_t soft : {120U, 110U, 130U}) {
          rlimit limit{};
          SCENARIO_CHECK(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
          limit.rlim_cur = soft;
          SCENARIO_CHECK(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
          SCENARIO_CHECK(is_so_in_child(
              given,
              [](const std::string& wanted) {
                rlimit mine{};
                return ::getrlimit(RLIMIT_NOFILE, &mine) == 0 && mine.rlim_cur == std::stoul(wanted);
              },
              std::to_string(soft)));
        }
      },
      std::string(to_string(GetParam())));
}

TEST_P(Settings, ARelativeDirectoryIsRelativeToThatOfTheStart) {
  const Directory directory;
  fs::create_directory(directory.file("inner"));
  expect_scenario(
      +[](const std::string& argument) {
        const std::size_t at = argument.find(' ');
        ProcessOptions given{.start_method = method_called(argument.substr(0, at))};
        const std::string base = argument.substr(at + 1);
        const auto is_here = [](const std::string& wanted) { return fs::current_path() == wanted; };
        // Whatever serves the later starts is made here.
        SCENARIO_CHECK(is_so_in_child(
            given, [](const std::string&) { return true; }, ""));
        fs::current_path(base);
        given.working_directory = "inner";
        SCENARIO_CHECK(is_so_in_child(given, is_here, base + "/inner"));
      },
      std::string(to_string(GetParam())) + " " + fs::canonical(directory.path()).string());
}

TEST_F(Processes, OptionsThatMakeNoSenseAreRefusedAtOnce) {
  const auto refused = [](const std::function<void(ProcessOptions&)>& spoil, const std::string& text) {
    ProcessOptions given;
    spoil(given);
    try {
      const brood::Process p(given, [] {});
      ADD_FAILURE() << "it was taken: " << text;
    } catch (const brood::UsageError& error) {
      EXPECT_EQ(error.what(), "ProcessOptions: " + text);
    }
  };
  refused([](auto& o) { o.standard_output = Stdio::like_output(); },
          "standard output cannot be like_output(): that is for standard error");
  refused([](auto& o) { o.standard_input = Stdio::descriptor(-1); }, "standard input: -1 is no descriptor");
  refused([](auto& o) { o.standard_output = Stdio::file(""); }, "standard output: the file has no name");
  refused([](auto& o) { o.standard_input = Stdio::file("x", Stdio::Append::yes); },
          "standard input is read, not appended to");
  refused([](auto& o) { o.environment = {{"A=B", "c"}}; }, "'A=B' cannot be the name of an environment variable");
  refused(
      [](auto& o) {
        o.environment = {{"BROOD_ENTER", "7"}};
      },
      "the environment variable BROOD_ENTER is brood's own");
  refused(
      [](auto& o) {
        o.environment = {{"A", std::string("b\0c", 3)}};
      },
      "the value of the environment variable A has a zero byte in it");
  refused([](auto& o) { o.cpus = {-1}; }, "-1 is no number of a CPU");
  refused([](auto& o) { o.nice = 20; }, "nice is 20, and goes from -20 to 19");
  refused(
      [](auto& o) {
        o.limits = {{RLIMIT_CORE, 5, 4}};
      },
      "resource limit RLIMIT_CORE: the soft limit 5 is above the hard one, 4");
  const std::string nobody =
      ": 4294967295 (-1) stands for nobody, and the child would stay who this process is; was somebody looked up who "
      "does "
      "not exist?";
  static constexpr auto kNone = static_cast<std::uint32_t>(-1);
  refused([](auto& o) { o.user = kNone; }, "user" + nobody);
  refused([](auto& o) { o.group = kNone; }, "group" + nobody);
  refused([](auto& o) { o.groups = {{1, kNone}}; }, "groups" + nobody);
  refused([](auto& o) { o.process_group = -3; }, "-3 is no process group");
  refused(
      [](auto& o) {
        o.process_group = 0;
        o.new_session = true;
      },
      "new_session makes a process group of its own; leave process_group out");
}

}  // namespace
