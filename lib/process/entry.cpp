#include "process/entry.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "brood/init.hpp"
#include "os/program.hpp"
#include "os/socket.hpp"
#include "process/bootstrap.hpp"
#include "process/conversation.hpp"
#include "process/current.hpp"
#include "process/light.hpp"
#include "process/light_words.hpp"
#include "registry/registry.hpp"

namespace brood::inline v1 {
namespace process {
namespace {

/// A process that was told to be a child and is not one of ours must not run the program's main: whoever started it
/// does not expect that, and a child that starts children would breed.
[[noreturn]] void refuse(const std::string& why) noexcept {
  std::fprintf(stderr,
               "brood: process %d was started with %s in its environment, but %s. It ends here; main() was not run.\n",
               ::getpid(), kEntryVariable, why.c_str());
  std::fflush(stderr);
  ::_exit(kCannotRun);
}

/// The socket, if the parent process is at its other end.
base::UniqueFd verified_socket(const std::string& text) {
  int fd = -1;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), fd);
  if (text.empty() || parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || fd < 0)
    refuse("its value is no descriptor's number");
  const auto peer = os::peer_of(fd);
  if (!peer) refuse("descriptor " + text + " is not a socket of brood");
  base::UniqueFd socket(fd);
  if (::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) refuse("descriptor " + text + " cannot be made close-on-exec");
  // A parent of root's may have made us somebody else (ProcessOptions::user).
  if (peer->uid != ::geteuid() && peer->uid != 0)
    refuse("the other end of its socket belongs to user " + std::to_string(peer->uid));
  if (peer->pid != ::getppid()) {
    // The parent was killed meanwhile: nobody expects anything of us.
    if (hear(fd).said == Said::end) ::_exit(kCannotRun);
    refuse("the other end of its socket belongs to process " + std::to_string(peer->pid) + ", not to its parent");
  }
  return socket;
}

/// What is executed as /proc/self/exe is called "exe" by ps, top and killall.
void take_own_name() noexcept {
  char name[16] = {};
  if (::prctl(PR_GET_NAME, name) == 0 && std::string_view(name) == "exe" && *program_invocation_short_name != '\0')
    ::prctl(PR_SET_NAME, program_invocation_short_name);
}

/// If this is a child.
void enter() {
  const char* value = std::getenv(kEntryVariable);
  if (value == nullptr) return;
  const std::string text = value;
  ::unsetenv(kEntryVariable);
  if (os::runs_with_raised_rights()) refuse("it runs with raised rights (setuid, setgid or capabilities)");
  base::UniqueFd socket = verified_socket(text);
  take_own_name();
  run_child(std::move(socket), Origin::exec);
}

}  // namespace

LightStage light_stage() noexcept {
  if (&brood_v1_light_launcher == nullptr) return LightStage::none;
  return std::getenv(kEntryVariable) != nullptr ? LightStage::loading : LightStage::running;
}

}  // namespace process

/// For the launcher of light processes. In this file, which every user of Process links: the launcher looks it up by name.
extern "C" [[gnu::visibility("default"), gnu::used]] void brood_v1_enter_light() {
  process::enter();
  process::refuse("it was taken away while the library was being loaded");
}

void init(int argc, char** argv) {
  // There is no main to come in by; the launcher enters when the library has been loaded.
  if (process::light_stage() != process::LightStage::none) return;
  std::vector<std::string> arguments;
  for (int i = 0; argv != nullptr && i < argc && argv[i] != nullptr; ++i) arguments.emplace_back(argv[i]);
  process::arm(std::move(arguments));
  process::enter();
  if (process::current().path.empty()) registry::set_process_name(process::current().name);
}

void init() { init(0, nullptr); }

}  // namespace brood::inline v1
