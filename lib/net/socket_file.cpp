// The file of a Unix socket: binding to it although a killed listener left one, and a place for those without a path.
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <memory>

#include "base/hex.hpp"
#include "brood/error.hpp"
#include "net/place.hpp"
#include "os/files.hpp"

namespace brood::inline v1::net {
namespace {

/// True if this is a socket file whose socket is no more. A datagram socket cannot be connected to a stream socket, but the
/// kernel looks for the other one first: nobody is disturbed by the question.
bool is_dead_socket(const std::string& path) {
  struct stat st {};
  if (::lstat(path.c_str(), &st) != 0 || !S_ISSOCK(st.st_mode)) return false;
  const base::UniqueFd probe(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!probe) return false;
  const Place place = place_of(UnixAddress{path});
  return ::connect(probe.get(), place.get(), place.size) != 0 && errno == ECONNREFUSED;
}

/// The directory, locked against others who look for dead sockets in it.
base::UniqueFd locked_directory(const std::string& path) {
  base::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return fd;
  while (::flock(fd.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return {};
  }
  return fd;
}

std::string directory_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

int try_bind(int socket, const std::string& path) {
  const Place place = place_of(UnixAddress{path});
  return ::bind(socket, place.get(), place.size) == 0 ? 0 : errno;
}

[[noreturn]] void throw_bind(int error, const std::string& path) {
  const std::string text = Address(UnixAddress{path}).str();
  switch (error) {
    case EADDRINUSE:
      throw AddressInUse("cannot listen at " + text +
                         ": somebody listens there, or a file is there that is no dead socket; take another path");
    case EACCES:
    case EPERM:
    case EROFS: throw PermissionDenied("cannot make the socket " + text);
    case ENOENT: throw OsError(error, "cannot make the socket " + text + ": its directory does not exist");
    default: throw OsError(error, "cannot make the socket " + text);
  }
}

/// Takes away what killed listeners left.
void sweep(const std::string& directory) {
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(directory.c_str()), &::closedir);
  if (!entries) return;
  while (const dirent* entry = ::readdir(entries.get())) {
    const std::string path = directory + '/' + entry->d_name;
    if (path.size() < sizeof(sockaddr_un{}.sun_path) && is_dead_socket(path)) (void)::unlink(path.c_str());
  }
}

/// `TMPDIR`, unless a socket's path in it would be too long.
std::string socket_directory() {
  const std::string own = "/brood-sockets-" + std::to_string(::geteuid());
  const char* const wanted = ::secure_getenv("TMPDIR");
  if (wanted != nullptr && wanted[0] == '/') {
    std::string directory = wanted + own;
    if (directory.size() + 1 + base::kHexDigits < sizeof(sockaddr_un{}.sun_path)) return directory;
  }
  return "/tmp" + own;
}

}  // namespace

SocketFile SocketFile::bind(int socket, const std::string& path) {
  // A path that was made there once: the directory may have gone since.
  const std::string own = socket_directory() + '/';
  if (path.starts_with(own)) return bind_in_own_directory(socket, path.substr(own.size()));
  int error = try_bind(socket, path);
  if (error == EADDRINUSE) {
    // Locked: of two who find a dead socket the second must not remove what the first has bound by then.
    const base::UniqueFd directory = locked_directory(directory_of(path));
    if (directory && is_dead_socket(path)) (void)::unlink(path.c_str());
    error = try_bind(socket, path);
  }
  if (error != 0) throw_bind(error, path);
  SocketFile file;
  file.path_ = path;
  file.maker_ = ::getpid();
  struct stat st {};
  if (::lstat(path.c_str(), &st) == 0) {
    file.device_ = st.st_dev;
    file.inode_ = st.st_ino;
  }
  return file;
}

SocketFile SocketFile::bind_to_new(int socket) { return bind_in_own_directory(socket, {}); }

SocketFile SocketFile::bind_in_own_directory(int socket, const std::string& name) {
  const std::string directory = socket_directory();
  for (;;) {
    if (const int error = os::ensure_private_directory(directory.c_str()); error != 0) {
      if (error == -EPERM || error == -ENOTDIR)
        throw PermissionDenied("cannot make a socket in " + directory + ": it is not a directory of this user alone");
      throw OsError(-error, "cannot make the directory " + directory);
    }
    const base::UniqueFd lock = locked_directory(directory);
    if (!lock) continue;  // the last listener has just removed it
    struct stat st {};
    if (::fstat(lock.get(), &st) != 0 || st.st_nlink == 0) continue;
    sweep(directory);
    const std::string path = directory + '/' + (name.empty() ? base::hex16(os::random_u64()) : name);
    const int error = try_bind(socket, path);
    if (error == EADDRINUSE && name.empty()) continue;
    if (error != 0) throw_bind(error, path);
    SocketFile file;
    file.path_ = path;
    file.directory_ = directory;
    file.maker_ = ::getpid();
    if (::lstat(path.c_str(), &st) == 0) {
      file.device_ = st.st_dev;
      file.inode_ = st.st_ino;
    }
    return file;
  }
}

void SocketFile::remove() noexcept {
  if (path_.empty() || maker_ != ::getpid()) return;
  struct stat st {};
  if (::lstat(path_.c_str(), &st) == 0 && st.st_dev == device_ && st.st_ino == inode_) (void)::unlink(path_.c_str());
  path_.clear();
  if (directory_.empty()) return;
  const base::UniqueFd lock(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  // Somebody who is just making a socket there sees that the directory has gone.
  if (lock && ::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) (void)::rmdir(directory_.c_str());
}

}  // namespace brood::inline v1::net
