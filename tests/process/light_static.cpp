// A library that has brood's static library inside. Of the program that loads it nothing is known here.
#include <cstdlib>

#include "brood/error.hpp"
#include "brood/process.hpp"
#include "brood/queue.hpp"

/// 0 if everything went well.
extern "C" int light_static_run() {
  brood::Queue<int> answers(1);
  brood::Process p(
      {.start_method = brood::StartMethod::light}, [](brood::Queue<int>& out, int n) { out.put(n + 1); }, answers, 41);
  p.start();
  p.join();
  return p.exitcode() == 0 && answers.get() == 42 ? 0 : 1;
}
