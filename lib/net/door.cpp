#include "net/door.hpp"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>

#include "absl/cleanup/cleanup.h"
#include "brood/error.hpp"
#include "net/socket_transport.hpp"

namespace brood::inline v1::net {
namespace {

/// As many are inside at once, if that takes no more than a quarter of the descriptors that this process may have.
constexpr std::size_t kMostClients = 256;
constexpr std::size_t kFewestClients = 8;
/// Who has begun to talk has so long without being disturbed. It is a few round trips.
constexpr std::chrono::seconds kUndisturbed{1};

std::size_t most_clients() noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return kFewestClients;
  return std::clamp<std::size_t>(limit.rlim_cur / 4, kFewestClients, kMostClients);
}

bool is_readable(int fd) noexcept {
  pollfd thing{fd, POLLIN, 0};
  return ::poll(&thing, 1, 0) > 0;
}

std::uint32_t epoll_events(short events) noexcept {
  return ((events & POLLIN) != 0 ? EPOLLIN : 0U) | ((events & POLLOUT) != 0 ? EPOLLOUT : 0U);
}

std::string label_of(const Address& listener, const Place& from) {
  return from.family() == AF_UNIX ? listener.str() : listener.str() + " from " + from.address().str();
}

}  // namespace

Terms terms_of(const std::optional<std::string>& key, Digest digest, std::uint64_t max_message,
               std::chrono::nanoseconds handshake_timeout, const detail::ConnectionCore::Type& type) {
  if (handshake_timeout <= std::chrono::nanoseconds::zero())
    throw UsageError("handshake_timeout must be longer than nothing");
  if (key && key->size() > static_cast<std::size_t>(std::numeric_limits<int>::max()))
    throw UsageError("authkey: a key of more than 2 GiB");
  if (to_string(digest) == "unknown") throw UsageError("digest: no such digest");
  return {key, digest, {type, max_message}};
}

Door::Client::Client(const Door& door, base::UniqueFd socket, std::unique_ptr<os::NotInForks> kept, Place place)
    : label(label_of(door.address_, place)),
      stream(door.tls_ ? door.tls_->wrap(std::move(socket), {}) : plain_stream(std::move(socket))),
      kept_from_forks(std::move(kept)),
      greeting(*stream, door.terms_, Role::listener, label),
      until(Deadline::after(door.handshake_timeout_)),
      may_leave(Deadline::after(kUndisturbed)),
      from(place),
      has_spoken(is_readable(stream->socket())) {}

Door::Door(const ListenerOptions& options, const detail::ConnectionCore::Type& type, detail::InForks in_forks)
    : terms_(terms_of(options.authkey, options.digest, options.max_message, options.handshake_timeout, type)),
      in_forks_(in_forks),
      handshake_timeout_(options.handshake_timeout),
      most_clients_(most_clients()) {
  if (options.backlog < 0) throw UsageError("backlog is negative: " + std::to_string(options.backlog));
  if (options.tls) tls_.emplace(*options.tls, Role::listener);
  // If this does not come to its end, nothing stays behind.
  absl::Cleanup remove_file = [&] { file_.remove(); };
  if (const UnixAddress* address = options.address.unix_address()) {
    socket_ = make_socket(AF_UNIX, false, in_forks_, kept_from_forks_);
    if (address->path.empty()) {
      if (address->is_abstract) throw UsageError("an abstract socket needs a name");
      file_ = SocketFile::bind_to_new(socket_.get());
    } else if (address->is_abstract) {
      const Place place = place_of(*address);
      if (::bind(socket_.get(), place.get(), place.size) != 0) {
        if (errno == EADDRINUSE)
          throw AddressInUse("cannot listen at " + options.address.str() + ": somebody else does; take another name");
        throw OsError(errno, "cannot listen at " + options.address.str());
      }
    } else {
      file_ = SocketFile::bind(socket_.get(), address->path);
    }
    if (::listen(socket_.get(), options.backlog) != 0) throw OsError(errno, "listen at " + options.address.str());
  } else {
    const auto places = places_of(*options.address.tcp_address(), true);
    for (std::size_t i = 0; i < places.size() && !socket_; ++i) {
      try {
        listen_at(places[i], options.backlog);
      } catch (const OsError& error) {
        kept_from_forks_.reset();
        socket_.reset();
        // A name may stand for an address that this machine does not have.
        if (i + 1 == places.size() || error.code().value() == EADDRINUSE) throw;
      }
    }
  }
  address_ = own_place(socket_.get()).address();
  watch();
  std::move(remove_file).Cancel();
}

