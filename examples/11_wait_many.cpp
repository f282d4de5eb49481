// One call for many things: a queue of results, an end of a pipe, a socket, the process behind them, and a stop flag. It
// returns all that are ready and takes nothing. as_fd() gives the same to a program that has a loop of epoll already.
//
// Output:
// from the queue: 1
// from the pipe: 2
// from the socket: 3
// the worker has ended
// nobody asked to stop
// through epoll: 10 20 30
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <iostream>
#include <vector>

#include "brood/brood.hpp"

using namespace std::chrono_literals;

// Each step begins when the one before has been seen.
void work(brood::Queue<int>& results, brood::Connection<int>& pipe, brood::Semaphore& step) {
  results.put(1);
  step.acquire();
  pipe.send(2);
  step.acquire();
}

int main(int argc, char** argv) {
  brood::init(argc, argv);

  brood::Queue<int> results;
  auto [ours, theirs] = brood::pipe<int>();
  brood::Semaphore step(0);
  brood::Event stop;
  int sockets[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) return 1;

  brood::Process worker(work, results, theirs, step);
  worker.start();

  for (bool running = true; running;) {
    for (const std::size_t ready : brood::wait_any(results, ours, brood::readable(sockets[0]), worker, stop)) {
      char byte = 0;
      switch (ready) {
        case 0:
          if (const auto item = results.try_get()) std::cout << "from the queue: " << *item << '\n';
          step.release();
          break;
        case 1:
          if (const auto message = ours.try_recv()) std::cout << "from the pipe: " << *message << '\n';
          if (::write(sockets[1], "3", 1) != 1) return 1;
          break;
        case 2:
          if (::read(sockets[0], &byte, 1) != 1) return 1;
          std::cout << "from the socket: " << byte << '\n';
          step.release();
          break;
        case 3:
          std::cout << "the worker has ended\n";
          running = false;
          break;
        default: running = false; break;
      }
    }
  }
  if (brood::wait_any_for(1ms, stop).empty()) std::cout << "nobody asked to stop\n";

  // The loop of somebody else: take what there is, then rearm; what comes in between makes it readable again at once.
  brood::ReadyFd results_fd = brood::as_fd(results);
  const int loop = ::epoll_create1(EPOLL_CLOEXEC);
  epoll_event event{};
  event.events = EPOLLIN;
  if (::epoll_ctl(loop, EPOLL_CTL_ADD, results_fd.fd(), &event) != 0) return 1;
  for (const int n : {10, 20, 30}) results.put(n);
  std::cout << "through epoll:";
  for (int seen = 0; seen < 3;) {
    if (::epoll_wait(loop, &event, 1, -1) != 1) continue;
    for (; const auto item = results.try_get(); ++seen) std::cout << ' ' << *item;
    results_fd.rearm();
  }
  std::cout << '\n';
  ::close(loop);
  for (const int fd : sockets) ::close(fd);
}
