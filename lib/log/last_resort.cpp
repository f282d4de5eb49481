#include "log/last_resort.hpp"

#include <poll.h>
#include <unistd.h>

#include <cerrno>

namespace brood::inline v1::log {

int write_all(int fd, std::string_view bytes) noexcept {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {
      // Somebody has made it non-blocking, for us too.
      pollfd entry{fd, POLLOUT, 0};
      (void)::poll(&entry, 1, -1);
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

// There is nobody left to be told of a standard error that cannot be written.
void tell(const std::string& text) noexcept { (void)write_all(STDERR_FILENO, "brood: " + text + "\n"); }

void write_to_stderr(const Record& record) {
  const Presented presented(record);
  spdlog::memory_buf_t line;
  make_formatter(kLogPattern)->format(message_of(record), line);
  (void)write_all(STDERR_FILENO, {line.data(), line.size()});
}

}  // namespace brood::inline v1::log
