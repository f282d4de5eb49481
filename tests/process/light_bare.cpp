// A library without brood.
extern "C" int light_bare_answer() { return 42; }
