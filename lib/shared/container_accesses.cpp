#include "shared/container_accesses.hpp"

#include <string>

#include "brood/error.hpp"

namespace brood::inline v1::shared {

thread_local constinit Accesses t_accesses;

Access* Accesses::find(std::uint64_t id, registry::Id me) noexcept {
  for (Access& one : all_) {
    if (one.id != id) continue;
    if (one.of == me) return &one;
    one = {};
  }
  return nullptr;
}

Access& Accesses::add(std::uint64_t id, registry::Id me) {
  for (Access& one : all_) {
    if (one.id != 0 && one.of == me) continue;
    one = {.id = id, .of = me};
    return one;
  }
  throw UsageError("one thread reads and writes " + std::to_string(all_.size()) +
                   " containers at a time already; end some of these guards first");
}

const Access* Accesses::writer_of(const void* heap, registry::Id me) const noexcept {
  for (const Access& one : all_) {
    if (one.writing != nullptr && one.of == me && &one.writing->heap() == heap) return &one;
  }
  return nullptr;
}

const Access& Accesses::only_writer(registry::Id me) const {
  const Access* found = nullptr;
  for (const Access& one : all_) {
    if (one.writing == nullptr || one.of != me) continue;
    if (found != nullptr) {
      throw UsageError(
          "a string or container of brood::shared is made while this thread writes to several shared containers: give "
          "it the memory of the one it is for (`guard.memory()`), or write to one at a time");
    }
    found = &one;
  }
  if (found == nullptr) {
    throw UsageError(
        "a string or container of brood::shared is made or copied outside of a transaction: its memory lies in a "
        "shared "
        "container, so make it while a guard of write() is there; to take values out, copy them to std types "
        "(to_std())");
  }
  return *found;
}

}  // namespace brood::inline v1::shared
