// refused: T cannot travel to another process: it is or holds a C array
#include "brood/detail/callable.hpp"
struct Record {
  int id;
  char name[32];
};
void encode_it(brood::Encoder& out, const Record& r) { brood::encode(out, r); }
