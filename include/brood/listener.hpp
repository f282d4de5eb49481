// Listener and connect(): connections between processes that share no memory.                       (room: net)
//
// Not part of brood/brood.hpp: it comes with a library of its own, brood-net, since that needs OpenSSL, which a program
// without sockets should not have to load. Complete example: examples/10_listener_client.cpp
#pragma once

#include <chrono>
#include <optional>
#include <ostream>
#include <utility>

#include "brood/address.hpp"
#include "brood/connection.hpp"
#include "brood/deadline.hpp"
#include "brood/descriptor.hpp"
#include "brood/detail/socket_core.hpp"
#include "brood/error.hpp"

namespace brood::inline v1 {

/// Waits at an address for others, and makes a Connection<T> of each that comes: over Unix sockets or TCP, with mutual
/// authentication by a common key, and TLS, if they are asked for. Both ends must be made for the same T.
///
///     brood::Listener<Job> listener({.address = brood::TcpAddress{"localhost", 0}, .authkey = key});
///     Connection<Job> client = listener.accept();            // there: brood::connect<Job>(address, {.authkey = key})
///
/// A Connection over a socket is used like an end of a pipe (brood/connection.hpp). What differs:
///
///   - It is held by the process that made it and by the copies that its later forks made; it has no handle, cannot be sent
///     on, and is no argument of a Process. A forked child can use its copy of a connection without TLS, but parent and
///     child must not use the same direction both; a copy made while another thread was inside a message is closed in that
///     direction.
///   - What send() has given to the kernel has been sent; it is lost with the machine, and with the other end.
///   - End of file comes when the other end's holders have closed it or died. ConnectionReset, if they left unread what was
///     sent to them: over TCP, this may also take away what they sent last. A machine that vanished is noticed after two
///     minutes of silence, or a quarter of an hour if something is on the way to it: bound your waits.
///   - A message that is too long for both the options' max_message is refused by its sender (NoSpace, code EMSGSIZE), or by
///     its receiver (MessageTooLong, from then on always).
///   - Shared objects in messages: over a Unix socket without TLS, a message keeps the objects in it alive, as in a pipe. Over
///     TCP and TLS, handles travel as text and keep nothing alive; the receiver must be of the same domain on the same machine,
///     and if the object has been freed, receive throws HandleError.
///   - A Unix socket without TLS also carries descriptors (brood/descriptor.hpp). One message: at most 253 descriptors and
///     unnamed objects together.
///
/// Without TLS the key protects the door and nothing else: what is sent afterwards can be read, and over TCP changed, by
/// whoever is on the way.
///
/// Shape:      a socket, an epoll descriptor, and a descriptor for each client that is not through with its handshake (at
///             most 256, and a quarter of RLIMIT_NOFILE); a Connection is one socket. No thread.
/// Threads:    safe, but not closing, moving and destroying while others use the object. One at a time accepts.
/// Processes:  a forked child has a copy of the listening socket; clients go to whoever accepts first. Only the process
///             that made it removes its path. No handle.
/// Crash:      a client that is killed in its handshake costs one exception from accept(). A killed listener's path stays
///             behind; the next listener there sees that nobody listens, and takes it over.
/// Source:     Python multiprocessing.connection.Listener and Client; lib/net/README.md has the protocol.
template <class T>
class Listener {
 public:
  using value_type = T;

  /// Errors: AddressInUse; UsageError (a path of more than 107 bytes; options that make no sense; TLS files that cannot be
  ///         used); OsError (also: no such host), PermissionDenied.
  explicit Listener(const ListenerOptions& options = {}) : core_(options, detail::ConnectionMaker::type<T>()) {}

  /// The next client that is through; sleep until there is one. Clients that take their time over the handshake hold up
  /// nobody. The attempts go on with the handshakes that earlier ones began.
  ///
  /// Errors: of one client each, after which the listener is as good as before: AuthenticationError (wrong or missing key,
  ///         certificate), TypeMismatch (another T, another version), HandshakeTimeout (also: too many were at it, and it was
  ///         silent, or slow, while others waited), EndOfFile (it left), DecodeError (it speaks something else). Of this end: ListenerClosed, OsError (no descriptors left).
  [[nodiscard]] Connection<T> accept() { return *accept_before(Deadline::never()); }
  [[nodiscard]] std::optional<Connection<T>> try_accept() { return accept_before(Deadline::now()); }
  /// Units: any chrono duration; it bounds the whole call; zero or less means one attempt.
  template <class Rep, class Period>
  [[nodiscard]] std::optional<Connection<T>> try_accept_for(std::chrono::duration<Rep, Period> timeout) {
    return accept_before(Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] std::optional<Connection<T>> try_accept_until(std::chrono::time_point<Clock, Duration> when) {
    return detail::attempt_until(when, [&](Deadline deadline) { return accept_before(deadline); });
  }
  [[nodiscard]] std::optional<Connection<T>> accept_before(Deadline deadline) {
    auto core = core_.accept(deadline);
    if (!core) return std::nullopt;
    return detail::ConnectionMaker::make<T>(*std::move(core));
  }

  /// Where it really listens: with the port or path that was found. What others give to connect().
  /// Errors: ListenerClosed.
  [[nodiscard]] Address address() const { return core_.address(); }
  /// Where the last client that accept() returned came from, if any was; clients over Unix sockets have no address of their own.
  /// Errors: ListenerClosed.
  [[nodiscard]] std::optional<Address> last_accepted() const { return core_.last_accepted(); }
  /// Polls readable when try_accept() may have something to say. Owned by this object; for poll and epoll only.
  /// Errors: ListenerClosed.
  [[nodiscard]] int descriptor() const { return core_.descriptor(); }

  /// Stops listening, and removes the path of a Unix socket. Connections go on; clients that were not accepted see the
  /// end. May be called again.
  void close() noexcept { core_.close(); }
  [[nodiscard]] bool closed() const noexcept { return core_.closed(); }

  /// `<Listener tcp:127.0.0.1:4000>`, or closed.
  friend std::ostream& operator<<(std::ostream& out, const Listener& listener) {
    return out << listener.core_.printed();
  }

 private:
  detail::ListenerCore core_;
};

/// A connection to the listener at an address. With a key or TLS it is through with the handshake when this returns.
/// Without, it returns as soon as the kernel has the connection, so that one can write and leave before anybody accepts; if
/// the listener refuses (it asks for a key, its T is another), the first receive or a later send says so.
///
/// Errors: ConnectionRefused (nobody listens there); AuthenticationError (wrong or missing key, certificate);
///         TypeMismatch; TimeoutError (options.timeout), HandshakeTimeout; EndOfFile (the listener closed in the
///         handshake); DecodeError (it speaks something else); UsageError (options, a path of more than 107 bytes); OsError.
/// Source: Python multiprocessing.connection.Client.
template <class T>
[[nodiscard]] Connection<T> connect(const Address& address, const ConnectOptions& options = {}) {
  return detail::ConnectionMaker::make<T>(detail::connect(address, options, detail::ConnectionMaker::type<T>()));
}

}  // namespace brood::inline v1
