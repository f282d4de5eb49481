// Work through one queue, results through another. A plain struct needs no declarations to travel; the workers end when
// the queue of jobs is shut down and empty.
//
// Output:
// 100 results, sum of squares 338350
// workers that had work: all
#include <iostream>
#include <set>
#include <string>
#include <vector>

#include "brood/brood.hpp"

struct Job {
  int number;
  std::string note;
};
struct Result {
  int worker;
  long square;
};

void work(brood::Queue<Job>& jobs, brood::Queue<Result>& results, brood::Barrier& together, int worker) {
  together.wait();  // nobody begins before all are there
  for (const Job& job : jobs) {
    results.put({worker, static_cast<long>(job.number) * job.number});
    if (job.note == "last of the first") together.wait_for(std::chrono::seconds(60));
  }
}

int main(int argc, char** argv) {
  brood::init(argc, argv);
  constexpr int kWorkers = 3;
  brood::Queue<Job> jobs(16);
  brood::Queue<Result> results;
  brood::Barrier together(kWorkers);
  std::vector<brood::Process> workers;
  for (int i = 0; i < kWorkers; ++i) workers.emplace_back(work, jobs, results, together, i).start();

  // The first three jobs make their takers wait for each other, so each worker takes one of them.
  for (int n = 1; n <= 100; ++n) jobs.put({n, n <= kWorkers ? "last of the first" : ""});
  jobs.shutdown();
  for (auto& worker : workers) worker.join();
  results.shutdown();

  long sum = 0;
  int count = 0;
  std::set<int> who;
  for (const Result& result : results) {
    sum += result.square;
    ++count;
    who.insert(result.worker);
  }
  std::cout << count << " results, sum of squares " << sum << '\n';
  std::cout << "workers that had work: " << (who.size() == kWorkers ? "all" : "not all") << '\n';
}
