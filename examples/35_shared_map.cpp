// A map in shared memory that several workers change. One of them is killed in the middle of a change: nothing of that
// change is to be seen, and nobody waits for it.
//
// Output:
// words: 3, of which "locks" 200 times, "queues" 200 times
// while one worker is half way through, the map has 3 words
// after its death the map has 3 words
// the next worker goes on: "locks" 250 times
#include <iostream>
#include <string>

#include "brood/brood.hpp"
#include "brood/shared/map.hpp"

using Counts = brood::shared::Map<std::string, int>;

void count(Counts& counts, int rounds) {
  // Each update is a transaction: what the function does to the value happens as a whole.
  for (int i = 0; i < rounds; ++i) {
    counts.update("locks", [](int& n) { ++n; });
    counts.update("queues", [](int& n) { ++n; });
  }
}

void spoil(Counts& counts, brood::Event& half_way) {
  auto words = counts.write();  // one transaction of many changes, until the end of this scope
  words->clear();
  for (int i = 0; i < 10'000; ++i) words->emplace("spoiled " + std::to_string(i), i);
  half_way.set();
  brood::Event never;
  never.wait();  // it will be killed here
}

int main(int argc, char** argv) {
  brood::init(argc, argv);
  Counts counts;
  counts.insert_or_assign("semaphores", 0);
  brood::Process one(count, counts, 100);
  brood::Process two(count, counts, 100);
  one.start();
  two.start();
  one.join();
  two.join();
  std::cout << "words: " << counts.size() << ", of which \"locks\" " << counts.at("locks") << " times, \"queues\" "
            << counts.at("queues") << " times\n";

  brood::Event half_way;
  brood::Process spoiler(spoil, counts, half_way);
  spoiler.start();
  half_way.wait();
  std::cout << "while one worker is half way through, the map has " << counts.size() << " words\n";
  spoiler.kill();
  spoiler.join();
  std::cout << "after its death the map has " << counts.size() << " words\n";

  brood::Process three(count, counts, 50);
  three.start();
  three.join();
  std::cout << "the next worker goes on: \"locks\" " << counts.at("locks") << " times\n";
}
