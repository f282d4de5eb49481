// Boost.Process v2, which waits by pidfd. A file of its own, since its headers take long to compile.
#define BOOST_PROCESS_V2_HEADER_ONLY 1
#include <boost/process/v2/process.hpp>
#include <stdexcept>

#include "topics.hpp"

namespace bench {

void boost_process_v2_and_wait(const std::string& self) {
  static boost::asio::io_context context;
  boost::process::v2::process child(context, self, {kExitAtOnce});
  if (child.wait() != 0) throw std::runtime_error("boost::process::v2: the child failed");
}

}  // namespace bench
