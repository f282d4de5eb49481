// for_each, transform_reduce, map_reduce.
#include <functional>
#include <list>
#include <map>
#include <numeric>
#include <sstream>

#include "brood/pool_algorithms.hpp"
#include "brood/value.hpp"
#include "pool/pool_support.hpp"

namespace {

using namespace pool_test;

std::vector<std::pair<std::string, long>> words_of(const std::string& text) {
  std::vector<std::pair<std::string, long>> out;
  std::istringstream in(text);
  for (std::string word; in >> word;) out.emplace_back(word, 1);
  return out;
}
long plus(long a, long b) { return a + b; }

class PoolAlgorithms : public Pools {};

const std::vector<std::string> kTexts{"the cat and the dog", "and the bird", "", "cat"};
const std::map<std::string, long> kCounts{{"and", 2}, {"bird", 1}, {"cat", 2}, {"dog", 1}, {"the", 3}};

TEST_F(PoolAlgorithms, MapReduceCountsWords) {
  Pool pool(2);
  EXPECT_EQ(brood::map_reduce(pool, kTexts, words_of, plus), kCounts);
  EXPECT_EQ(brood::map_reduce(pool, kTexts, words_of, std::plus<>{}), kCounts);
  EXPECT_EQ(brood::map_reduce(pool, kTexts, [](const std::string& text) { return words_of(text); }, std::plus<>{},
                              {.chunk_size = 1}),
            kCounts);
  EXPECT_EQ(brood::map_reduce(pool, kTexts, words_of,
                              [](const std::string& /*key*/, const std::vector<long>& values) {
                                return std::accumulate(values.begin(), values.end(), 0L);
                              }),
            kCounts);
  EXPECT_TRUE(brood::map_reduce(pool, std::vector<std::string>(), words_of, plus).empty());
}

TEST_F(PoolAlgorithms, TransformReduceKeepsTheOrder) {
  Pool pool(2);
  std::vector<int> items(100);
  std::iota(items.begin(), items.end(), 0);
  std::string expected = "<";
  for (const int i : items) expected += std::to_string(i) + " ";
  const auto text = [](int i) { return std::to_string(i) + " "; };
  for (const std::int64_t chunk : {0, 1, 7, 1000}) {
    EXPECT_EQ(brood::transform_reduce(pool, items, std::string("<"), std::plus<>{}, text, {.chunk_size = chunk}),
              expected);
  }
  EXPECT_EQ(brood::transform_reduce(pool, std::list{1, 2, 3}, 10L, plus, square), 24L);
  EXPECT_EQ(brood::transform_reduce(pool, std::list<int>(), 10, std::plus<>{}, [](int i) { return i; }), 10);
  EXPECT_THROW((void)brood::transform_reduce(pool, items, 0, std::plus<>{},
                                             [](int i) {
                                               if (i == 50) throw std::out_of_range("fifty");
                                               return i;
                                             }),
               std::out_of_range);
}

TEST_F(PoolAlgorithms, ForEachDoesIt) {
  Pool pool(2);
  brood::for_each(pool, std::vector{1, 2, 3}, [](int) {});
  brood::for_each(pool, std::vector{1, 2, 3}, square);
  EXPECT_EQ(pool.insight().finished, 6U);
}

}  // namespace
