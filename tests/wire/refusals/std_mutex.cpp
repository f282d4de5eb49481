// refused: T cannot travel to another process: it is or holds a mutex
#include <mutex>
#include "brood/detail/callable.hpp"
void work(std::mutex&) {}
void encode_it(brood::Encoder& out, const std::mutex& m) { brood::encode(out, m); }
