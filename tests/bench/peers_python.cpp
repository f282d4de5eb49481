// Python's multiprocessing: a script for each measurement, run in a cell as any other contender.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <stdexcept>

#include "topics.hpp"

namespace bench {

std::string find_python() {
  const char* path = std::getenv("PATH");
  std::istringstream directories(path != nullptr ? path : "");
  for (std::string directory; std::getline(directories, directory, ':');) {
    const std::string candidate = directory + "/python3";
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
  return {{name, [command] {
             std::FILE* output = ::popen(command.c_str(), "re");
             if (output == nullptr) throw std::runtime_error("cannot run " + command);
             Samples samples;
             for (double sample = 0; std::fscanf(output, "%lf", &sample) == 1;) samples.push_back(sample);
             if (const int status = ::pclose(output); status != 0)
               throw std::runtime_error(command + ": status " + std::to_string(status));
             return samples;
           }}};
}

}  // namespace bench
