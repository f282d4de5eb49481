#include "log/file_sink.hpp"

#include <fcntl.h>

#include <cerrno>

#include "brood/error.hpp"
#include "log/last_resort.hpp"

namespace brood::inline v1::log {
namespace {

constexpr mode_t kMode = 0666;  // less the umask, as everybody's files

}  // namespace

FileSink::FileSink(const std::string& path)
    : path_(path), fd_(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, kMode)) {
  if (!fd_) throw OsError(errno, "cannot open the log file " + path_);
}

void FileSink::sink_it_(const spdlog::details::log_msg& message) {
  spdlog::memory_buf_t line;
  formatter_->format(message, line);
  if (const int error = write_all(fd_.get(), {line.data(), line.size()}); error != 0)
    throw OsError(error, "cannot write to the log file " + path_);
}

}  // namespace brood::inline v1::log
