// A shared array of a struct: three workers move particles, each change under the array's lock. One worker is killed in the
// middle of a change: the next one to lock is told so, and repairs.
//
// Output:
// moved 300 times in all
// a worker died in the middle of a change
// repaired: every particle is where its velocity says
// the 2 x 2 block in the middle of a 4 x 4 matrix: 5 6 9 10
#include <csignal>
#include <cstddef>
#include <iostream>
#include <span>
#include <vector>

#include "brood/brood.hpp"

struct Particle {
  double place = 0;
  double velocity = 0;
  int moved = 0;
};

void move_all(brood::Array<Particle>& particles) {
  for (int step = 0; step < 100; ++step) {
    for (Particle& p : particles.lock()) {
      p.place += p.velocity;
      ++p.moved;
    }
  }
}

void die_in_the_middle(brood::Array<Particle>& particles) {
  auto guard = particles.lock();
  guard[0].place += guard[0].velocity;  // and has not counted it
  std::raise(SIGKILL);
}

int main(int argc, char** argv) {
  brood::init(argc, argv);
  brood::Array<Particle> particles{{0, 1, 0}, {0, -2, 0}};

  std::vector<brood::Process> workers;
  for (int i = 0; i < 3; ++i) workers.emplace_back(move_all, particles).start();
  for (auto& worker : workers) worker.join();
  std::cout << "moved " << particles.get(0).moved << " times in all\n";

  brood::Process victim(die_in_the_middle, particles);
  victim.start();
  victim.join();
  try {
    (void)particles.get(0);
  } catch (const brood::OwnerDied&) {
    std::cout << "a worker died in the middle of a change\n";
    particles.recover([](std::span<Particle> all) {
      for (Particle& p : all) p.place = p.velocity * p.moved;
    });
  }
  const bool right =
      particles.with([](std::span<Particle> all) { return all[0].place == 300 && all[1].place == -600; });
  std::cout << "repaired: " << (right ? "every particle is where its velocity says" : "wrong") << '\n';

  // Without a lock, and seen as a matrix.
  brood::RawArray<int> cells(16);
  auto matrix = cells.view(4, 4);
  for (std::size_t row = 0; row < 4; ++row) {
    for (std::size_t column = 0; column < 4; ++column) matrix(row, column) = static_cast<int>(4 * row + column);
  }
  std::cout << "the 2 x 2 block in the middle of a 4 x 4 matrix:";
  for (const int row : {1, 2}) {
    for (const int column : {1, 2}) std::cout << ' ' << matrix(row, column);
  }
  std::cout << '\n';
}
