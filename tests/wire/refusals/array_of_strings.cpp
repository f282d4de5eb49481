// refused: arrays hold plain data without pointers; send other types through a Queue
#include <string>

#include "brood/array.hpp"
constexpr auto kSize = sizeof(brood::Array<std::string>);
