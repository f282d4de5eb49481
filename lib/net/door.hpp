// Door: a listening socket, and the clients that are not through with their greeting.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "base/unique_fd.hpp"
#include "brood/detail/socket_core.hpp"
#include "channel/transport.hpp"
#include "net/greeting.hpp"
#include "net/owner.hpp"
#include "net/place.hpp"
#include "net/stream.hpp"
#include "net/tls.hpp"
#include "net/turn.hpp"
#include "os/not_in_forks.hpp"

namespace brood::inline v1::net {

class Door {
 public:
  Door(const ListenerOptions& options, const detail::ConnectionCore::Type& type, detail::InForks in_forks);
  ~Door();

  /// Empty if nobody was through before the deadline. Errors: see Listener::accept().
  [[nodiscard]] std::unique_ptr<channel::Transport> accept(Deadline deadline);
  [[nodiscard]] const Address& address() const noexcept { return address_; }
  [[nodiscard]] std::optional<Address> last_accepted();
  [[nodiscard]] int descriptor();

 private:
  struct Client {
    Client(const Door& door, base::UniqueFd socket, std::unique_ptr<os::NotInForks> kept, Place from);
    std::string label;
    std::unique_ptr<Stream> stream;
    std::unique_ptr<os::NotInForks> kept_from_forks;
    Greeting greeting;
    Deadline until;
    Deadline may_leave;  ///< from then on it gives up its place if somebody waits outside
    Place from;
    short events = 0;
    bool has_spoken = false;
    std::list<Client>::iterator self;
  };
  using Clients = std::list<Client>;

  void here() {
    owner_.here([this] { begin_in_child(); });
  }
  void begin_in_child();
  void listen_at(const Place& place, int backlog);
  void watch();
  void watch_listener(bool on);
  /// False if nobody waits outside, or too many are inside. Errors: of one who was asked to leave instead.
  bool let_one_in();
  [[nodiscard]] bool somebody_waits() const;
  /// Whoever should leave for another: one that has not said a word, or has had its time. None: end().
  [[nodiscard]] Clients::iterator least_wanted();
  [[noreturn]] void dismiss(Clients::iterator client);
  /// The first who is through. Errors: of the first who will never be; it is out.
  [[nodiscard]] std::unique_ptr<channel::Transport> go_on_with_clients();
  /// True if it is through. Errors: of one that will never be; it is out.
  [[nodiscard]] bool go_on_with(Clients::iterator client);
  [[nodiscard]] bool step(Client& client);
  [[nodiscard]] std::unique_ptr<channel::Transport> welcome(Clients::iterator client);

  const Terms terms_;
  const detail::InForks in_forks_;
  const std::chrono::nanoseconds handshake_timeout_;
  const std::size_t most_clients_;
  std::optional<TlsContext> tls_;
  base::UniqueFd socket_;
  std::unique_ptr<os::NotInForks> kept_from_forks_;
  SocketFile file_;
  Address address_;
  Owner owner_;
  Turn turn_;
  // Of whoever has the turn.
  base::UniqueFd epoll_;
  bool listener_is_watched_ = false;
  Clients clients_;  ///< in the order in which they came
  std::optional<Place> last_accepted_;
};

/// What the options of both ends have in common. Errors: UsageError.
[[nodiscard]] Terms terms_of(const std::optional<std::string>& key, Digest digest, std::uint64_t max_message,
                             std::chrono::nanoseconds handshake_timeout, const detail::ConnectionCore::Type& type);

}  // namespace brood::inline v1::net
