// NoLeaks: a fixture whose tests must leave the machine as they found it.
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace support {

/// What a test could leave behind: files in the domain directory, open descriptors of this process, its children.
struct Possessions {
  std::set<std::string> files;
  std::map<int, std::string> descriptors;
  std::set<pid_t> children;               ///< unreaped ones too
  std::map<pid_t, std::string> commands;  ///< of the children; it changes when one becomes a zombie

  [[nodiscard]] static Possessions now();
};

/// One line for each thing that is in `after` and not in `before`, or the other way round.
[[nodiscard]] std::vector<std::string> differences(const Possessions& before, const Possessions& after);

/// Runs `warm_up` once, before the first NoLeaks test of this program looks round. A room whose first use makes
/// something that rightly stays until the process ends (the domain's registry, the forkserver) makes it here:
///
///     const bool kWarm = support::before_first_baseline([] { registry::self(); });
///
/// Always returns true, so that it can initialise a global.
bool before_first_baseline(std::function<void()> warm_up);

/// Compares before and after in its constructor and destructor, so that members of the derived fixture are gone by
/// then. What a killed process held is given back by collecting garbage first, as any next process of the domain would.
class NoLeaks : public ::testing::Test {
 protected:
  NoLeaks();
  ~NoLeaks() override;

 private:
  Possessions before_;
};

}  // namespace support
