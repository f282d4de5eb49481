// Boost.Process as of its first version. A file of its own, since its headers take long to compile.
#define BOOST_PROCESS_USE_STD_FS 1  // headers only: no Boost.Filesystem library
#include <boost/process/args.hpp>
#include <boost/process/child.hpp>
#include <stdexcept>

#include "topics.hpp"

namespace bench {

void boost_process_and_wait(const std::string& self) {
  boost::process::child child(self, std::string(kExitAtOnce));
  child.wait();
  if (child.exit_code() != 0) throw std::runtime_error("boost::process: the child failed");
}

}  // namespace bench
