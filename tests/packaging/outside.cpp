// A program of somebody else's: sees what is installed, and nothing more.
#include <brood/error.hpp>
#include <brood/handle.hpp>
#include <brood/version.hpp>

#include <iostream>

int main() {
  const brood::Handle handle(brood::Kind::queue, 42, "jobs");
  if (brood::Handle(handle.str()) != handle) return 1;
  try {
    const brood::Handle broken("brood:queue:42");
    return 2;
  } catch (const brood::Error&) {  // thrown inside the library, caught here: one type on both sides
  }
  std::cout << "outside: " << handle << " by brood " << BROOD_VERSION_STRING << '\n';
}
