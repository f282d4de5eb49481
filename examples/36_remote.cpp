// An object in a process of its own: calls go there and back, exceptions come home with their type, and what the object does to its
// process it does to that one alone.
//
// Output (regular expressions):
// this process is \d+
// the object's is (\d+), another one
// 15
// std::invalid_argument: a deposit of -1
// NotEnough: only 15 are there \(thrown in Bank-ada\)
// sum of 1 to 100: 5050, asked for and not waited for
// <Remote Account 'Bank-ada' pid=\d+ running>
// not started: .* was stopped; start\(\) makes a new object
// a new object: 0
#include <unistd.h>

#include <iostream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "brood/brood.hpp"

class NotEnough : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
const brood::RegisterException<NotEnough> kNotEnough;  // so that it arrives as what it is

class Account {
 public:
  explicit Account(std::string owner) : owner_(std::move(owner)) {}

  void deposit(long amount) {
    if (amount < 0) throw std::invalid_argument("a deposit of " + std::to_string(amount));
    balance_ += amount;
  }
  void withdraw(long amount) {
    if (amount > balance_) throw NotEnough("only " + std::to_string(balance_) + " are there");
    balance_ -= amount;
  }
  long balance() const { return balance_; }
  int pid() const { return ::getpid(); }

 private:
  std::string owner_;
  long balance_ = 0;
};
BROOD_REMOTE(Account, deposit, withdraw, balance)  // optional: for the short form

int main(int argc, char** argv) {
  brood::init(argc, argv);
  auto account = brood::Remote<Account>::with({.process = {.name = "Bank-ada"}}, "ada");
  const int there = account.call<&Account::pid>();
  std::cout << "this process is " << ::getpid() << "\nthe object's is " << there << ", "
            << (there != ::getpid() ? "another one" : "the same") << '\n';

  account.call<&Account::deposit>(5);
  account.deposit(10);  // the same in short
  std::cout << account.balance() << '\n';

  try {
    account.deposit(-1);
  } catch (const std::invalid_argument& error) {
    std::cout << "std::invalid_argument: " << error.what() << '\n';
  }
  try {
    account.withdraw(100);
  } catch (const NotEnough& error) {
    // Whatever comes from another process says so, too. remote.report() has the stack where it was thrown.
    const auto& remote = dynamic_cast<const brood::RemoteError&>(error);
    std::cout << remote.type_name() << ": " << error.what() << " (thrown in " << remote.process_name() << ")\n";
  }

  account.withdraw(15);
  std::vector<brood::Future<void>> deposits;
  for (long i = 1; i <= 100; ++i) deposits.push_back(account.async<&Account::deposit>(i));
  for (const auto& deposit : deposits) deposit.get();
  const brood::Future<std::string> text =
      account.async<&Account::balance>().then([](long sum) { return "sum of 1 to 100: " + std::to_string(sum); });
  std::cout << text.get() << ", asked for and not waited for\n" << account << '\n';

  account.stop();
  try {
    account.deposit(1);
  } catch (const brood::NotStarted& error) {
    std::cout << "not started: " << error.what() << '\n';
  }
  account.start("bob");
  std::cout << "a new object: " << account.balance() << '\n';
}
