// A program that knows nothing of brood and loads light_static.so.
#include <dlfcn.h>

#include <cstdio>

int main(int argc, char** argv) {
  std::puts("main runs");
  std::fflush(stdout);
  void* library = argc == 2 ? dlopen(argv[1], RTLD_NOW) : nullptr;
  if (library == nullptr) {
    std::puts(dlerror());
    return 64;
  }
  const auto run = reinterpret_cast<int (*)()>(dlsym(library, "light_static_run"));
  return run != nullptr ? run() : 65;
}