Door::~Door() { file_.remove(); }

void Door::listen_at(const Place& place, int backlog) {
  socket_ = make_socket(place.family(), false, in_forks_, kept_from_forks_);
  const int yes = 1;
  (void)::setsockopt(socket_.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (::bind(socket_.get(), place.get(), place.size) != 0 || ::listen(socket_.get(), backlog) != 0) {
    const std::string text = place.address().str();
    switch (errno) {
      case EADDRINUSE: throw AddressInUse("cannot listen at " + text + ": somebody else does; take another port, or 0");
      case EACCES: throw PermissionDenied("cannot listen at " + text + ": the port is for privileged processes");
      default: throw OsError(errno, "cannot listen at " + text);
    }
  }
}

void Door::watch() {
  epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_) throw OsError(errno, "epoll_create1");
  listener_is_watched_ = false;
  watch_listener(true);
}

void Door::watch_listener(bool on) {
  if (on == listener_is_watched_) return;
  epoll_event event{.events = EPOLLIN, .data = {}};
  if (::epoll_ctl(epoll_.get(), on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, socket_.get(), &event) != 0)
    throw OsError(errno, "epoll_ctl of a listener");
  listener_is_watched_ = on;
}

/// The clients inside are the parent's, and so is what epoll knows; the listening socket is everybody's, unless it was kept from
/// forks: then nobody ever comes here.
void Door::begin_in_child() {
  turn_.begin_anew();
  clients_.clear();
  watch();
}

std::optional<Address> Door::last_accepted() {
  here();
  const InTurn turn(turn_, Deadline::never());
  return last_accepted_ ? std::optional(last_accepted_->address()) : std::nullopt;
}

int Door::descriptor() {
  here();
  return epoll_.get();
}

bool Door::somebody_waits() const { return is_readable(socket_.get()); }

Door::Clients::iterator Door::least_wanted() {
  const auto silent = std::ranges::find_if(clients_, [](const Client& client) { return !client.has_spoken; });
  if (silent != clients_.end()) return silent;
  const bool is_due = !clients_.empty() && clients_.front().may_leave.passed();
  return is_due ? clients_.begin() : clients_.end();
}

void Door::dismiss(Clients::iterator client) {
  const std::string label = client->label;
  const bool has_spoken = client->has_spoken;
  clients_.erase(client);
  throw HandshakeTimeout(label + (has_spoken ? ": a client was slow in its handshake" : ": a client said nothing") +
                         ", and had to make room for others");
}

bool Door::let_one_in() {
  if (clients_.size() >= most_clients_) {
    const auto leaving = least_wanted();
    watch_listener(leaving != clients_.end());
    if (leaving == clients_.end() || !somebody_waits()) return false;
    dismiss(leaving);
  }
  watch_listener(true);
  for (;;) {
    Place from;
    from.size = sizeof from.storage;
    base::UniqueFd socket;
    std::unique_ptr<os::NotInForks> kept;
    keep_from_forks(in_forks_, kept, [&] {
      socket.reset(::accept4(socket_.get(), reinterpret_cast<sockaddr*>(&from.storage), &from.size,
                             SOCK_CLOEXEC | SOCK_NONBLOCK));
      return socket.get();
    });
    if (!socket) {
      switch (errno) {
        case EAGAIN: return false;
        case EINTR:
        case ECONNABORTED:  // it left before we came; others of this kind are how Linux passes on a network's troubles
        case EPROTO:
        case ENOPROTOOPT:
        case EHOSTDOWN:
        case ENONET:
        case EHOSTUNREACH:
        case ENETUNREACH:
        case ENETDOWN: continue;
        case EMFILE:
        case ENFILE: {
          const int why = errno;
          if (const auto leaving = least_wanted(); leaving != clients_.end()) dismiss(leaving);
          throw OsError(why, "accept at " + address_.str());
        }
        default: throw OsError(errno, "accept at " + address_.str());
      }
    }
    tune(socket.get());
    clients_.emplace_back(*this, std::move(socket), std::move(kept), from);
    clients_.back().self = std::prev(clients_.end());
    return true;
  }
}

bool Door::step(Client& client) {
  const Io io = client.greeting.step();
  if (io.is == Io::Is::done) return true;
  if (client.until.passed()) {
    throw HandshakeTimeout(client.label + ": a client did not finish the handshake within " +
                           std::to_string(std::chrono::duration<double>(handshake_timeout_).count()) +
                           " s (handshake_timeout)");
  }
  if (client.events == io.events) return false;
  epoll_event event{.events = epoll_events(io.events), .data = {.ptr = &client}};
  const int how = client.events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  if (::epoll_ctl(epoll_.get(), how, client.stream->socket(), &event) != 0)
    throw OsError(errno, "epoll_ctl of a client");
  client.events = io.events;
  return false;
}

