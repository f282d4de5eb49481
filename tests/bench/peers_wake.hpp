// Events, conditions and barriers under one interface, ours and the peers'. As peers_locks.hpp: (place, create).
#pragma once

#include <pthread.h>

#include <boost/interprocess/sync/interprocess_condition.hpp>
#include <boost/interprocess/sync/interprocess_mutex.hpp>
#include <boost/interprocess/sync/scoped_lock.hpp>
#include <mutex>
#include <new>

#include "brood/barrier.hpp"
#include "brood/condition.hpp"
#include "brood/event.hpp"
#include "peers_locks.hpp"

namespace bench {

// --- a condition with its lock: with(f) runs f(wait, notify_all) holding the lock
// -------------------------------------------

class BroodCondition {
 public:
  struct Place {
    HandlePlace lock, condition;
  };
  BroodCondition(Place& place, bool create)
      : lock_(create ? brood::Lock() : brood::Lock::open(place.lock.text)),
        condition_(create ? brood::Condition() : brood::Condition::open(place.condition.text)) {
    if (!create) return;
    place.lock.put(lock_.handle());
    place.condition.put(condition_.handle());
  }
  template <class Ready>
  void await(Ready ready) {
    std::unique_lock guard(lock_);
    condition_.wait(guard, ready);
  }
  template <class Change>
  void change(Change change) {
    const std::scoped_lock guard(lock_);
    change();
    condition_.notify_all();
  }

 private:
  brood::Lock lock_;
  brood::Condition condition_;
};

class PthreadCondition {
 public:
  struct Place {
    pthread_mutex_t mutex;
    pthread_cond_t condition;
  };
  PthreadCondition(Place& place, bool create) : place_(place) {
    if (!create) return;
    pthread_mutexattr_t of_mutex;
    check(::pthread_mutexattr_init(&of_mutex), "pthread_mutexattr_init");
    check(::pthread_mutexattr_setpshared(&of_mutex, PTHREAD_PROCESS_SHARED), "pthread_mutexattr_setpshared");
    check(::pthread_mutex_init(&place.mutex, &of_mutex), "pthread_mutex_init");
    pthread_condattr_t of_condition;
    check(::pthread_condattr_init(&of_condition), "pthread_condattr_init");
    check(::pthread_condattr_setpshared(&of_condition, PTHREAD_PROCESS_SHARED), "pthread_condattr_setpshared");
    check(::pthread_cond_init(&place.condition, &of_condition), "pthread_cond_init");
  }
  template <class Ready>
  void await(Ready ready) {
    ::pthread_mutex_lock(&place_.mutex);
    while (!ready()) ::pthread_cond_wait(&place_.condition, &place_.mutex);
    ::pthread_mutex_unlock(&place_.mutex);
  }
  template <class Change>
  void change(Change change) {
    ::pthread_mutex_lock(&place_.mutex);
    change();
    ::pthread_cond_broadcast(&place_.condition);
    ::pthread_mutex_unlock(&place_.mutex);
  }

 private:
  Place& place_;
};

class BoostCondition {
 public:
  struct Both {
    boost::interprocess::interprocess_mutex mutex;
    boost::interprocess::interprocess_condition condition;
  };
  struct Place {
    alignas(Both) unsigned char bytes[sizeof(Both)];
  };
  BoostCondition(Place& place, bool create)
      : both_(create ? new (place.bytes) Both : std::launder(reinterpret_cast<Both*>(place.bytes))) {}
  template <class Ready>
  void await(Ready ready) {
    boost::interprocess::scoped_lock<boost::interprocess::interprocess_mutex> guard(both_->mutex);
    both_->condition.wait(guard, ready);
  }
  template <class Change>
  void change(Change change) {
    const boost::interprocess::scoped_lock<boost::interprocess::interprocess_mutex> guard(both_->mutex);
    change();
    both_->condition.notify_all();
  }

 private:
  Both* both_;
};

// --- an event
// ----------------------------------------------------------------------------------------------------------

class BroodEvent {
 public:
  using Place = HandlePlace;
  BroodEvent(Place& place, bool create) : event_(create ? brood::Event() : brood::Event::open(place.text)) {
    if (create) place.put(event_.handle());
  }
  void wait() { event_.wait(); }
  void set() { event_.set(); }
  void clear() { event_.clear(); }

 private:
  brood::Event event_;
};

/// What people build where there is no event: a flag, a mutex and a condition.
template <class C>
class EventOf {
 public:
  struct Place {
    typename C::Place condition;
    bool flag;
  };
  EventOf(Place& place, bool create) : place_(place), condition_(place.condition, create) {}
  void wait() {
    condition_.await([this] { return place_.flag; });
  }
  void set() {
    condition_.change([this] { place_.flag = true; });
  }
  void clear() {
    condition_.change([this] { place_.flag = false; });
  }

 private:
  Place& place_;
  C condition_;
};

// --- a barrier
// ---------------------------------------------------------------------------------------------------------

class BroodBarrier {
 public:
  using Place = HandlePlace;
  BroodBarrier(Place& place, bool create, unsigned parties)
      : barrier_(create ? brood::Barrier(parties) : brood::Barrier::open(place.text)) {
    if (create) place.put(barrier_.handle());
  }
  void wait() { (void)barrier_.wait(); }

 private:
  brood::Barrier barrier_;
};

class PthreadBarrier {
 public:
  using Place = pthread_barrier_t;
  PthreadBarrier(Place& place, bool create, unsigned parties) : barrier_(place) {
    if (!create) return;
    pthread_barrierattr_t attributes;
    check(::pthread_barrierattr_init(&attributes), "pthread_barrierattr_init");
    check(::pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED), "pthread_barrierattr_setpshared");
    check(::pthread_barrier_init(&barrier_, &attributes, parties), "pthread_barrier_init");
  }
  void wait() { ::pthread_barrier_wait(&barrier_); }

 private:
  pthread_barrier_t& barrier_;
};

}  // namespace bench
