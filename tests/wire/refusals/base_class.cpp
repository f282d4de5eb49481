// refused: T cannot travel to another process: it is or holds a struct with a base class
#include "brood/detail/callable.hpp"
struct Base {
  int a;
};
struct Derived : Base {
  int b;
};
Derived decode_it(brood::Decoder& in) { return brood::decode<Derived>(in); }
