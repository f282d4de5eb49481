// refused: T cannot travel to another process: it has a serialize member but cannot be default-constructed
#include "brood/detail/callable.hpp"
class Account {
 public:
  explicit Account(int n) : n_(n) {}
  template <class Archive>
  void serialize(Archive& ar) {
    ar(n_);
  }

 private:
  int n_;
};
void encode_it(brood::Encoder& out, const Account& a) { brood::encode(out, a); }
