// A program without any line of brood's in main: linked with brood-main.
#include <iostream>
#include <string>

#include "brood/process.hpp"

static const std::string g_text = "static object ready";

int main() {
  std::cout << "main runs" << std::endl;
  int sum = 0;
  for (const auto method : {brood::StartMethod::fork, brood::StartMethod::spawn, brood::StartMethod::forkserver}) {
    brood::Process p(
        {.start_method = method}, [](int n) { std::cout << "child " << n << ": " << g_text << std::endl; }, 7);
    p.start();
    p.join();
    sum += p.exitcode().value_or(100);
  }
  return sum;
}
