// What programs see of light_library.cpp.
#pragma once

#include <string>

#include "brood/process.hpp"

namespace light_library {

/// Prints a line that says where it runs, and ends with this code.
brood::Process make_speaker(int code, const std::string& library = {});
/// A function of the library, to be started by code of a program.
void speak(int code);

}  // namespace light_library

/// The same for programs that load the library while they run; `library` is the option of that name. The caller deletes what is
/// returned.
extern "C" brood::Process* light_library_new_speaker(int code, const char* library);
extern "C" brood::Process* light_library_new_doubler(int number, const char* library);
