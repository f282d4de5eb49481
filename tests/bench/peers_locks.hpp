// Locks and counters under one interface, ours and the peers'.
//
// Each has a Place in shared memory, a constructor (place, create) that one process calls with create = true and then
// the others with false, and lock() and unlock(). kThreads: works between the threads of one process only.
#pragma once

#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>

#include <boost/interprocess/sync/interprocess_mutex.hpp>
#include <boost/interprocess/sync/named_mutex.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>

#include "brood/error.hpp"
#include "brood/lock.hpp"
#include "brood/semaphore.hpp"
#include "handle_place.hpp"

namespace bench {

inline void check(int error, const char* call) {
  if (error != 0) throw std::runtime_error(std::string(call) + ": " + std::strerror(error));
}

template <brood::OwnerDeath Policy = brood::OwnerDeath::report>
class BroodLock {
 public:
  static constexpr bool kThreads = false;
  using Place = HandlePlace;
  BroodLock(Place& place, bool create)
      : lock_(create ? brood::Lock({.on_owner_death = Policy}) : brood::Lock::open(place.text)) {
    if (create) place.put(lock_.handle());
  }
  void lock() { lock_.lock(); }
  void unlock() { lock_.unlock(); }
  /// Take the lock whose owner has died, call `taken`, release it in good order.
  template <class F>
  void lock_after_death(F taken) {
    for (;;) {
      try {
        const std::scoped_lock guard(lock_);
        taken();
        return;
      } catch (const brood::OwnerDied&) {
        if (lock_.recover(taken)) return;
      }
    }
  }

 private:
  brood::Lock lock_;
};

template <class S>
class BroodSemaphore {
 public:
  static constexpr bool kThreads = false;
  using Place = HandlePlace;
  BroodSemaphore(Place& place, bool create) : semaphore_(create ? S(1) : S::open(place.text)) {
    if (create) place.put(semaphore_.handle());
  }
  void lock() { semaphore_.acquire(); }
  void unlock() { semaphore_.release(); }

 private:
  S semaphore_;
};

template <bool Robust>
class PthreadMutex {
 public:
  static constexpr bool kThreads = false;
  using Place = pthread_mutex_t;
  PthreadMutex(Place& place, bool create) : mutex_(place) {
    if (!create) return;
    pthread_mutexattr_t attributes;
    check(::pthread_mutexattr_init(&attributes), "pthread_mutexattr_init");
    check(::pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED), "pthread_mutexattr_setpshared");
    if (Robust) check(::pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST), "pthread_mutexattr_setrobust");
    check(::pthread_mutex_init(&mutex_, &attributes), "pthread_mutex_init");
  }
  void lock() {
    if (const int error = ::pthread_mutex_lock(&mutex_); error != 0) [[unlikely]]
      check(error, "pthread_mutex_lock");
  }
  void unlock() { ::pthread_mutex_unlock(&mutex_); }
  template <class F>
  void lock_after_death(F taken) {
    const int error = ::pthread_mutex_lock(&mutex_);
    if (error != EOWNERDEAD) check(error, "pthread_mutex_lock");
    taken();
    if (error == EOWNERDEAD) check(::pthread_mutex_consistent(&mutex_), "pthread_mutex_consistent");
    ::pthread_mutex_unlock(&mutex_);
  }

 private:
  pthread_mutex_t& mutex_;
};

class PosixSemaphore {
 public:
  static constexpr bool kThreads = false;
  using Place = sem_t;
  PosixSemaphore(Place& place, bool create) : semaphore_(place) {
    if (create && ::sem_init(&semaphore_, 1, 1) != 0) check(errno, "sem_init");
  }
  void lock() {
    while (::sem_wait(&semaphore_) != 0) {
      if (errno != EINTR) check(errno, "sem_wait");
    }
  }
  void unlock() { ::sem_post(&semaphore_); }

 private:
  sem_t& semaphore_;
};

class BoostMutex {
 public:
  static constexpr bool kThreads = false;
  struct Place {
    alignas(
        boost::interprocess::interprocess_mutex) unsigned char bytes[sizeof(boost::interprocess::interprocess_mutex)];
  };
  BoostMutex(Place& place, bool create)
      : mutex_(create ? new (place.bytes) boost::interprocess::interprocess_mutex
                      : std::launder(reinterpret_cast<boost::interprocess::interprocess_mutex*>(place.bytes))) {}
  void lock() { mutex_->lock(); }
  void unlock() { mutex_->unlock(); }

 private:
  boost::interprocess::interprocess_mutex* mutex_;
};

class BoostNamedMutex {
 public:
  static constexpr bool kThreads = false;
  struct Place {
    char name[64];
  };
  BoostNamedMutex(Place& place, bool create) {
    namespace bip = boost::interprocess;
    if (create) {
      std::snprintf(place.name, sizeof place.name, "brood-bench-%d", ::getpid());
      bip::named_mutex::remove(place.name);
      mutex_.emplace(bip::create_only, place.name);
      created_ = place.name;
    } else {
      mutex_.emplace(bip::open_only, place.name);
    }
  }
  ~BoostNamedMutex() {
    if (!created_.empty()) boost::interprocess::named_mutex::remove(created_.c_str());
  }
  BoostNamedMutex(const BoostNamedMutex&) = delete;
  BoostNamedMutex& operator=(const BoostNamedMutex&) = delete;
  void lock() { mutex_->lock(); }
  void unlock() { mutex_->unlock(); }

 private:
  std::optional<boost::interprocess::named_mutex> mutex_;
  std::string created_;
};

class StdMutex {
 public:
  static constexpr bool kThreads = true;
  struct Place {
    std::mutex mutex;
  };
  StdMutex(Place& place, bool /*create*/) : mutex_(place.mutex) {}
  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }

 private:
  std::mutex& mutex_;
};

}  // namespace bench
