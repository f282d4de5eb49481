// What many processes log comes to one place, and is there even if the process that logged it is killed in the next
// moment. The loggers are spdlog's.
//
// Output (regular expressions):
// info    MainProcess \d+: reading 2 files
// info    reader \d+: a\.txt has 120 lines
// warning victim \d+: b\.txt looks odd
// error   victim \d+: last words
// info    MainProcess \d+: the victim ended with -9
#include <spdlog/sinks/stdout_sinks.h>

#include <csignal>
#include <memory>
#include <string>

#include "brood/brood.hpp"
#include "brood/log.hpp"

void inspect(const std::string& file, int lines) {
  brood::get_logger()->debug("nobody wants this: the level is info");
  brood::get_logger()->info("{} has {} lines", file, lines);
}

void fall(const std::string& file) {
  brood::get_logger()->warn("{} looks odd", file);
  brood::get_logger()->error("last words");
  std::raise(SIGKILL);
}

int main(int argc, char** argv) {
  brood::init(argc, argv);

  // Usually log_to_stderr() or log_to_file("program.log"). Any sink of spdlog's will do, with a pattern of spdlog's;
  // %N and %P are the process that logged.
  brood::log_to(std::make_shared<spdlog::sinks::stdout_sink_mt>(), spdlog::level::info, "%-7l %N %P: %v");

  const auto log = brood::get_logger();
  log->info("reading {} files", 2);

  brood::Process reader({.name = "reader"}, inspect, "a.txt", 120);
  reader.start();
  reader.join();

  brood::Process victim({.name = "victim"}, fall, "b.txt");
  victim.start();
  victim.join();
  log->info("the victim ended with {}", victim.exitcode().value());
}
