// A program with a loud static object and without any line of brood's in main. Its children are light.
//   light_parent CASE
#include <iostream>
#include <map>
#include <string>

#include "brood/error.hpp"
#include "process/light_library.hpp"

namespace {

struct Static {
  Static() { std::cout << "program made" << std::endl; }
  ~Static() { std::cout << "program destroyed" << std::endl; }
} g_static;

int start(brood::Process p) {
  try {
    p.start();
  } catch (const brood::Error& error) {
    std::cout << error.what() << std::endl;
    return 1;
  }
  p.join();
  std::cout << "exitcode " << p.exitcode().value_or(-999) << std::endl;
  return 0;
}

/// Of the same types as a call in the library: each has its own instance of what packs the call.
void own_target(int) {}
brood::Process like_the_librarys(int code) {
  return brood::Process({.name = "speaker", .start_method = brood::StartMethod::light}, own_target, code);
}

brood::Process light(void (*target)(int)) {
  return brood::Process({.name = "speaker", .start_method = brood::StartMethod::light}, target, 5);
}

}  // namespace

int main(int argc, char** argv) {
  std::cout << "main runs" << std::endl;
  const std::map<std::string, brood::Process (*)()> cases = {
      {"library", [] { return light_library::make_speaker(5); }},
      {"own-target", [] { return like_the_librarys(5); }},
      {"librarys-target-from-here", [] { return light(light_library::speak); }},
      {"named-library",
       [] {
         return brood::Process(
             {.name = "speaker", .start_method = brood::StartMethod::light, .library = "light_library.so"}, [] {});
       }},
      {"no-target", [] { return brood::Process({.name = "idle", .start_method = brood::StartMethod::light}); }},
  };
  const auto found = argc == 2 ? cases.find(argv[1]) : cases.end();
  return found == cases.end() ? 64 : start(found->second());
}
