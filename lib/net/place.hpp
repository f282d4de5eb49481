// Place: an address as the kernel knows it.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "brood/address.hpp"
#include "brood/detail/socket_core.hpp"
#include "os/not_in_forks.hpp"

namespace brood::inline v1::net {

struct Place {
  sockaddr_storage storage{};
  socklen_t size = 0;

  [[nodiscard]] const sockaddr* get() const noexcept { return reinterpret_cast<const sockaddr*>(&storage); }
  [[nodiscard]] int family() const noexcept { return storage.ss_family; }
  [[nodiscard]] Address address() const;
};

/// Errors: UsageError if the path or name is too long.
[[nodiscard]] Place place_of(const UnixAddress& address);
/// All that the name stands for, best first. Errors: OsError if it stands for none.
[[nodiscard]] std::vector<Place> places_of(const TcpAddress& address, bool to_listen);

/// Where this socket is bound, and where it is connected to.
[[nodiscard]] Place own_place(int socket);
[[nodiscard]] Place peer_place(int socket);

/// A close-on-exec stream socket; errors as exceptions. Errors: OsError.
[[nodiscard]] base::UniqueFd make_socket(int family, bool blocking, detail::InForks in_forks,
                                         std::unique_ptr<os::NotInForks>& kept_from_forks);
/// Calls `make`, which returns a new descriptor or -1. If forks are to have nothing of it, none has, from the first instant.
template <class Make>
void keep_from_forks(detail::InForks in_forks, std::unique_ptr<os::NotInForks>& kept, Make make) {
  kept.reset();
  if (in_forks == detail::InForks::shared) return (void)make();
  const os::NotInForks::Pause pause = os::NotInForks::pause();
  if (const int made = make(); made >= 0) kept = std::make_unique<os::NotInForks>(made, pause);
}
/// For a connection: messages are not held back, and a peer that vanished is asked after. Says nothing to Unix sockets.
void tune(int socket) noexcept;
/// From now on no call on it sleeps. Errors: OsError.
void set_non_blocking(int socket);

/// The file of a Unix socket that a listener has made. Removed by remove(), in the process that made it, if it is still
/// the same file.
class SocketFile {
 public:
  SocketFile() = default;
  /// Binds the socket to a path. What a dead listener left there is removed first. Errors: AddressInUse, PermissionDenied,
  /// OsError, UsageError (too long).
  [[nodiscard]] static SocketFile bind(int socket, const std::string& path);
  /// The same, to a new path in a directory of this user.
  [[nodiscard]] static SocketFile bind_to_new(int socket);
  /// The same, of this name; empty: of a new one. Errors: also AddressInUse.
  [[nodiscard]] static SocketFile bind_in_own_directory(int socket, const std::string& name);
  void remove() noexcept;

 private:
  std::string path_;
  std::string directory_;  ///< made for such files: removed when it is empty
  dev_t device_ = 0;
  ino_t inode_ = 0;
  pid_t maker_ = 0;
};

}  // namespace brood::inline v1::net
