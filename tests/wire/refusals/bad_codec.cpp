// refused: T cannot travel to another process: its brood::Codec lacks
#include "brood/detail/callable.hpp"
class Opaque {};
template <>
struct brood::Codec<Opaque> {
  static void encode(brood::Encoder&, const Opaque&) {}
};
void encode_it(brood::Encoder& out, const Opaque& o) { brood::encode(out, o); }
