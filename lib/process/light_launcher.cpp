// The parent's side of light processes.
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include "brood/error.hpp"
#include "os/elf_identity.hpp"
#include "os/function_id.hpp"
#include "os/memory_program.hpp"
#include "os/socket.hpp"
#include "process/launcher.hpp"
#include "process/light.hpp"

namespace brood::inline v1::process {
namespace {

/// light_main.cpp, built: so there is no file that an installation could miss or mix up with another version's.
constexpr char kLauncher[] =
#include "process/light_main.inc"
    ;
constexpr const char* kLauncherName = "brood-light";

/// Kept for as long as this process lives, and for its forked children: it cannot change. Guarded by the launch mutex.
constinit int g_launcher = -1;
constinit std::uint64_t g_launcher_inode = 0;

int launcher() {
  if (g_launcher >= 0 && os::is_memory_program(g_launcher, g_launcher_inode)) return g_launcher;
  os::MemoryProgram made = os::make_memory_program(kLauncherName, std::string_view(kLauncher, sizeof kLauncher - 1));
  if (made.error == -EACCES) {
    throw StartError(
        "this system allows no programs in memory (sysctl vm.memfd_noexec is 2), and the launcher of light "
        "processes is one; use another start method");
  }
  if (made.error != 0) throw_launch_error(-made.error, made.step);
  g_launcher_inode = made.inode;
  g_launcher = made.fd.release();
  return g_launcher;
}

}  // namespace

std::string library_for(const detail::PackedCall& call, const std::string& chosen) {
  const os::FunctionId own =
      call.bytes.empty() ? os::identify(reinterpret_cast<const void*>(&launch_by_light)) : os::FunctionId();
  const bool in_program = call.bytes.empty() ? own.is_main_program : call.in_main_program;
  if (!chosen.empty()) {
    // What is not called need not be found.
    if (in_program && !call.bytes.empty()) return {};
    return std::filesystem::absolute(chosen).string();
  }
  if (in_program) return {};
  const std::string& path = call.bytes.empty() ? own.path : call.module_path;
  const std::string& loaded = call.bytes.empty() ? own.build_id : call.module_build_id;
  // The child would find out, too, but only when the other one's static objects have been made.
  const std::string on_disk = os::file_identity(path);
  if (on_disk != loaded) {
    throw StartError("the library " + path + " was rebuilt or replaced: loaded here is build id " + loaded +
                     ", the file has build id " + on_disk + "; restart this program");
  }
  return path;
}

Launched launch_by_light(const std::string& library, const Settings& settings) {
  if (library.size() >= PATH_MAX) throw_launch_error(ENAMETOOLONG, "name the library of");
  // Where brood itself is: the program's own search path, by which it was found here, does not count there.
  const os::FunctionId own = os::identify(reinterpret_cast<const void*>(&launch_by_light));
  const std::string words = library + '\0' + (own.is_main_program ? std::string() : own.path) + '\0';
  os::SocketPair pair = os::packet_socket_pair();
  if (pair.error != 0) throw_launch_error(-pair.error, "make a socket for");
  // They wait in the socket, ahead of the order.
  const int error = os::send_packet(pair.ours.get(), words.data(), words.size());
  if (error != 0) throw_launch_error(-error, "tell its library to");
  return launch_program({.name = kLauncherName, .fd = launcher()}, {kLauncherName, library}, std::move(pair), settings);
}

}  // namespace brood::inline v1::process
