// refused: T cannot travel to another process: it is or holds a raw pointer
#include <optional>
#include "brood/detail/callable.hpp"
struct Inner {
  const char* text;
};
struct Outer {
  std::vector<std::optional<Inner>> all;
};
void work(Outer) {}
void test() { brood::detail::pack_call(work, Outer{}); }
