// Copies of ends. Three workers share the end from which tasks come and the end into which results go: whole messages
// interleave, each task goes to one of them. With a task travels the end for its reply, as handles do; and a worker that
// is killed holds nothing any more.
//
// Output:
// a reply came back through an end that was sent along: 7 * 6 = 42
// 30 tasks, 30 results, sum 930
// killed the worker that was left; its end has ended: true
#include <iostream>
#include <string>
#include <vector>

#include "brood/brood.hpp"

struct Task {
  int number;
  brood::Connection<std::string> reply;  // an end travels like any other value
};

void answer(brood::Connection<Task>& tasks) {
  Task task = tasks.recv();
  task.reply.send(std::to_string(task.number) + " * 6 = " + std::to_string(task.number * 6));
}

void work(brood::Connection<int>& tasks, brood::Connection<int>& results) {
  try {
    for (;;) results.send(tasks.recv() * 2);
  } catch (const brood::EndOfFile&) {
    // No more tasks: every copy of the other end is closed.
  }
}

void hold(brood::Connection<int>& end) { (void)end.recv(); }

int main(int argc, char** argv) {
  brood::init(argc, argv);

  auto [ask, asked] = brood::pipe<Task>();
  brood::Process helper(answer, asked);
  helper.start();
  {
    auto [ours, theirs] = brood::pipe<std::string>();
    ask.send(Task{7, std::move(theirs)});  // the message keeps it alive until it is received
    std::cout << "a reply came back through an end that was sent along: " << ours.recv() << '\n';
  }
  helper.join();

  auto [tasks_out, tasks_in] = brood::pipe<int>();
  auto [results_out, results_in] = brood::pipe<int>();
  std::vector<brood::Process> workers;
  for (int i = 0; i < 3; ++i) workers.emplace_back(work, tasks_in, results_in).start();
  tasks_in.close();
  results_in.close();
  for (int n = 1; n <= 30; ++n) tasks_out.send(n);
  tasks_out.close();
  int count = 0;
  int sum = 0;
  try {
    for (;; ++count) sum += results_out.recv();
  } catch (const brood::EndOfFile&) {
    std::cout << "30 tasks, " << count << " results, sum " << sum << '\n';
  }
  for (auto& worker : workers) worker.join();

  auto [ours, theirs] = brood::pipe<int>();
  brood::Process left(hold, theirs);
  left.start();
  theirs.close();
  left.kill();
  bool ended = false;
  try {
    (void)ours.recv();
  } catch (const brood::EndOfFile&) {
    ended = true;
  }
  std::cout << "killed the worker that was left; its end has ended: " << std::boolalpha << ended << '\n';
}
