// compiles
#include "brood/remote.hpp"
struct Wide {
  int f0() { return 0; }
  int f1() { return 1; }
  int f2() { return 2; }
  int f3() { return 3; }
  int f4() { return 4; }
  int f5() { return 5; }
  int f6() { return 6; }
  int f7() { return 7; }
  int f8() { return 8; }
  int f9() { return 9; }
  int f10() { return 10; }
  int f11() { return 11; }
  int f12() { return 12; }
  int f13() { return 13; }
  int f14() { return 14; }
  int f15() { return 15; }
  int f16() { return 16; }
  int f17() { return 17; }
  int f18() { return 18; }
  int f19() { return 19; }
  int f20() { return 20; }
  int f21() { return 21; }
  int f22() { return 22; }
  int f23() { return 23; }
  int f24() { return 24; }
  int f25() { return 25; }
  int f26() { return 26; }
  int f27() { return 27; }
  int f28() { return 28; }
  int f29() { return 29; }
  int f30() { return 30; }
  int f31() { return 31; }
  int f32() { return 32; }
  int f33() { return 33; }
  int f34() { return 34; }
  int f35() { return 35; }
  int f36() { return 36; }
  int f37() { return 37; }
  int f38() { return 38; }
  int f39() { return 39; }
};
BROOD_REMOTE(Wide, f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15, f16, f17, f18, f19, f20, f21,
             f22, f23, f24, f25, f26, f27, f28, f29, f30, f31, f32, f33, f34, f35, f36, f37, f38, f39)
int test(brood::Remote<Wide>& wide) { return wide.f0() + wide.f39(); }
