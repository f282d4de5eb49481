// Objects that are never destroyed, on purpose.
#pragma once

#include <vector>

namespace support {

/// Leak checkers see that it is not lost.
template <class T>
T* keep(T* object) {
  static auto& kept = *new std::vector<T*>;
  kept.push_back(object);
  return object;
}

}  // namespace support
