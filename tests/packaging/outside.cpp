// A program of somebody else's: sees what is installed, and nothing more.
#include <brood/brood.hpp>

#include <iostream>
#include <mutex>
#include <string>

namespace {

void greet(brood::Lock& printer, brood::Queue<std::string>& out, const std::string& name) {
  const std::scoped_lock turn(printer);
  out.put("hello " + name);
}

}  // namespace

int main(int argc, char** argv) {
  brood::init(argc, argv);
  try {
    const brood::Handle broken("brood:queue:42");
    return 2;
  } catch (const brood::Error&) {  // thrown inside the library, caught here: one type on both sides
  }
  brood::Lock printer;
  brood::Queue<std::string> out;
  for (const auto method : {brood::StartMethod::fork, brood::StartMethod::spawn, brood::StartMethod::forkserver}) {
    brood::Process process({.start_method = method}, greet, printer, out, std::string("from outside"));
    process.start();
    process.join();
    if (process.exitcode() != 0 || out.get() != "hello from outside") return 1;
  }
  std::cout << "outside: three processes by brood " << BROOD_VERSION_STRING << '\n';
}
