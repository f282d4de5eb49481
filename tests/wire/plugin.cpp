// A module that programs load while they run. The rebuilt one differs and says so when any of it runs.
#include <cstdio>

#ifndef PLUGIN_ADDS
#define PLUGIN_ADDS 0
#endif

extern "C" int plugin_twice(int n) { return 2 * n + PLUGIN_ADDS; }

namespace {
int hidden(int n) { return n + 3000 + PLUGIN_ADDS; }
struct Noise {
  Noise() {
    if (PLUGIN_ADDS != 0) std::puts("THE REBUILT PLUGIN RAN");
  }
} noise;
}  // namespace

using Function = int (*)(int);
extern "C" Function plugin_hidden() { return hidden; }
