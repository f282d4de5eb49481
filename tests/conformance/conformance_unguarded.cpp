// A program without brood::init() that starts a child by the method of its argument; every line of main in a child would
// show as a second "main runs".
#include <unistd.h>

#include <exception>
#include <iostream>
#include <string_view>

#include "brood/error.hpp"
#include "brood/process.hpp"

int main(int argc, char** argv) {
  std::cout << "main runs" << std::endl;
  if (argc != 2) return 64;
  for (const auto method : brood::get_all_start_methods()) {
    if (to_string(method) == std::string_view(argv[1])) brood::set_start_method(method);
  }
  try {
    brood::Process p([](int number) { std::cout << number << std::endl; }, 123);
    p.start();
    p.join();
    return p.exitcode().value_or(65);
  } catch (const brood::UsageError& error) {
    std::cerr << "UsageError: " << error.what() << std::endl;
    return 1;
  }
}
