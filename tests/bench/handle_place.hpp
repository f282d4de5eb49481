// How parties of a cell tell each other a handle.
#pragma once

#include <cstdio>

#include "brood/handle.hpp"

namespace bench {

/// A handle's text in shared memory, for those who come later.
struct HandlePlace {
  char text[192];
  void put(const brood::Handle& handle) { std::snprintf(text, sizeof text, "%s", handle.str().c_str()); }
};

}  // namespace bench
