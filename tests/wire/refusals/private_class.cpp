// refused: T cannot travel to another process: it is neither Serializable
#include "brood/detail/callable.hpp"
class Account {
 public:
  explicit Account(int n) : n_(n) {}

 private:
  int n_;
};
void work(const Account&) {}
void test() { brood::detail::pack_call(work, Account(1)); }
