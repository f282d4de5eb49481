// connect(): the client's way to a connection.
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/cleanup/cleanup.h"
#include "brood/error.hpp"
#include "net/door.hpp"
#include "net/socket_transport.hpp"

namespace brood::inline v1::net {
namespace {

[[noreturn]] void throw_timeout(const Address& address) {
  throw TimeoutError("cannot connect to " + address.str() + ": the time that was given (timeout) is over");
}

/// 0, or why not. Errors: TimeoutError.
int connect_unix(int socket, const Place& place, const Address& address, Deadline deadline) {
  // Without sleeping, a listener whose backlog is full could not be waited for. So the socket sleeps, with a limit.
  for (;;) {
    timeval limit{};
    if (!deadline.is_never()) {
      const std::int64_t left = std::max<std::int64_t>(1000, deadline.at_ns() - Deadline::clock_ns());
      limit = {static_cast<time_t>(left / 1'000'000'000), static_cast<suseconds_t>(left % 1'000'000'000 / 1000)};
    }
    if (::setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0)
      throw OsError(errno, "setsockopt SO_SNDTIMEO");
    if (::connect(socket, place.get(), place.size) == 0) return 0;
    if (errno != EINTR && errno != EAGAIN) return errno;
    if (deadline.passed()) throw_timeout(address);
  }
}

int connect_tcp(int socket, const Place& place, const Address& address, Deadline deadline) {
  if (::connect(socket, place.get(), place.size) != 0) {
    if (errno != EINPROGRESS && errno != EINTR) return errno;
    if (!wait_until_ready(socket, POLLOUT, deadline)) throw_timeout(address);
    int error = 0;
    socklen_t size = sizeof error;
    if (::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
    if (error != 0) return error;
  }
  // With bad luck, a port where nobody listens is the one that the kernel chose for ourselves, and we meet ourselves.
  const Place here = own_place(socket);
  const Place there = peer_place(socket);
  const bool is_self = here.size == there.size && std::memcmp(&here.storage, &there.storage, here.size) == 0;
  return is_self ? ECONNREFUSED : 0;
}

base::UniqueFd connected_socket(const Address& address, Deadline deadline, detail::InForks in_forks,
                                std::unique_ptr<os::NotInForks>& kept_from_forks) {
  int error = 0;
  if (const UnixAddress* name = address.unix_address()) {
    const Place place = place_of(*name);
    base::UniqueFd socket = make_socket(AF_UNIX, true, in_forks, kept_from_forks);
    error = connect_unix(socket.get(), place, address, deadline);
    if (error == 0) {
      set_non_blocking(socket.get());
      return socket;
    }
    kept_from_forks.reset();
  } else {
    for (const Place& place : places_of(*address.tcp_address(), false)) {
      base::UniqueFd socket = make_socket(place.family(), false, in_forks, kept_from_forks);
      const int why = connect_tcp(socket.get(), place, address, deadline);
      if (why == 0) {
        tune(socket.get());
        return socket;
      }
      // Of several addresses the one where a machine said no tells most.
      if (error != ECONNREFUSED) error = why;
      kept_from_forks.reset();
    }
  }
  const std::string what = "cannot connect to " + address.str();
  switch (error) {
    case ECONNREFUSED: throw ConnectionRefused(what + ": nobody listens there");
    case ENOENT: throw ConnectionRefused(what + ": there is no such socket", ENOENT);
    case EACCES:
    case EPERM: throw PermissionDenied(what);
    default: throw OsError(error, what);
  }
}

}  // namespace
}  // namespace brood::inline v1::net

namespace brood::inline v1::detail {

ConnectionCore connect(const Address& address, const ConnectOptions& options, const ConnectionCore::Type& type,
                       InForks in_forks) {
  const Deadline deadline = options.timeout ? Deadline::after(*options.timeout) : Deadline::never();
  const net::Terms terms =
      net::terms_of(options.authkey, options.digest, options.max_message, options.handshake_timeout, type);
  std::optional<net::TlsContext> tls;
  std::string server_name;
  if (options.tls) {
    tls.emplace(*options.tls, net::Role::client);
    server_name = options.tls->server_name;
    if (server_name.empty() && address.tcp_address() != nullptr) server_name = address.tcp_address()->host;
  }
  std::unique_ptr<os::NotInForks> kept;
  base::UniqueFd socket = net::connected_socket(address, deadline, in_forks, kept);
  std::unique_ptr<net::Stream> stream =
      tls ? tls->wrap(std::move(socket), server_name) : net::plain_stream(std::move(socket));
  const absl::Cleanup first_kept_no_more = [&] { kept.reset(); };
  const std::string label = address.str();
  net::Greeting greeting(*stream, terms, net::Role::client, label);
  const Deadline limit = Deadline::after(options.handshake_timeout);
  const Deadline until = limit.at_ns() < deadline.at_ns() ? limit : deadline;
  for (;;) {
    const net::Io io = greeting.step();
    if (io.is == net::Io::Is::done) break;
    if (!until.passed() && net::wait_until_ready(stream->socket(), io.events, until)) continue;
    if (deadline.passed()) net::throw_timeout(address);
    throw HandshakeTimeout(label + ": the listener did not finish the handshake within " +
                           std::to_string(std::chrono::duration<double>(options.handshake_timeout).count()) +
                           " s (handshake_timeout); it may be busy, or ask for no key");
  }
  return ConnectionCore(std::make_unique<net::SocketTransport>(std::move(stream), terms.messages, label,
                                                               greeting.peer(), greeting.late_note(), std::move(kept)));
}

}  // namespace brood::inline v1::detail
