#define BOOST_PROCESS_USE_STD_FS 1  // headers only: no Boost.Filesystem library
#include <boost/process/args.hpp>
#include <boost/process/child.hpp>

#include "matrix/ways.hpp"

namespace matrix {
namespace {

class BoostPeer : public Peer {
 public:
  BoostPeer(const std::string& program, const std::vector<std::string>& arguments)
      : child_(program, boost::process::args(arguments)) {}
  ~BoostPeer() override {
    if (child_.valid()) child_.terminate();
  }
  void wait() override {
    child_.wait();
    require_good_end(child_.native_exit_code());
    child_ = boost::process::child();
  }

 private:
  boost::process::child child_;
};

}  // namespace

std::unique_ptr<Peer> invite_by_boost_process(const std::string& program, const Invitation& invitation) {
  return std::make_unique<BoostPeer>(program, peer_arguments(invitation));
}

}  // namespace matrix
