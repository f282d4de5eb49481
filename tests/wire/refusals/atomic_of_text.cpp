// refused: Atomic<T> holds plain data of up to 8 bytes without pointers and padding; take a Value
#include <string>

#include "brood/atomic.hpp"
constexpr auto kSize = sizeof(brood::Atomic<std::string>);
