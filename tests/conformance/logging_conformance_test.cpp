// Logging, as CPython's _TestLogging has it; LOG-01 to LOG-04. The sinks and levels of a process stay with it, so each test logs in
// a child.
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <regex>
#include <sstream>
#include <string>

#include "brood/log.hpp"
#include "conformance/process_fixture.hpp"

namespace conformance {
namespace {

namespace level = spdlog::level;

class LoggingConformance : public EveryMethod {};
BROOD_METHODS(LoggingConformance);
class LoggingConformanceOnce : public Once {};

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

/// What a child by spawn, whose logger nobody has touched, writes to standard error.
template <class F, class... Args>
std::string logged_by(F target, Args&&... args) {
  brood::Process p({.name = "child", .start_method = StartMethod::spawn, .standard_error = brood::Stdio::pipe()},
                   target, std::forward<Args>(args)...);
  p.start();
  std::string text = read_all(p.take_stderr().get());
  p.join();
  EXPECT_EQ(p.exitcode(), 0) << text;
  return text;
}

TEST_F(LoggingConformanceOnce, TheLoggerExistsWithoutLevelAndSinks) {
  EXPECT_EQ(logged_by([] {
              const auto logger = brood::get_logger();
              if (logger->name() != "brood" || !logger->sinks().empty() || logger->level() != level::trace)
                std::exit(1);
              logger->error("goes nowhere");
            }),
            "");
}

TEST_F(LoggingConformanceOnce, TheLoggerTakesLevels) {
  const std::string text = logged_by([] {
    const auto logger = brood::log_to_stderr(level::trace);
    if (logger != brood::get_logger()) std::exit(1);
    for (const auto now : {level::err, level::warn, level::info, level::debug, level::trace}) {
      logger->set_level(now);
      if (logger->level() != now) std::exit(2);
      logger->log(level::trace, "trace at {}", level::to_string_view(now));
      logger->log(level::warn, "warn at {}", level::to_string_view(now));
    }
  });
  EXPECT_EQ(text.find("warn at error"), std::string::npos) << text;
  EXPECT_NE(text.find("warn at warning"), std::string::npos) << text;
  EXPECT_NE(text.find("warn at trace"), std::string::npos) << text;
  EXPECT_EQ(text.find("trace at debug"), std::string::npos) << text;
  EXPECT_NE(text.find("trace at trace"), std::string::npos) << text;
}

TEST_F(LoggingConformanceOnce, EachCallAddsASink) {
  const std::string text = logged_by([] {
    brood::log_to_stderr();
    brood::log_to_stderr();
    brood::get_logger()->info("twice");
    brood::get_logger()->debug("below the level");
  });
  // Level and name of the process are in each line.
  static const std::regex kLine(R"(\[[-0-9 :.]+\] \[brood\] \[info\] \[child \d+\] \[.+ \d+\] twice\n)");
  const auto lines = std::distance(std::sregex_iterator(text.begin(), text.end(), kLine), std::sregex_iterator());
  EXPECT_EQ(lines, 2) << text;
  EXPECT_EQ(text.find("below"), std::string::npos) << text;
}

TEST_F(LoggingConformanceOnce, RecordsNameTheFileOfTheCaller) {
  const std::string text = logged_by([] {
    const auto logger = brood::log_to_stderr();
    SPDLOG_LOGGER_INFO(logger, "here");
  });
  EXPECT_TRUE(std::regex_search(text, std::regex(R"(logging_conformance_test\.cpp:\d+: here\n)"))) << text;
}

void log_in_grandchild(StartMethod method) {
  const auto logger = brood::log_to_stderr(level::debug);
  logger->set_level(level::info);
  brood::Process p({.name = "grandchild", .start_method = method}, [] {
    const auto inherited = brood::get_logger();
    inherited->debug("too low");
    inherited->info("the level is {}", level::to_string_view(inherited->level()));
  });
  p.start();
  p.join();
  if (p.exitcode() != 0) std::exit(1);
}

TEST_P(LoggingConformance, AChildHasLevelAndDestinationOfItsParent) {
  const std::string text = logged_by(log_in_grandchild, method());
  EXPECT_TRUE(std::regex_search(text, std::regex(R"(\[info\] \[grandchild \d+\] \[.+ \d+\] the level is info\n)")))
      << text;
  EXPECT_EQ(text.find("too low"), std::string::npos) << text;
}

}  // namespace
}  // namespace conformance
