// A process as a class: run() is what it does, the members that serialize names are what it takes along, and it prints itself
// as it likes. The same under every start method.
//
// Output:
// <Greeter of Ann, 0 to 2>
// fork: Ann 0 Ann 1 Ann 2 (as greeter-fork)
// spawn: Ann 0 Ann 1 Ann 2 (as greeter-spawn)
// forkserver: Ann 0 Ann 1 Ann 2 (as greeter-forkserver)
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "brood/brood.hpp"

class Greeter : public brood::CustomProcess<Greeter> {
 public:
  Greeter() = default;  // made in the child, then its members arrive
  Greeter(brood::ProcessOptions options, std::string whom, std::vector<int> numbers)
      : CustomProcess(std::move(options)), whom_(std::move(whom)), numbers_(std::move(numbers)) {}

  void run() {
    for (const int number : numbers_) std::cout << ' ' << whom_ << ' ' << number;
    std::cout << " (as " << name() << ")" << std::endl;
  }

  template <class Archive>
  void serialize(Archive& ar) {
    ar(whom_, numbers_);
  }
  friend std::ostream& operator<<(std::ostream& out, const Greeter& it) {
    return out << "<Greeter of " << it.whom_ << ", " << it.numbers_.front() << " to " << it.numbers_.back() << '>';
  }

 private:
  std::string whom_;
  std::vector<int> numbers_;
};

int main(int argc, char** argv) {
  brood::init(argc, argv);
  const std::vector<int> numbers = {0, 1, 2};
  std::cout << Greeter({}, "Ann", numbers) << '\n';
  for (const auto method : {brood::StartMethod::fork, brood::StartMethod::spawn, brood::StartMethod::forkserver}) {
    Greeter greeter({.name = "greeter-" + std::string(to_string(method)), .start_method = method}, "Ann", numbers);
    std::cout << method << ':' << std::flush;
    greeter.start();
    greeter.join();
  }
}
