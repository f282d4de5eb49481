// What is logged in many processes, and where it ends up: each test runs log_cases.cpp, which prints, logs and ends.
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "process/process_support.hpp"
#include "support/sanitizers.hpp"

namespace {

using process_test::Ran;
using process_test::StartMethod;
using Lines = std::vector<std::string>;
namespace fs = std::filesystem;

Lines lines_of(const std::string& text) {
  Lines lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

/// Records of standard error without time and numbers: "info|child|text". Other lines as they are, without numbers.
Lines plain(const std::string& text) {
  static const std::regex kRecord(R"(\[[-0-9 :.]+\] \[(\w+)\] \[(\w+)\] \[(.+) \d+\] \[.+ \d+\] (.*))");
  static const std::regex kPid(R"(process \d+)");
  Lines out;
  for (const std::string& line : lines_of(text)) {
    std::smatch match;
    if (std::regex_match(line, match, kRecord))
      out.push_back(match[2].str() + "|" + match[3].str() + "|" + match[4].str());
    else out.push_back(std::regex_replace(line, kPid, "process N"));
  }
  return out;
}

Lines numbered(const std::string& before, int first, int last) {
  Lines out;
  for (int i = first; i <= last; ++i) out.push_back(before + std::to_string(i));
  return out;
}

Lines operator+(Lines a, const Lines& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

Lines only(const Lines& lines, const std::string& with) {
  Lines out;
  std::copy_if(lines.begin(), lines.end(), std::back_inserter(out),
               [&](const std::string& line) { return line.find(with) != std::string::npos; });
  return out;
}

constexpr const char* kDied =
    "brood: process N (MainProcess), which gathers the log, has died; process N logs to its own standard error";
constexpr const char* kEnded =
    "brood: process N (MainProcess), which gathers the log, has ended; process N logs to its own standard error";

class Log : public process_test::EveryMethod {
 protected:
  Log() {
    directory_ = (fs::temp_directory_path() / "brood-log-XXXXXX").string();
    if (::mkdtemp(directory_.data()) == nullptr) throw std::runtime_error("mkdtemp " + directory_);
  }
  ~Log() override { fs::remove_all(directory_); }

  Ran run(const std::string& name) const {
    return process_test::run_program(process_test::test_program("log_cases"),
                                     {std::string(to_string(GetParam())), name, directory_ + "/log"});
  }
  /// The same; it must end well and have nothing to complain of.
  std::string run_well(const std::string& name) const {
    Ran ran = run(name);
    EXPECT_EQ(ran.code, 0);
    EXPECT_EQ(ran.err, "");
    return std::move(ran.out);
  }
  [[nodiscard]] std::string text(const std::string& suffix = "") const {
    return read_file(directory_ + "/log" + suffix);
  }
  [[nodiscard]] Lines lines(const std::string& suffix = "") const { return lines_of(text(suffix)); }

 private:
  std::string directory_;
};
#if !SUPPORT_SANITIZED
INSTANTIATE_FOR_EVERY_METHOD(Log);
#else
INSTANTIATE_TEST_SUITE_P(Methods, Log, ::testing::Values(StartMethod::spawn, StartMethod::forkserver),
                         process_test::method_name);
#endif

}  // namespace

// --- LOG-01 … LOG-04

TEST_P(Log, TheLoggerHasNoLevelNoSinkAndWritesNothingUntilItIsTold) { EXPECT_EQ(run_well("defaults"), ""); }

TEST_P(Log, SinksGivenToTheLoggerItselfAreLocal) { run_well("local-sinks"); }

TEST_P(Log, EachCallAddsASinkWithALevelOfItsOwn) {
  const Ran ran = run("several-sinks");
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(lines(), (Lines{"error|child|brood|e", "critical|child|brood|c"}));
  EXPECT_EQ(ran.out, "[info/child] i\n[error/child] e\n[critical/child] c\n\n");
  EXPECT_EQ(plain(ran.err), (Lines{"critical|child|c", "critical|child|c"}));
}

TEST_P(Log, ChildrenGetTheLevelAndTheRouteAndLeaveThemToTheirs) {
  run_well("levels");
  EXPECT_EQ(lines(), (Lines{"warning|first|brood|warn", "error|first|brood|error", "warning|grandchild|brood|warn",
                            "error|second|brood|error", "warning|third|brood|warn", "error|third|brood|error",
                            "warning|grandchild|brood|warn"}));
}

// --- gathering

TEST_P(Log, RecordsOfAllProcessesSayWhoLoggedWhenAndWhere) {
  std::map<std::string, std::string> pids;
  for (const std::string& line : lines_of(run_well("gather"))) {
    const std::size_t space = line.find(' ');
    pids[line.substr(0, space)] = line.substr(space + 1);
  }
  ASSERT_EQ(pids.size(), 3U);
  const std::string time = R"(\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\] )";
  const auto main_thread = [](const std::string& pid) { return " " + pid + R"(\] \[\w+ )" + pid + R"(\] )"; };
  const Lines expected = {
      R"(\[brood\] \[info\] \[MainProcess)" + main_thread(pids["parent"]) + "parent 1",
      R"(\[brood\] \[debug\] \[child)" + main_thread(pids["child"]) + "child 2",
      R"(\[brood\] \[warning\] \[child )" + pids["child"] + R"(\] \[helper \d+\] log_cases\.cpp:\d+: from a thread, 3)",
      R"(\[net\] \[error\] \[grandchild)" + main_thread(pids["grandchild"]) + "grandchild 4",
      R"(\[brood\] \[critical\] \[MainProcess)" + main_thread(pids["parent"]) + "parent 5"};
  const Lines got = lines();
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i)
    EXPECT_TRUE(std::regex_match(got[i], std::regex(time + expected[i]))) << got[i] << "\n" << expected[i];
}

TEST_P(Log, WhatHappensInOrderIsWrittenInOrder) {
  run_well("order");
  Lines expected;
  for (int i = 0; i < 200; ++i)
    expected.push_back(std::string(i % 2 == 0 ? "info|MainProcess|brood|" : "info|child|brood|") + std::to_string(i));
  EXPECT_EQ(lines(), expected);
}

TEST_P(Log, RecordsOfEachThreadStayInOrder) {
  run_well("threads");
  const Lines all = lines();
  EXPECT_EQ(all.size(), 3000U);
  for (const std::string process : {"MainProcess", "first", "second"}) {
    for (int thread = 0; thread < 4; ++thread) {
      const std::string who = "info|" + process + "|brood|" + std::to_string(thread) + " ";
      EXPECT_EQ(only(all, who), numbered(who, 0, 249));
    }
  }
}

TEST_P(Log, AKilledProcessLosesNothingThatItLogged) {
  EXPECT_EQ(run_well("killed"), "100 lines after flush()\n");
  Lines expected;
  for (int i = 0; i < 20; ++i) expected = expected + numbered("info|victim|brood|" + std::to_string(i) + ".", 1, 5);
  EXPECT_EQ(lines(), expected);
}

TEST_P(Log, WhatAProcessThatIsKilledAnywhereHadLoggedIsThere) {
  const Lines victims = lines_of(run_well("killed-anywhere"));
  EXPECT_EQ(victims.size(), 20U);
  const Lines all = lines();
  for (const std::string& victim : victims) {
    const std::size_t space = victim.rfind(' ');
    const std::string who = "info|" + victim.substr(0, space) + "|brood|";
    const int logged = std::stoi(victim.substr(space + 1));
    const Lines got = only(all, who);
    // The record of the call that it was killed in may be there, too.
    EXPECT_GE(static_cast<int>(got.size()), logged) << victim;
    EXPECT_LE(static_cast<int>(got.size()), logged + 1) << victim;
    EXPECT_EQ(got, numbered(who, 1, static_cast<int>(got.size())));
  }
}

TEST_P(Log, NoOtherEndOfAProcessLosesRecordsEither) {
  EXPECT_EQ(run("other-ends").code, 0);
  EXPECT_EQ(lines(), (Lines{"info|exits|brood|before exit", "info|_exits|brood|before _exit",
                            "info|aborts|brood|before abort", "info|throws|brood|before throw"}));
}

TEST_P(Log, LogToInAChildAddsToWhatItWasLeft) {
  run_well("child-adds");
  EXPECT_EQ(lines(), (Lines{"warning|adder|brood|before", "warning|adder|brood|own warning",
                            "warning|grandchild|brood|warning", "warning|sibling|brood|mine"}));
  EXPECT_EQ(lines(".child"), (Lines{"info|adder|brood|own info", "warning|adder|brood|own warning",
                                    "info|grandchild|brood|info", "warning|grandchild|brood|warning"}));
}

TEST_P(Log, VeryLongRecordsArriveInParts) {
  run_well("long");
  const std::string got = text();
  const std::string before = "info|child|brood|";
  Lines expected = {before + std::string(900'000, 'a')};
  std::string longest;
  while (longest.size() < 3'000'000) longest += "äöü";
  std::size_t begin = 0;
  for (const char* mark : {"[part 1 of 3] ", "[part 2 of 3] ", "[part 3 of 3] "}) {
    std::size_t end = std::min(longest.size(), begin + (std::size_t{1} << 20));
    if (end < longest.size() && (longest[end] & 0xc0) == 0x80) --end;  // each letter has two bytes
    expected.push_back(before + mark + longest.substr(begin, end - begin));
    begin = end;
  }
  expected.push_back(before);
  expected.push_back(before + std::string("nul \0 and \xff", 11));
  EXPECT_TRUE(lines() == expected);
}

TEST_P(Log, WhatTheProcessWithTheSinksLogsItselfIsNeverCut) {
  run_well("long-in-parent");
  EXPECT_TRUE(text() == "info|MainProcess|brood|" + std::string(3'000'000, 'a') + "\n");
}

TEST_P(Log, ASinkMayAskWhoLogged) {
  const Lines out = lines_of(run_well("origin"));
  ASSERT_EQ(out.size(), 2U);
  const std::string& child = out[0].find("child") == 0 && out[0].find(' ', 6) == std::string::npos ? out[0] : out[1];
  const std::string& asked = &child == &out[0] ? out[1] : out[0];
  EXPECT_TRUE(std::regex_match(asked, std::regex(child + R"( \w+ 1)"))) << asked;
}

TEST_P(Log, TheGatheringThreadBlocksAllSignals) {
  const Lines out = lines_of(run_well("gathering-thread"));
  ASSERT_EQ(out.size(), 1U);
  ASSERT_EQ(out[0].find("brood-log "), 0U) << out[0];
  // All but SIGKILL and SIGSTOP; the two that glibc keeps for itself are blocked at the beginning of a thread only.
  constexpr unsigned long kOfGlibc = 3UL << 31;
  EXPECT_EQ(std::stoul(out[0].substr(10), nullptr, 16) | kOfGlibc, 0xfffffffffffbfeffUL);
}

// --- the queue is full

TEST_P(Log, WhoFindsTheQueueFullWaits) {
  EXPECT_EQ(run_well("full-block"), "it waits\n");
  EXPECT_EQ(lines(), numbered("info|child|brood|record ", 1, 20));
}

TEST_P(Log, WhoWaitsBecauseTheQueueIsFullGoesOnWhenTheGathererIsKilled) {
  const Ran ran = run("full-gatherer-killed");
  EXPECT_EQ(ran.code, -SIGKILL);
  EXPECT_EQ(plain(ran.err), Lines{kDied} + numbered("info|child|record ", 2, 20));
}

TEST_P(Log, WithThePolicyFailTheRestGoesToStandardError) {
  const Ran ran = run("full-fail");
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(lines(), numbered("info|child|brood|record ", 1, 5));
  EXPECT_EQ(plain(ran.err),
            Lines{"brood: the log's queue is full, and its policy is not to wait; process N logs to its "
                  "own standard error"} +
                numbered("info|child|record ", 6, 20));
}

TEST_P(Log, WhatAPolicyDropsIsCounted) {
  run_well("full-drop");
  EXPECT_EQ(lines(), numbered("info|child|brood|record ", 1, 5) +
                         Lines{"warning|MainProcess|brood|15 records were dropped: the log's queue was full"});
}

// --- the gathering process dies

TEST_P(Log, AfterTheGatherersDeathRecordsGoToStandardErrorOfWhoLogs) {
  const Ran ran = run("gatherer-killed");
  EXPECT_EQ(ran.code, -SIGKILL);
  EXPECT_EQ(lines(), Lines{"info|child|brood|while it lives"});
  EXPECT_EQ(plain(ran.err), (Lines{kDied, "info|child|after its death", "warning|child|and once more", kDied,
                                   "info|grandchild|of a grandchild"}));
}

TEST_P(Log, WhatAKilledGathererHadNotWrittenIsWrittenByWhoRemains) {
  const Ran ran = run("gatherer-killed-with-records");
  EXPECT_EQ(ran.code, -SIGKILL);
  EXPECT_EQ(plain(ran.err), Lines{kDied} + numbered("info|child|record ", 1, 50));
}

TEST_P(Log, AGathererKilledAnywhereLosesAtMostTheRecordInItsHands) {
  const Ran ran = run("gatherer-killed-anywhere");
  EXPECT_EQ(ran.code, -SIGKILL);
  const std::string file = text();
  // The last line may be a half: of the record in its hands.
  const Lines written = only(plain(file.substr(0, file.rfind('\n') + 1)), "record");
  const Lines rest = only(plain(ran.err), "record");
  const int first = static_cast<int>(written.size());
  EXPECT_EQ(written, numbered("info|child|record ", 1, first));
  const int then = rest.empty() ? 0 : std::stoi(rest.front().substr(rest.front().rfind(' ')));
  EXPECT_EQ(rest, numbered("info|child|record ", then, 3000));
  EXPECT_TRUE(then == first + 1 || then == first + 2) << first << " are in the file, and then comes " << then;
}

TEST_P(Log, AfterTheGatherersEndTheSame) {
  const Ran ran = run("gatherer-ended");
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(lines(), Lines{"info|orphan|brood|while it lives"});
  EXPECT_EQ(plain(ran.err), (Lines{kEnded, "info|orphan|after its end"}));
}

// --- exit

TEST_P(Log, AtExitEverythingOfTheChildrenIsWrittenAndHandlersMayLog) {
  run_well("at-exit");
  const Lines at_last = {
      "info|child|brood|a handler of the child", "info|MainProcess|brood|a handler younger than the log",
      "info|MainProcess|brood|a handler older than the log", "info|MainProcess|brood|a static object of MainProcess"};
  EXPECT_EQ(lines(), Lines{"info|MainProcess|brood|leaving"} + numbered("info|child|brood|record ", 1, 3) + at_last);
}

TEST_P(Log, WhatIsLoggedAfterTheSharedObjectsAreGoneGoesToStandardError) {
  const Ran ran = run("at-exit-too-late");
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(lines(), Lines{"info|child|brood|in time"});
  // A child of fork destroys no static objects.
  Lines expected;
  if (GetParam() != StartMethod::fork)
    expected = {"brood: the log's queue has been closed by exit(); process N logs to its own standard error",
                "info|child|a static object of child"};
  EXPECT_EQ(plain(ran.err), expected);
}

TEST_P(Log, ExitCalledByASinkHangsNobody) {
  const Ran own = run("exit-in-sink");
  EXPECT_EQ(own.code, 5);
  const Ran of_a_child = run("exit-in-sink-by-child");
  EXPECT_EQ(of_a_child.code, 5);
  Lines records = only(plain(of_a_child.err), "record");
  std::sort(records.begin(), records.end());
  Lines expected = numbered("info|child|record ", 1, 10);
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(records, expected);
}

// --- fork

#if !SUPPORT_SANITIZED
TEST_P(Log, ProcessesThatTheApplicationForksGoOnAsTheirParent) {
  run_well("application-forks");
  EXPECT_EQ(
      lines(),
      (Lines{"info|MainProcess|brood|parent", "info|MainProcess|brood|fork", "info|MainProcess|brood|fork of a fork",
             "info|started by a fork|brood|child", "info|MainProcess|brood|fork with a file",
             "info|MainProcess|brood|fork of a fork with a file", "info|MainProcess|brood|parent again"}));
  EXPECT_EQ(lines(".fork"),
            (Lines{"info|MainProcess|brood|fork with a file", "info|MainProcess|brood|fork of a fork with a file"}));
}

TEST_P(Log, ForkWhileAnotherThreadLogsIsSafe) {
  run_well("fork-while-logging");
  const Lines all = lines();
  EXPECT_EQ(only(all, "|fork "), numbered("info|MainProcess|brood|fork ", 0, 49));
  EXPECT_EQ(only(all, "|child "), numbered("info|child|brood|child ", 0, 49));
  EXPECT_EQ(only(all, "|noise").size() + 100, all.size());
}

TEST_P(Log, ForkWhileAnotherThreadSendsIsSafe) {
  run_well("fork-while-sending");
  const Lines all = lines();
  EXPECT_EQ(only(all, "|fork "), numbered("info|MainProcess|brood|fork ", 0, 49));
  EXPECT_EQ(only(all, "|noise").size() + 50, all.size());
}

#endif

// --- sinks that misbehave, and misuse

TEST_P(Log, WhatASinkDoesNotTakeGoesToStandardError) {
  const Ran ran = run("sink-throws");
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.out, "took record 2\ntook record 4\n");
  const std::string odd = "brood: a sink of the log has failed (no odd numbers); what it does not take follows here";
  EXPECT_EQ(plain(ran.err),
            (Lines{odd, "info|MainProcess|record 1",
                   "brood: a sink of the log has failed (something that is no std::exception); what it does not take "
                   "follows here",
                   "info|child|record 3", odd, "info|child|record 5"}));
}

TEST_P(Log, WhatASinkLogsGoesToStandardError) {
  const Ran ran = run("sink-logs");
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.out, "took of the parent\ntook of the child\n");
  EXPECT_EQ(plain(ran.err), (Lines{"info|MainProcess|by the sink", "info|MainProcess|by the sink"}));
}

TEST_P(Log, MisuseAndFailureAreThrownAndChangeNothing) { run_well("errors"); }
