// Everybody who subscribes reads everything. The clerk's reader is too slow for the small ring and is told what it missed; a
// killed reader is in nobody's way.
//
// Output:
// board: 1000 prices, the last one 1099, missed 0
// clerk: 10 prices, the last one 1099, missed 990
#include <array>
#include <iostream>
#include <string>

#include "brood/brood.hpp"

struct Price {
  long number;
  std::array<char, 376> text;
};

void display(brood::Broadcast<Price>& prices, brood::Event& ready, brood::Queue<std::string>& log) {
  auto mine = prices.subscribe();
  ready.set();
  long count = 0;
  long last = 0;
  for (const Price& price : mine) {
    ++count;
    last = price.number;
  }
  log.put("board: " + std::to_string(count) + " prices, the last one " + std::to_string(last) + ", missed " +
          std::to_string(mine.missed()));
}

void die(brood::Broadcast<Price>& prices, brood::Event& ready) {
  auto mine = prices.subscribe();
  ready.set();
  for (;;) (void)mine.get();
}

int main(int argc, char** argv) {
  brood::init(argc, argv);
  brood::Broadcast<Price> prices({.byte_budget = 1 << 20});
  brood::Broadcast<Price> ticker({.byte_budget = 4096, .slow_reader = brood::SlowReader::drop});
  brood::Event board_ready;
  brood::Event victim_ready;
  brood::Queue<std::string> log;
  brood::Process board(display, prices, board_ready, log);
  brood::Process victim(die, prices, victim_ready);
  board.start();
  victim.start();
  board_ready.wait();
  victim_ready.wait();

  auto clerk = ticker.subscribe();
  for (long i = 100; i < 1100; ++i) {
    if (i == 500) victim.kill();
    prices.publish({i, {"as of now"}});  // waits for the board, if it is a mebibyte behind
    ticker.publish({i, {"as of now"}});  // waits for nobody
  }
  prices.shutdown();
  ticker.shutdown();
  std::cout << log.get() << '\n';
  long count = 0;
  long last = 0;
  for (const Price& price : clerk) {
    ++count;
    last = price.number;
  }
  std::cout << "clerk: " << count << " prices, the last one " << last << ", missed " << clerk.missed() << '\n';
  board.join();
  victim.join();
}
