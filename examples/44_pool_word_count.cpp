// Map and reduce over real files: each file is counted by a task (map), which says so; the counts of each word are added up
// (reduce). The files are the arguments; without any, the C headers of this machine.
//
// Output (any order, regular expressions):
// PoolWorker-[1-4]: 40_manager\.cpp, [0-9]+ words
// PoolWorker-[1-4]: 41_pool_squares\.cpp, [0-9]+ words
// PoolWorker-[1-4]: 42_pool_expression\.cpp, [0-9]+ words
// PoolWorker-[1-4]: 43_pool_crash\.cpp, [0-9]+ words
// most often: std [0-9]+, [a-z]+ [0-9]+, [a-z]+ [0-9]+, [a-z]+ [0-9]+, [a-z]+ [0-9]+
// 4 files, counted in one process: the same
#include <algorithm>
#include <cctype>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "brood/brood.hpp"

using Counts = std::map<std::string, std::uint64_t>;

/// Words are made of letters.
Counts count_words(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path);
  Counts counts;
  std::string word;
  for (std::istreambuf_iterator<char> at(file), end; at != end; ++at) {
    if (std::isalpha(static_cast<unsigned char>(*at)) != 0) word += *at;
    else if (!word.empty()) ++counts[std::exchange(word, {})];
  }
  if (!word.empty()) ++counts[word];
  return counts;
}

/// The map's task.
Counts count_and_say(const std::string& path) {
  Counts counts = count_words(path);
  std::uint64_t words = 0;
  for (const auto& [word, count] : counts) words += count;
  std::ostringstream line;
  line << brood::current_process().name() << ": " << std::filesystem::path(path).filename().string() << ", " << words
       << " words\n";
  std::cout << line.str() << std::flush;  // one write: the lines of several workers do not mix
  return counts;
}

void add_to(Counts& sum, const Counts& counts) {
  for (const auto& [word, count] : counts) sum[word] += count;
}

int main(int argc, char** argv) {
  brood::init(argc, argv);
  std::vector<std::string> paths(argv + 1, argv + argc);
  if (paths.empty()) {
    for (const auto& entry : std::filesystem::directory_iterator("/usr/include")) {
      if (entry.path().extension() == ".h") paths.push_back(entry.path().string());
    }
  }

  brood::Pool pool(4);
  const Counts sum = brood::map_reduce(pool, paths, count_and_say, std::plus<>{}, {.chunk_size = 1});

  std::vector<std::pair<std::uint64_t, std::string>> by_count;
  for (const auto& [word, count] : sum) {
    if (word.size() > 2) by_count.emplace_back(count, word);
  }
  std::ranges::sort(by_count, std::greater{});
  by_count.resize(std::min(by_count.size(), std::size_t{5}));
  std::cout << "most often:";
  const char* separator = " ";
  for (const auto& [count, word] : by_count) std::cout << std::exchange(separator, ", ") << word << ' ' << count;

  Counts alone;
  for (const std::string& path : paths) add_to(alone, count_words(path));
  std::cout << '\n'
            << paths.size() << " files, counted in one process: " << (alone == sum ? "the same" : "something else")
            << '\n';
}
