// Making the segment of a Lock or RLock: the two differ only in kind.
#pragma once

#include <string_view>

#include "brood/lock.hpp"
#include "registry/objects.hpp"
#include "shm/segment.hpp"
#include "sync/lock_body.hpp"

namespace brood::inline v1::sync {

static_assert(sizeof(LockBody) == shm::smallest_body(Kind::lock) &&
              sizeof(LockBody) == shm::smallest_body(Kind::rlock));

inline auto lock_initialiser(LockOptions options) {
  return [options](void* body) {
    static_cast<LockBody*>(body)->policy.store(static_cast<std::uint32_t>(options.on_owner_death));
  };
}
inline detail::Object create_lock(Kind kind, std::string_view name, LockOptions options) {
  return registry::create({.kind = kind, .name = name, .body_bytes = sizeof(LockBody)}, lock_initialiser(options));
}
inline detail::Object open_or_create_lock(Kind kind, std::string_view name, LockOptions options) {
  return registry::open_or_create({.kind = kind, .name = name, .body_bytes = sizeof(LockBody)},
                                  lock_initialiser(options));
}

}  // namespace brood::inline v1::sync
