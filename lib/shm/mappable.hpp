// Mappable: what Boost.Interprocess wants of a mappable thing: our descriptor.
#pragma once

#include <boost/interprocess/detail/os_file_functions.hpp>

namespace brood::inline v1::shm {

class Mappable {
 public:
  explicit Mappable(int fd) : fd_(fd) {}
  [[nodiscard]] boost::interprocess::mapping_handle_t get_mapping_handle() const {
    return boost::interprocess::ipcdetail::mapping_handle_from_file_handle(fd_);
  }
  [[nodiscard]] boost::interprocess::mode_t get_mode() const { return boost::interprocess::read_write; }

 private:
  int fd_;
};

}  // namespace brood::inline v1::shm
