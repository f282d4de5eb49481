// No static variable of the library can be caught half made by a fork.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

using Lines = std::vector<std::string>;

Lines printed_by(const std::string& command) {
  std::FILE* const pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("popen " + command);
  Lines lines;
  std::array<char, 4096> line{};
  while (std::fgets(line.data(), line.size(), pipe) != nullptr) lines.emplace_back(line.data());
  const int status = ::pclose(pipe);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) throw std::runtime_error("failed: " + command);
  return lines;
}

/// What the guarded variables of an archive are called.
Lines guarded_in(const std::string& archive) {
  constexpr std::string_view kMark = "guard variable for brood::";
  Lines found;
  for (const std::string& line : printed_by("nm -C '" + archive + "'")) {
    const std::size_t at = line.find(kMark);
    if (at == std::string::npos) continue;
    found.push_back(line.substr(at + kMark.size(), line.find_last_not_of('\n') + 1 - at - kMark.size()));
  }
  return found;
}

/// Made when the program is loaded, of one thread alone, or made under a mutex that fork takes.
constexpr std::array kHarmless = {
    "base::hold_across_fork",                            // called at load
    "os::capabilities()",                                // at load
    "min_stack_function()",                              // at load
    "shm::(anonymous namespace)::lists()",               // at load
    "registry::(anonymous namespace)::mapping()",        // at load
    "process::(anonymous namespace)::family()",          // at load
    "process::(anonymous namespace)::state()",           // at load
    "process::(anonymous namespace)::estate()",          // at load
    "process::(anonymous namespace)::ends()",            // at load
    "process::(anonymous namespace)::executable",        // under the launch mutex
    "process::(anonymous namespace)::current_server()",  // under the launch mutex
    "os::(anonymous namespace)::fresh()",                // at load
    "os::(anonymous namespace)::describe_place",         // of its thread
    "spares<",                                           // of its thread
};

bool is_harmless(const std::string& guarded) {
  return std::any_of(kHarmless.begin(), kHarmless.end(),
                     [&](std::string_view known) { return guarded.find(known) != std::string::npos; });
}

}  // namespace

TEST(Guards, NoStaticVariableIsMadeAtItsFirstUse) {
  for (const std::string archive : {BROOD_ARCHIVES}) {
    for (const std::string& guarded : guarded_in(archive)) {
      EXPECT_TRUE(is_harmless(guarded)) << guarded << " of " << archive
                                        << ": a child forked while another thread makes it would wait for ever; make "
                                           "it at load, or with base::MadeOnce";
    }
  }
}

// The list above and what nm prints fit each other: otherwise the test could find nothing and pass.
TEST(Guards, TheListedOnesAreThere) {
  Lines all;
  for (const std::string archive : {BROOD_ARCHIVES}) {
    const Lines some = guarded_in(archive);
    all.insert(all.end(), some.begin(), some.end());
  }
  for (const std::string_view known : kHarmless) {
    EXPECT_TRUE(std::any_of(all.begin(), all.end(),
                            [&](const std::string& guarded) { return guarded.find(known) != std::string::npos; }))
        << known << " has no guard any more: take it off the list";
  }
}
