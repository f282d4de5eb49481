// The forkserver's options: modules it has loaded, children it keeps ready, when it begins.
#include <dlfcn.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "brood/error.hpp"
#include "brood/forkserver.hpp"
#include "os/process_identity.hpp"
#include "os/reap.hpp"
#include "process/launcher.hpp"
#include "process/process_support.hpp"

namespace {

using namespace process_test;

/// The scenarios' server: they run in a process of their own, whose choices do not reach other tests.
class Forkserver : public Processes {};

std::vector<pid_t> children_of(pid_t parent) {
  const std::string pid = std::to_string(parent);
  std::ifstream in("/proc/" + pid + "/task/" + pid + "/children");
  return {std::istream_iterator<pid_t>(in), {}};
}

std::string module_path() { return test_program("process/process_preload.so"); }

/// What the preloaded module answers: the pid of the process that loaded it; 0 if nobody has.
pid_t loaded_by() {
  void* const handle = ::dlopen(module_path().c_str(), RTLD_NOW | RTLD_NOLOAD);
  if (handle == nullptr) return 0;
  const auto ask = reinterpret_cast<pid_t (*)()>(::dlsym(handle, "process_preload_loaded_by"));
  return ask == nullptr ? -1 : ask();
}

void start_and_join() {
  brood::Process p({.start_method = StartMethod::forkserver}, [] {});
  p.start();
  p.join();
  SCENARIO_CHECK(p.exitcode() == 0);
}

std::string refusal() {
  brood::Process p({.name = "child", .start_method = StartMethod::forkserver}, [] {});
  try {
    p.start();
  } catch (const brood::StartError& error) {
    return error.what();
  }
  return {};
}

TEST_F(Forkserver, LoadsModulesBeforeItForks) {
  expect_scenario(+[](const std::string&) {
    brood::set_forkserver_preload({module_path()}, brood::PreloadError::fail);
    brood::ensure_forkserver();
    const pid_t server = brood::process::forkserver_pid();
    SCENARIO_CHECK(server != 0);
    brood::Process p(
        {.start_method = StartMethod::forkserver}, [](pid_t expected) { std::exit(loaded_by() == expected ? 0 : 1); },
        server);
    p.start();
    p.join();
    SCENARIO_CHECK(p.exitcode() == 0);
    SCENARIO_CHECK(loaded_by() == 0);
    SCENARIO_CHECK(brood::process::forkserver_pid() == server);
  });
}

TEST_F(Forkserver, AModuleThatCannotBeLoadedIsIgnoredWarnedOfOrFatal) {
  expect_scenario(+[](const std::string&) {
    brood::set_forkserver_preload({"/nonexistent/module.so"});
    start_and_join();
    brood::set_forkserver_preload({"/nonexistent/module.so"}, brood::PreloadError::fail);
    const std::string why = refusal();
    SCENARIO_CHECK(
        why.starts_with("cannot start process 'child': the forkserver cannot load '/nonexistent/module.so': "));
    SCENARIO_CHECK(why.find("cannot open shared object file") != std::string::npos);
    SCENARIO_CHECK(brood::active_children().empty());
    // The next choice is a new chance.
    brood::set_forkserver_preload({});
    start_and_join();
  });
}

TEST_F(Forkserver, AWarningGoesToStandardError) {
  const Ran ran = run_program(test_program("process_cases"), {"forkserver", "preload-warning"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_TRUE(ran.err.starts_with("brood: the forkserver cannot load '/nonexistent/module.so': ")) << ran.err;
}

TEST_F(Forkserver, NonsenseIsRefused) {
  EXPECT_THROW(brood::set_forkserver_preload({"a", ""}), brood::UsageError);
  EXPECT_THROW(brood::set_forkserver_preload({}, static_cast<brood::PreloadError>(3)), brood::UsageError);
  EXPECT_THROW(brood::set_forkserver_spares(0), brood::UsageError);
  EXPECT_THROW(brood::set_forkserver_spares(65), brood::UsageError);
}

TEST_F(Forkserver, KeepsAsManyReadyAsAreWanted) {
  expect_scenario(+[](const std::string&) {
    brood::set_forkserver_spares(7);
    brood::ensure_forkserver();
    const pid_t server = brood::process::forkserver_pid();
    const auto wait_for_spares = [server](std::size_t count) {
      while (children_of(server).size() != count) std::this_thread::yield();
    };
    wait_for_spares(7);
    const std::vector<pid_t> ready = children_of(server);
    std::vector<brood::Process> burst;
    for (int i = 0; i < 7; ++i) {
      burst.emplace_back(brood::ProcessOptions{.start_method = StartMethod::forkserver}, [] {
        for (;;) ::pause();
      });
      burst.back().start();
      // In the order in which they were made.
      SCENARIO_CHECK(burst.back().pid() == ready[static_cast<std::size_t>(i)]);
    }
    wait_for_spares(14);
    for (auto& one : burst) one.kill();
    for (auto& one : burst) {
      one.join();
      SCENARIO_CHECK(one.exitcode() == -SIGKILL);
    }
    wait_for_spares(7);
    SCENARIO_CHECK(brood::process::forkserver_pid() == server);
  });
}

TEST_F(Forkserver, KilledSparesAreReplaced) {
  expect_scenario(+[](const std::string&) {
    brood::set_forkserver_spares(5);
    brood::ensure_forkserver();
    const pid_t server = brood::process::forkserver_pid();
    while (children_of(server).size() != 5) std::this_thread::yield();
    for (const pid_t spare : children_of(server)) {
      const brood::base::UniqueFd pidfd(brood::os::pidfd_open(spare));
      ::kill(spare, SIGKILL);
      SCENARIO_CHECK(brood::os::wait_ended(pidfd.get(), brood::Deadline::never()));
    }
    start_and_join();
    SCENARIO_CHECK(brood::process::forkserver_pid() == server);
  });
}

TEST_F(Forkserver, AChangeReplacesTheServerAndSparesItsChildren) {
  expect_scenario(+[](const std::string&) {
    Pipe gate;
    brood::Process old(
        {.start_method = StartMethod::forkserver},
        [](const std::string& until) {
          await(until);
          std::exit(5);
        },
        gate.reader());
    old.start();
    const pid_t server = brood::process::forkserver_pid();
    brood::set_forkserver_spares(2);
    start_and_join();
    SCENARIO_CHECK(brood::process::forkserver_pid() != server);
    SCENARIO_CHECK(old.is_alive());
    gate.let_go();
    old.join();
    SCENARIO_CHECK(old.exitcode() == 5);
  });
}

}  // namespace
