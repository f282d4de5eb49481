// compiles
#include "brood/array.hpp"
#include "brood/atomic.hpp"
#include "brood/shared_memory.hpp"
enum class Colour : unsigned char { red };
constexpr auto kSize = sizeof(brood::Array<Colour>) + sizeof(brood::RawArray<double>) + sizeof(brood::Atomic<Colour>) +
                       sizeof(brood::RawValue<bool>) + sizeof(brood::Atomic<bool>);
auto test(brood::SharedMemory& memory) { return memory.as<int>(); }
