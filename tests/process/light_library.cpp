// A library with targets for light processes. The rebuilt one differs and says so.
#include "process/light_library.hpp"

#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <stdexcept>

#include "brood/custom_process.hpp"
#include "brood/error.hpp"

#ifndef LIGHT_LIBRARY_NAME
#define LIGHT_LIBRARY_NAME "library"
#endif

namespace {

void line(const std::string& text) {
  const std::string whole = text + "\n";
  if (::write(STDOUT_FILENO, whole.data(), whole.size()) < 0) std::_Exit(99);
}

/// As tests want it: what a library may do wrong while it is being loaded.
void misbehave(const std::string& how) {
  if (how == "exit") std::_Exit(9);
  if (how == "kill") ::raise(SIGKILL);
  if (how == "throw") throw std::runtime_error("the library cannot be loaded");
  if (how != "start") return;
  brood::Process p = light_library::make_speaker(0);
  try {
    p.start();
    p.join();
  } catch (const brood::UsageError& error) {
    line(error.what());
  }
}

struct Static {
  Static() {
    line(LIGHT_LIBRARY_NAME " made");
    if (const char* how = std::getenv("LIGHT_LIBRARY_DOES"); how != nullptr) misbehave(how);
  }
  ~Static() { line(LIGHT_LIBRARY_NAME " destroyed in " + brood::current_process_name()); }
} g_static;

class Doubler : public brood::CustomProcess<Doubler> {
 public:
  Doubler() = default;
  Doubler(int number, const char* library)
      : CustomProcess({.start_method = brood::StartMethod::light, .library = library}), number_(number) {}
  void run() { std::exit(2 * number_); }
  template <class Archive>
  void serialize(Archive& ar) {
    ar(number_);
  }

 private:
  int number_ = 0;
};

}  // namespace

namespace light_library {

void speak(int code) {
  line("the target runs in " + brood::current_process_name());
  std::exit(code);
}

brood::Process make_speaker(int code, const std::string& library) {
  return brood::Process({.name = "speaker", .start_method = brood::StartMethod::light, .library = library}, speak,
                        code);
}

}  // namespace light_library

extern "C" brood::Process* light_library_new_speaker(int code, const char* library) {
  return new brood::Process(light_library::make_speaker(code, library));
}
extern "C" brood::Process* light_library_new_doubler(int number, const char* library) {
  return new Doubler(number, library);
}
