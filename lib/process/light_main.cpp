// The launcher of light processes: loads one library, goes in through the door that it exports, and is nothing else. A
// program of its own, which is part of libbrood as bytes and is executed from memory. It links nothing of ours, so that the
// process has one runtime: the one that the library brings.
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <initializer_list>

#include "process/entry.hpp"
#include "process/light_words.hpp"

extern "C" const char brood_v1_light_launcher = 1;

namespace {

using namespace brood::v1::process;

/// Sends the reason, which becomes start()'s error.
[[noreturn]] void fail(int socket, const char* what, const char* path, const char* why) {
  char packet[sizeof(Wire) + kTextBytes];
  const Wire wire{kSaidFailed, 0};
  memcpy(packet, &wire, sizeof wire);
  size_t size = sizeof wire;
  for (const char* part : {what, path, why}) {
    const size_t room = sizeof packet - size;
    const size_t length = strlen(part) < room ? strlen(part) : room;
    memcpy(packet + size, part, length);  // NOLINT(bugprone-not-null-terminated-result): the packet has its size
    size += length;
  }
  (void)send(socket, packet, size, MSG_NOSIGNAL);
  // Until the parent closes its end. Ending with an unread order would reach it as a reset, ahead of our words.
  for (;;) {
    const ssize_t got = recv(socket, packet, sizeof packet, 0);
    if (got == 0 || (got < 0 && errno != EINTR)) _exit(kCannotRun);
  }
}

int inherited_socket() {
  const char* value = getenv(kEntryVariable);
  if (value == nullptr) _exit(kCannotRun);
  return atoi(value);
}

/// ps and top show it.
void take_name_of(const char* path) {
  const char* slash = strrchr(path, '/');
  prctl(PR_SET_NAME, slash != nullptr ? slash + 1 : path);
}

}  // namespace

int main() {
  const int socket = inherited_socket();
  // What the library's static objects execute is no business of ours.
  fcntl(socket, F_SETFD, FD_CLOEXEC);
  // The first packet: the paths of the library and of brood's own, which is empty if that is part of the program. The order
  // follows.
  char path[2 * PATH_MAX];
  const ssize_t got = recv(socket, path, sizeof path, 0);
  if (got <= 0 || path[got - 1] != '\0') _exit(kCannotRun);
  const char* runtime = path + strlen(path) + 1;
  if (runtime >= path + got) _exit(kCannotRun);
  take_name_of(path);
  // What the library needs of brood is so found without a search. If it is gone, the library's own error says more.
  if (*runtime != '\0') (void)dlopen(runtime, RTLD_NOW | RTLD_GLOBAL);
  // Global: it stands where a program stands, and what it loads later may look for its symbols. Now: what is missing is
  // told by start(), not by a crash in the middle.
  void* library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) fail(socket, "cannot load the library of a light process: ", dlerror(), "");
  void* entry = dlsym(library, kLightEntryName);
  if (entry == nullptr) {
    fail(socket, "the library ", path,
         " has no door for light processes (brood_v1_enter_light): link it with brood, and if that is the static "
         "library, leave this symbol visible");
  }
  reinterpret_cast<LightEntry>(entry)();
}
