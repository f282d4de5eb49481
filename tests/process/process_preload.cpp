// A module for the forkserver to load: remembers who ran its static initialisation.
#include <unistd.h>

extern "C" pid_t process_preload_loaded_by();

namespace {
const pid_t g_loaded_by = ::getpid();
}

pid_t process_preload_loaded_by() { return g_loaded_by; }
