// A pair of sockets: something to wait for that is not ours.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <stdexcept>

#include "base/unique_fd.hpp"

namespace ladder {

class SocketPair {
 public:
  SocketPair() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) throw std::runtime_error("socketpair");
    ours_.reset(ends[0]);
    theirs_.reset(ends[1]);
  }
  [[nodiscard]] int ours() const noexcept { return ours_.get(); }
  [[nodiscard]] int theirs() const noexcept { return theirs_.get(); }
  /// Makes ours readable.
  void say() const {
    if (::write(theirs_.get(), "x", 1) != 1) throw std::runtime_error("write");
  }
  void hear() const {
    char byte = 0;
    if (::read(ours_.get(), &byte, 1) != 1) throw std::runtime_error("read");
  }

 private:
  brood::base::UniqueFd ours_;
  brood::base::UniqueFd theirs_;
};

}  // namespace ladder
