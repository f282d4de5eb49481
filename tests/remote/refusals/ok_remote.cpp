// compiles
#include "brood/remote.hpp"
struct Base {
  int inherited() const { return 1; }
};
struct Thing : Base {
  explicit Thing(std::string, int = 0) {}
  void plain(int) {}
  int quiet() const noexcept { return 1; }
  int overloaded(int) { return 1; }
  int overloaded(const std::string&) { return 2; }
  const std::string& text() { return text_; }
  int* find() { return &number; }
  std::string text_;
  int number = 0;
};
int beside(const Thing&, int n) { return n; }
BROOD_REMOTE(Thing, plain, quiet, inherited, number)
void test() {
  brood::Remote<Thing> thing("text", 1);
  thing.call<&Thing::plain>(short{1});
  thing.plain(1);
  (void)(thing.quiet() + thing.inherited() + thing.number());
  (void)thing.call<static_cast<int (Thing::*)(int)>(&Thing::overloaded)>(1);
  (void)thing.call<[](Thing& it, std::string text) { return it.overloaded(text); }>("text");
  (void)thing.call<&Thing::text>().size();
  (void)thing.call<&beside>(1);
  (void)thing.call<[](Thing& it) { return *it.find(); }>();
  (void)thing.async<&Thing::quiet>().then([](int n) { return n; }).get();
}
