// refused: T cannot travel to another process: it is or holds a reference
#include "brood/detail/callable.hpp"
struct Ref {
  const std::string& text;
};
void work(Ref) {}
void test() {
  std::string s;
  brood::detail::pack_call(work, Ref{s});
}