bool Door::go_on_with(Clients::iterator client) {
  try {
    return step(*client);
  } catch (...) {  // passed on; this client is over, the others go on
    clients_.erase(client);
    throw;
  }
}

std::unique_ptr<channel::Transport> Door::welcome(Clients::iterator client) {
  Clients leaving;
  leaving.splice(leaving.begin(), clients_, client);
  if (client->events != 0) (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, client->stream->socket(), nullptr);
  auto transport = std::make_unique<SocketTransport>(std::move(client->stream), terms_.messages, client->label,
                                                     client->greeting.peer(), client->greeting.late_note(),
                                                     std::move(client->kept_from_forks));
  last_accepted_ = client->from;
  return transport;
}

/// Who has nothing new to say costs nothing here, however many they are.
std::unique_ptr<channel::Transport> Door::go_on_with_clients() {
  // All have the same time: those that came first run out of it first.
  while (!clients_.empty() && clients_.front().until.passed()) {
    const auto oldest = clients_.begin();
    if (go_on_with(oldest)) return welcome(oldest);
  }
  std::array<epoll_event, 64> ready;
  const int count = ::epoll_wait(epoll_.get(), ready.data(), static_cast<int>(ready.size()), 0);
  for (int i = 0; i < count; ++i) {
    auto* const client = static_cast<Client*>(ready[static_cast<std::size_t>(i)].data.ptr);
    if (client == nullptr) continue;  // the listening socket
    if ((ready[static_cast<std::size_t>(i)].events & EPOLLIN) != 0) client->has_spoken = true;
    // Whoever is behind this one, if we leave here, is ready the next time as well.
    if (go_on_with(client->self)) return welcome(client->self);
  }
  return nullptr;
}

std::unique_ptr<channel::Transport> Door::accept(Deadline deadline) {
  here();
  const InTurn turn(turn_, deadline);
  if (!turn) return nullptr;
  for (;;) {
    if (auto transport = go_on_with_clients()) return transport;
    while (let_one_in()) {
      const auto newest = std::prev(clients_.end());
      if (go_on_with(newest)) return welcome(newest);
    }
    if (deadline.passed()) return nullptr;
    Deadline until = deadline;
    if (!clients_.empty()) {
      const Client& oldest = clients_.front();
      if (oldest.until.at_ns() < until.at_ns()) until = oldest.until;
      if (!listener_is_watched_ && oldest.may_leave.at_ns() < until.at_ns()) until = oldest.may_leave;
    }
    (void)wait_until_ready(epoll_.get(), POLLIN, until);
  }
}

}  // namespace brood::inline v1::net

namespace brood::inline v1::detail {

ListenerCore::ListenerCore(const ListenerOptions& options, const ConnectionCore::Type& type, InForks in_forks)
    : door_(std::make_unique<net::Door>(options, type, in_forks)) {}
ListenerCore::ListenerCore(ListenerCore&& other) noexcept = default;
ListenerCore& ListenerCore::operator=(ListenerCore&& other) noexcept = default;
ListenerCore::~ListenerCore() = default;

net::Door& ListenerCore::open_door() const {
  if (door_ == nullptr) {
    if (closed_name_.empty()) throw UsageError("this Listener was moved from; use the object it was moved to");
    throw ListenerClosed(closed_name_ + ": this Listener object was closed");
  }
  return *door_;
}

std::optional<ConnectionCore> ListenerCore::accept(Deadline deadline) {
  auto transport = open_door().accept(deadline);
  if (transport == nullptr) return std::nullopt;
  return ConnectionCore(std::move(transport));
}
Address ListenerCore::address() const { return open_door().address(); }
std::optional<Address> ListenerCore::last_accepted() const { return open_door().last_accepted(); }
int ListenerCore::descriptor() const { return open_door().descriptor(); }

void ListenerCore::close() noexcept {
  if (door_ == nullptr) return;
  closed_name_ = door_->address().str();
  door_.reset();
}

std::string ListenerCore::printed() const {
  if (door_ != nullptr) return "<Listener " + door_->address().str() + ">";
  return closed_name_.empty() ? "<Listener moved from>" : "<Listener " + closed_name_ + " closed>";
}

}  // namespace brood::inline v1::detail
