#include "stress/board.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <limits>
#include <new>
#include <stdexcept>
#include <string>

#include "os/futex.hpp"

namespace stress {
namespace {

Board* g_board = nullptr;
unsigned char* g_regions = nullptr;

void* share(std::size_t bytes) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("no shared memory for the board");
  return memory;
}

}  // namespace

Board& board() noexcept { return *g_board; }

void make_board() {
  g_board = new (share(sizeof(Board))) Board{};
  g_regions = static_cast<unsigned char*>(share(kDoors * kRegionBytes));
}

std::uint64_t* region(int index) noexcept {
  return reinterpret_cast<std::uint64_t*>(g_regions + static_cast<std::size_t>(index) * kRegionBytes);
}

void violation(std::string_view what) {
  board().violations.fetch_add(1);
  const std::string line = "soak: VIOLATION (pid " + std::to_string(::getpid()) + "): " + std::string(what) + "\n";
  // One write, so that lines of several processes do not mix.
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
  news();
}

void news() noexcept {
  board().news.fetch_add(1);
  brood::os::futex_wake_all(board().news);
}

void await_news(std::uint32_t seen, std::int64_t ns) noexcept {
  (void)brood::os::futex_wait(board().news, seen, brood::Deadline::never().capped(ns));
}

bool was_struck(Token token) noexcept {
  const Seat& seat = board().seats[static_cast<std::size_t>(seat_of(token))];
  if (seat.incarnation.load() != incarnation_of(token)) return true;
  return seat.strikes[incarnation_of(token) % seat.strikes.size()].load() != 0;
}

std::int64_t struck_at(Token token) noexcept {
  const Seat& seat = board().seats[static_cast<std::size_t>(seat_of(token))];
  if (seat.incarnation.load() - incarnation_of(token) >= seat.strikes.size()) return 0;
  return seat.strikes[incarnation_of(token) % seat.strikes.size()].load();
}

void mark_struck(Token token) noexcept {
  Seat& seat = board().seats[static_cast<std::size_t>(seat_of(token))];
  seat.strikes[incarnation_of(token) % seat.strikes.size()].store(now_ns());
}

void note_recovery(Token dead, std::int64_t waiting_since) noexcept {
  const std::int64_t struck = struck_at(dead);
  if (struck == 0) return;
  // Who came to wait only after the death was kept waiting by it only from then on.
  const std::int64_t from = std::max(struck, waiting_since);
  const Sample sample{static_cast<float>(static_cast<double>(now_ns() - from) / 1e6),
                      static_cast<std::uint16_t>(board().series.load()),
                      board().last_disturbance_ns.load() >= from ? std::uint16_t{1} : std::uint16_t{0}};
  board().sample[board().samples.fetch_add(1) % kSamples] = sample;
}

std::int64_t now_ns() noexcept { return brood::Deadline::clock_ns(); }

void nap_ns(std::int64_t ns) noexcept {
  const timespec moment{ns / 1'000'000'000, ns % 1'000'000'000};
  ::nanosleep(&moment, nullptr);
}

}  // namespace stress
