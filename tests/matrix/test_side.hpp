// What the test does while a worker works: the other half of each exercise in worker.hpp.
#pragma once

#include "matrix/objects.hpp"

namespace matrix {

/// How the test makes the object that a worker gets.
template <class Object>
[[nodiscard]] Object make() {
  return Object();
}
template <>
[[nodiscard]] inline brood::Semaphore make() {
  return brood::Semaphore(0);
}
template <>
[[nodiscard]] inline brood::BoundedSemaphore make() {
  return brood::BoundedSemaphore(2);
}
template <>
[[nodiscard]] inline brood::Barrier make() {
  return brood::Barrier(2);
}
template <>
[[nodiscard]] inline Letters make() {
  return Letters(kCapacity);
}
/// The other end stays with the test, for play().
template <>
[[nodiscard]] Wire make();

template <>
[[nodiscard]] inline News make() {
  return News({.byte_budget = kNewsBytes});
}

/// The exercise. Errors: std::runtime_error if the object does not behave.
void play(brood::Lock& lock, const Aids& aids);
void play(brood::RLock& lock, const Aids& aids);
void play(brood::Semaphore& semaphore, const Aids& aids);
void play(brood::BoundedSemaphore& semaphore, const Aids& aids);
void play(brood::Event& event, const Aids& aids);
void play(brood::Condition& condition, const Aids& aids);
void play(brood::Barrier& barrier, const Aids& aids);
void play(Letters& queue, const Aids& aids);
void play(Jobs& queue, const Aids& aids);
void play(News& news, const Aids& aids);
void play(Wire& theirs, const Aids& aids);
void play(Account& account, const Aids& aids);

/// What must be true once the worker has ended.
void judge(brood::Lock& lock, Tally& tally);
void judge(brood::RLock& lock, Tally& tally);
void judge(brood::Semaphore& semaphore, Tally& tally);
void judge(brood::BoundedSemaphore& semaphore, Tally& tally);
void judge(brood::Event& event, Tally& tally);
void judge(brood::Condition& condition, Tally& tally);
void judge(brood::Barrier& barrier, Tally& tally);
void judge(Letters& queue, Tally& tally);
void judge(Jobs& queue, Tally& tally);
void judge(News& news, Tally& tally);
void judge(Wire& theirs, Tally& tally);
void judge(Account& account, Tally& tally);

}  // namespace matrix
