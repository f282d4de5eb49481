// A manager: a server process that keeps a dict, a list and a Namespace for several workers, and an object of a class of ours. A
// second program, here a client in this one, joins by the address.
//
// Link with brood-manager as well (pkg-config brood-manager).
//
// Output:
// words: 300, by 3 workers
// squares: 0 1 4 9
// version 2 of the index
// account: 70, and "only 70 are there"
// found by its name: 300
// the manager is gone: true
#include <algorithm>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "brood/brood.hpp"
#include "brood/manager.hpp"

using Words = brood::DictProxy<std::string, long>;
using Squares = brood::ListProxy<int>;

class Account {
 public:
  explicit Account(long balance) : balance_(balance) {}
  void withdraw(long amount) {
    if (amount > balance_) throw std::out_of_range("only " + std::to_string(balance_) + " are there");
    balance_ -= amount;
  }
  [[nodiscard]] long balance() const { return balance_; }

 private:
  long balance_;
};

void work(const Words& words, const Squares& squares, const brood::NamespaceProxy& settings, int id) {
  // Done in the server, so no increment is lost. words.set("words", words.at("words") + 1) would be two calls.
  for (int i = 0; i < 100; ++i) words.update<[](long& n) { ++n; }>("words");
  words.update<[](long& n) { ++n; }>("workers");
  squares.append(id * id);
  if (id == 2) settings.set("version", 2);
}

int main(int argc, char** argv) {
  brood::init(argc, argv);
  brood::Manager manager;
  auto words = manager.dict<std::string, long>();
  auto squares = manager.list<int>({9});
  auto settings = manager.namespace_();
  settings.set("name", std::string("index"));

  std::vector<brood::Process> workers;
  for (int id = 0; id < 3; ++id) workers.emplace_back(work, words, squares, settings, id);
  for (auto& worker : workers) worker.start();
  for (auto& worker : workers) worker.join();
  std::cout << "words: " << words.at("words") << ", by " << words.at("workers") << " workers\n";
  squares.sort();
  std::cout << "squares:";
  for (const int square : squares.snapshot()) std::cout << ' ' << square;
  std::cout << "\nversion " << settings.get<int>("version") << " of the " << settings.get<std::string>("name") << '\n';

  auto account = manager.make<Account>(100L);
  account.call<&Account::withdraw>(30);
  try {
    account.call<&Account::withdraw>(100);
  } catch (const std::out_of_range& error) {
    std::cout << "account: " << account.call<&Account::balance>() << ", and \"" << error.what() << "\"\n";
  }

  manager.publish("words", words);
  brood::ManagerClient client(manager.address());
  std::cout << "found by its name: " << client.find<Words>("words")->at("words") << '\n';

  manager.shutdown();
  try {
    std::cout << words.size() << '\n';
  } catch (const brood::ManagerDied&) {
    std::cout << "the manager is gone: true\n";
  }
}
