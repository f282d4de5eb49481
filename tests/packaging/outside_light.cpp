// A library of somebody else's with a target for light processes, and (OUTSIDE_PROGRAM) a program that uses it and has no
// line of brood's.
#ifdef OUTSIDE_PROGRAM

int start_light();

int main() { return start_light(); }

#else

#include <brood/brood.hpp>

#include <iostream>

int start_light() {
  brood::Queue<int> answers(1);
  brood::Process process(
      {.start_method = brood::StartMethod::light}, [](brood::Queue<int>& out, int n) { out.put(n + 1); }, answers, 41);
  process.start();
  process.join();
  if (process.exitcode() != 0) return 1;
  std::cout << "outside: " << answers.get() << " by way of a light process\n";
  return 0;
}

#endif
