#include "net/place.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>

#include "brood/error.hpp"

namespace brood::inline v1::net {
namespace {

constexpr std::size_t kLongestPath = sizeof(sockaddr_un{}.sun_path) - 1;

// A machine that vanished is noticed after two minutes of silence.
constexpr int kKeepIdleSeconds = 60;
constexpr int kKeepIntervalSeconds = 15;
constexpr int kKeepCount = 4;

template <class Address>
const Address& as(const Place& place) {
  return reinterpret_cast<const Address&>(place.storage);
}

Address address_of_unix(const Place& place) {
  const auto& address = as<sockaddr_un>(place);
  const std::size_t size =
      place.size > offsetof(sockaddr_un, sun_path) ? place.size - offsetof(sockaddr_un, sun_path) : 0;
  if (size == 0) return UnixAddress{};
  if (address.sun_path[0] == '\0') return UnixAddress::abstract(std::string(address.sun_path + 1, size - 1));
  return UnixAddress{std::string(address.sun_path, ::strnlen(address.sun_path, size))};
}

}  // namespace

Address Place::address() const {
  if (family() == AF_UNIX) return address_of_unix(*this);
  char host[NI_MAXHOST];
  char port[NI_MAXSERV];
  if (::getnameinfo(get(), size, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) != 0)
    throw OsError(EAFNOSUPPORT, "a socket has an address of family " + std::to_string(family()));
  return TcpAddress{host, static_cast<std::uint16_t>(std::stoi(port))};
}

Place place_of(const UnixAddress& address) {
  const std::string& path = address.path;
  if (path.empty()) throw UsageError("a Unix address without a path is for listeners only; connect to its address()");
  if (path.size() > kLongestPath) {
    throw UsageError("the " + std::string(address.is_abstract ? "name" : "path") +
                     " of a Unix socket may have at most " + std::to_string(kLongestPath) + " bytes, this one has " +
                     std::to_string(path.size()) + ": " + Address(address).str());
  }
  if (!address.is_abstract && path.find('\0') != std::string::npos)
    throw UsageError("a path has no zero byte: " + Address(address).str());
  Place place;
  auto& out = reinterpret_cast<sockaddr_un&>(place.storage);
  out.sun_family = AF_UNIX;
  std::memcpy(out.sun_path + (address.is_abstract ? 1 : 0), path.data(), path.size());
  // An abstract name is as long as it is, a path ends with a zero.
  place.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return place;
}

std::vector<Place> places_of(const TcpAddress& address, bool to_listen) {
  const std::string text = Address(address).str();
  if (address.host.empty())
    throw UsageError("a TCP address needs a host; to listen everywhere, say \"0.0.0.0\" or \"::\"");
  if (!to_listen && address.port == 0) throw UsageError("cannot connect to port 0: " + text);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | (to_listen ? AI_PASSIVE : 0);
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
  if (error != 0) {
    throw OsError(error == EAI_SYSTEM ? errno : EADDRNOTAVAIL,
                  "cannot find the host of " + text + " (" + ::gai_strerror(error) + ")");
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owned(found, &::freeaddrinfo);
  std::vector<Place> places;
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    if (each->ai_addrlen > sizeof(sockaddr_storage)) continue;
    Place place;
    std::memcpy(&place.storage, each->ai_addr, each->ai_addrlen);
    place.size = each->ai_addrlen;
    places.push_back(place);
  }
  return places;
}

Place own_place(int socket) {
  Place place;
  place.size = sizeof place.storage;
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&place.storage), &place.size) != 0)
    throw OsError(errno, "getsockname");
  return place;
}

Place peer_place(int socket) {
  Place place;
  place.size = sizeof place.storage;
  if (::getpeername(socket, reinterpret_cast<sockaddr*>(&place.storage), &place.size) != 0)
    throw OsError(errno, "getpeername");
  return place;
}

base::UniqueFd make_socket(int family, bool blocking, detail::InForks in_forks,
                           std::unique_ptr<os::NotInForks>& kept_from_forks) {
  base::UniqueFd made;
  keep_from_forks(in_forks, kept_from_forks, [&] {
    made.reset(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | (blocking ? 0 : SOCK_NONBLOCK), 0));
    return made.get();
  });
  if (!made) throw OsError(errno, "cannot make a socket");
  return made;
}

void tune(int socket) noexcept {
  const auto set = [&](int level, int option, int value) {
    (void)::setsockopt(socket, level, option, &value, sizeof value);
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, kKeepIdleSeconds);
  set(IPPROTO_TCP, TCP_KEEPINTVL, kKeepIntervalSeconds);
  set(IPPROTO_TCP, TCP_KEEPCNT, kKeepCount);
}

void set_non_blocking(int socket) {
  const int flags = ::fcntl(socket, F_GETFL);
  if (flags < 0 || ::fcntl(socket, F_SETFL, flags | O_NONBLOCK) != 0) throw OsError(errno, "fcntl of a socket");
}

}  // namespace brood::inline v1::net
