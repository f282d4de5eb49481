// Python's multiprocessing: a script for each measurement, run in a cell as any other contender.
#include <unistd.h>

#include <cstdlib>
#include <sstream>

#include "topics.hpp"

namespace bench {

std::string find_program(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::istringstream directories(path != nullptr ? path : "");
  for (std::string directory; std::getline(directories, directory, ':');) {
    const std::string candidate = directory + "/" + name;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return {};
}

std::vector<Contender> python_peer(const Settings& settings, const std::string& name,
                                   const std::string& script_arguments) {
  if (settings.python.empty()) return {};
  // -B: nothing is written beside the scripts.
  const std::string command =
      "exec '" + settings.python + "' -B '" + settings.scripts + "/peer.py' " + script_arguments;
  return {{name, [command] { return read_samples(command); }}};
}

}  // namespace bench
