// What gc() may meet while it looks into a container that is somebody else's.
#pragma once

#include <cstddef>

#include "brood/error.hpp"

namespace brood::inline v1::channel {

/// Runs `tidy()`, which returns how many pins it dropped. What stands in its way is for others, or for another gc().
template <class Tidy>
std::size_t tidy_if_possible(Tidy tidy) {
  try {
    return tidy();
  } catch (const HandleError&) {
    return 0;  // it was freed meanwhile, and its pins with it
  } catch (const TypeMismatch&) {
    return 0;  // a damaged segment; who opens it is told
  } catch (const DecodeError&) {
    return 0;  // a damaged record; who takes it is told
  } catch (const OsError&) {
    return 0;  // out of descriptors or memory: for another gc()
  }
}

}  // namespace brood::inline v1::channel
