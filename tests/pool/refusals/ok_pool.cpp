// compiles
#include <list>
#include "brood/pool.hpp"
#include "brood/pool_algorithms.hpp"
#include "brood/queue.hpp"
struct Model {
  std::vector<int> weights;
  const std::string& name() const { return name_; }
  std::string name_;
};
int square(int x);
int classify(Model& model, const std::string& text);
int look(const Model& model, int n);
const std::string& refers(int);
Model load(const std::string& path);
void put(brood::Queue<int>& queue, int x);
void test(brood::Pool& pool, brood::Queue<int>& queue) {
  brood::Pool stateful(4, {.initializer = {load, "model.bin"}});
  (void)stateful.map(classify, std::list<std::string>{"a"});
  (void)stateful.submit(look, 1);
  (void)pool.submit(put, queue, 1);
  (void)pool.submit<square>(short{1});
  (void)pool.submit({.priority = 1}, square, 1);
  const std::string& text = pool.submit(refers, 1).get();
  (void)text;
  (void)pool.map([](auto x) { return x + 1; }, {1, 2});
  (void)pool.map<square>(std::vector{1, 2});
  (void)pool.starmap([](int a, const std::string& b) { return b.size() + a; },
                     std::vector<std::tuple<int, std::string>>{{1, "b"}});
  for (const int y : pool.imap_unordered(square, std::vector{1})) (void)y;
  brood::for_each(pool, std::vector{1}, square);
}
