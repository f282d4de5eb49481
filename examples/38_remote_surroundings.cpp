// What belongs to a whole process, changed for one object only: working directory, locale, user.
//
// Output (regular expressions):
// working directory there: /usr, here: unchanged
// decimal point there: "[.,]", here: "."
// file mode mask there: 027, here: unchanged
// user there: (65534, here: unchanged|unchanged: only root can become somebody else)
#include <sys/stat.h>
#include <unistd.h>

#include <clocale>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <string>

#include "brood/brood.hpp"

/// Each of these would change the whole program, in the middle of whatever its other threads do.
class Surroundings {
 public:
  std::string enter(const std::string& directory) {
    std::filesystem::current_path(directory);
    return std::filesystem::current_path().string();
  }
  std::string speak(const std::string& locale) {
    std::setlocale(LC_ALL, locale.c_str());  // has no effect where that locale is not installed
    return std::localeconv()->decimal_point;
  }
  int mask(int mode) {
    ::umask(static_cast<mode_t>(mode));
    return static_cast<int>(::umask(static_cast<mode_t>(mode)));
  }
  /// Errors: std::system_error.
  int become(int user) {
    if (::setresuid(static_cast<uid_t>(user), static_cast<uid_t>(user), static_cast<uid_t>(user)) != 0)
      throw std::system_error(errno, std::generic_category(), "setresuid");
    return static_cast<int>(::geteuid());
  }
};
BROOD_REMOTE(Surroundings, enter, speak, mask, become)

int main(int argc, char** argv) {
  brood::init(argc, argv);
  const auto directory = std::filesystem::current_path();
  const mode_t mask = ::umask(022);
  ::umask(mask);
  const uid_t user = ::geteuid();
  const auto here = [](bool same) { return same ? ", here: unchanged\n" : ", here: changed as well\n"; };

  brood::Remote<Surroundings> there;
  std::cout << "working directory there: " << there.enter("/usr") << here(std::filesystem::current_path() == directory);
  std::cout << "decimal point there: \"" << there.speak("de_DE.UTF-8") << "\", here: \""
            << std::localeconv()->decimal_point << "\"\n";
  std::printf("file mode mask there: %03o", static_cast<unsigned>(there.mask(027)));
  std::fflush(stdout);
  const mode_t now = ::umask(mask);
  std::cout << here(now == mask);
  // (An object that shall be another user's from its beginning: with({.process = {.user = 65534}}).)
  try {
    const int became = there.become(65534);
    std::cout << "user there: " << became << here(::geteuid() == user);
  } catch (const std::system_error&) {
    std::cout << "user there: unchanged: only root can become somebody else\n";
  }
}
