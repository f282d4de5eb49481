#include <unistd.h>
#include <cerrno>
#include <string>
#include <string_view>
#include <vector>

#include "brood/error.hpp"
#include "os/program.hpp"
#include "os/socket.hpp"
#include "os/spawn.hpp"
#include "process/current.hpp"
#include "process/entry.hpp"
#include "process/launcher.hpp"

namespace brood::inline v1::process {
namespace {

/// The main program's file does not change while it runs, so it is looked up once. Empty answers are asked again.
std::string executable() {
  if (std::string chosen = chosen_executable(); !chosen.empty()) return chosen;
  static auto& found = *new std::string;  // guarded by the launch mutex; exit handlers start processes, too
  if (found.empty()) found = os::own_executable();
  if (found.empty()) {
    throw StartError(
        "cannot find this program's file to execute it again: it was started through another program (ld.so, valgrind) "
        "and has been "
        "deleted since, or /proc is not mounted; use the start method fork");
  }
  return found;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> out;
  out.reserve(texts.size() + 1);
  for (auto& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

/// `changed` if the settings change the environment, else pointers into ours, which is only read until exec; plus the one
/// variable.
std::vector<char*> environment_with(std::string& entry, std::vector<std::string>& changed, bool is_changed) {
  std::vector<char*> out;
  if (is_changed) {
    for (std::string& variable : changed) out.push_back(variable.data());
  } else {
    const std::string_view name = std::string_view(entry).substr(0, entry.find('=') + 1);
    for (char** it = environ; it != nullptr && *it != nullptr; ++it) {
      if (!std::string_view(*it).starts_with(name)) out.push_back(*it);
    }
  }
  out.push_back(entry.data());
  out.push_back(nullptr);
  return out;
}

}  // namespace

Launched launch_program(const Program& program, std::vector<std::string> arguments, os::SocketPair pair,
                        const Settings& settings) {
  const auto argv = pointers_to(arguments);
  std::string entry = std::string(kEntryVariable) + "=" + std::to_string(pair.theirs.get());
  const bool is_changed = settings.clear_environment || !settings.environment.empty();
  auto changed = is_changed ? environment_for(settings) : std::vector<std::string>();
  const auto envp = environment_with(entry, changed, is_changed);
  const OsSettings applied(settings);
  os::Spawned spawned = os::spawn({.program = program.name.c_str(),
                                   .program_fd = program.fd,
                                   .arguments = argv.data(),
                                   .environment = envp.data(),
                                   .kept_fd = pair.theirs.get(),
                                   .settings = &applied.get()});
  if (spawned.setting.step != os::SettingsStep::none) throw StartError("cannot " + describe(spawned.setting, settings));
  if (spawned.error != 0) throw_launch_error(-spawned.error, std::string(spawned.step) + " " + program.name + " for");
  Launched out;
  out.pid = spawned.pid;
  out.pidfd = std::move(spawned.pidfd);
  out.socket = std::move(pair.ours);
  return out;
}

Launched launch_by_spawn(const Settings& settings) {
  os::SocketPair pair = os::packet_socket_pair();
  if (pair.error != 0) throw_launch_error(-pair.error, "make a socket for");
  const std::string program = executable();
  return launch_program({.name = program, .fd = -1}, arguments(), std::move(pair), settings);
}

Launched launch(StartMethod method, const std::string& library, const Settings& settings, Streams& streams) {
  switch (method) {
    case StartMethod::fork: return launch_by_fork(streams);
    case StartMethod::spawn: return launch_by_spawn(settings);
    case StartMethod::forkserver: return launch_by_forkserver();
    case StartMethod::light: return launch_by_light(library, settings);
  }
  throw UsageError("no such start method: " + std::to_string(static_cast<int>(method)));
}

void throw_launch_error(int error_number, const std::string& step) {
  const char* remedy = "";
  switch (error_number) {
    case EAGAIN:
      remedy = " (the limit of processes is reached: ulimit -u, or pids.max of the control group; join or end some)";
      break;
    case EMFILE:
      remedy = " (this process has no descriptor left: raise ulimit -n, or close some; a started process takes two)";
      break;
    case ENFILE: remedy = " (the machine has no descriptor left: fs.file-max)"; break;
    case ENOMEM: remedy = " (out of memory; the start method forkserver needs least)"; break;
    case ENOSYS:
      remedy =
          " (brood needs Linux 5.4; valgrind before 3.22 hides the system call pidfd_open from programs: use "
          "StartMethod::spawn there)";
      break;
    case E2BIG: remedy = " (command line and environment are too long)"; break;
    default: break;
  }
  throw OsError(error_number, "cannot " + step + " a child process" + remedy);
}

}  // namespace brood::inline v1::process
