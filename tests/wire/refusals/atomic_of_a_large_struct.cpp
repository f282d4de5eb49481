// refused: Atomic<T> holds plain data of up to 8 bytes without pointers and padding; take a Value
#include "brood/atomic.hpp"
struct Large {
  long first;
  long second;
};
constexpr auto kSize = sizeof(brood::Atomic<Large>);
