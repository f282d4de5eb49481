// A program of somebody else's that logs.
#include <spdlog/sinks/stdout_sinks.h>
#include <brood/brood.hpp>
#include <brood/log.hpp>

#include <memory>

int main(int argc, char** argv) {
  brood::init(argc, argv);
  brood::log_to(std::make_shared<spdlog::sinks::stdout_sink_mt>(), spdlog::level::info, "outside: %v by %N");
  brood::Process process({.name = "a child"}, [] { brood::get_logger()->info("record {}", 42); });
  process.start();
  process.join();
  return process.exitcode().value_or(1);
}
