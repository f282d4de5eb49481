// Does one thing with a shared object in a process of its own, and says in one line how it went.
//
//   poke lock                  makes a lock, takes it, says "ok"
//   poke queue BYTES           makes a queue and fills it with messages of so many bytes until it cannot
//   poke hold                  makes a lock, takes it, says its handle, then waits for standard input to end
//   poke open HANDLE           opens a lock
//   poke foreign-namespace     as `hold`, and claims that the domain belongs to another pid namespace
#include <unistd.h>

#include <iostream>
#include <string>

#include "brood/lock.hpp"
#include "brood/queue.hpp"
#include "registry/registry.hpp"

namespace {

void hold() {
  brood::Lock lock;
  lock.lock();
  std::cout << lock.handle() << std::endl;
  char byte = 0;
  while (::read(STDIN_FILENO, &byte, 1) > 0) {}
}

void run(const std::string& verb, const std::string& argument) {
  if (verb == "lock") {
    brood::Lock lock;
    lock.lock();
    lock.unlock();
    std::cout << "ok" << std::endl;
  } else if (verb == "queue") {
    brood::Queue<std::string> queue;
    for (;;) queue.put(std::string(std::stoul(argument), 'q'));
  } else if (verb == "open") {
    (void)brood::Lock::open(argument);
    std::cout << "ok" << std::endl;
  } else if (verb == "foreign-namespace") {
    brood::registry::self();
    brood::registry::registry().heads.pid_namespace += 1;
    hold();
  } else if (verb == "hold") {
    hold();
  } else {
    std::cout << "poke: no such verb: " << verb << std::endl;
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(argc > 1 ? argv[1] : "", argc > 2 ? argv[2] : "");
    return 0;
  } catch (const brood::NoSpace& error) {
    std::cout << "NoSpace: " << error.what() << std::endl;
  } catch (const brood::PermissionDenied& error) {
    std::cout << "PermissionDenied: " << error.what() << std::endl;
  } catch (const brood::OsError& error) {
    std::cout << "OsError " << error.code().value() << ": " << error.what() << std::endl;
  } catch (const brood::UsageError& error) {
    std::cout << "UsageError: " << error.what() << std::endl;
  } catch (const brood::HandleError& error) {
    std::cout << "HandleError: " << error.what() << std::endl;
  }
  return 1;
}
