#include "manager/server.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <random>
#include <utility>

#include "base/hex.hpp"
#include "brood/detail/type_id.hpp"
#include "brood/error.hpp"
#include "registry/sleeper.hpp"
#include "shm/domain.hpp"

namespace brood::inline v1::manager {
namespace {

/// How soon the death of a client is noticed that sleeps in a call: what it held comes back after that at the latest.
constexpr int kLookEveryMs = 100;

std::uint64_t random_number() {
  std::random_device device;
  return (static_cast<std::uint64_t>(device()) << 32) | device();
}

/// Clients come in crowds: all children of a program at once.
constexpr int kBacklog = 1024;
/// How long clients have, when the server ends, to read what has been said to them.
constexpr std::chrono::milliseconds kLastWords{200};

ListenerOptions with_backlog(ListenerOptions options) {
  options.backlog = std::max(options.backlog, kBacklog);
  return options;
}

/// Proxies of the server that was here before have its address; one that was told replaces it, unless it leaves the port open.
ListenerOptions as_before(ListenerOptions options, const std::string& address) {
  if (address.empty()) return options;
  const TcpAddress* const wanted = options.address.tcp_address();
  if (options.address == Address() || (wanted != nullptr && wanted->port == 0)) options.address = Address(address);
  return options;
}

/// A Unix socket with a path of its own, and the same key.
detail::ListenerCore side_door(ListenerOptions options, const std::string& before) {
  options.address = before.empty() ? Address() : Address(before);
  options.tls.reset();
  return {with_backlog(std::move(options)), detail::kPayloadType<ManagerMessage>, detail::InForks::closed};
}

}  // namespace

std::string domain_key() {
  struct stat st {};
  shm::ensure_domain();
  if (::stat(shm::domain_path({}).c_str(), &st) != 0) return {};
  std::array<char, 64> boot{};
  if (std::FILE* file = std::fopen("/proc/sys/kernel/random/boot_id", "re")) {
    if (std::fgets(boot.data(), boot.size(), file) == nullptr) boot[0] = '\0';
    std::fclose(file);
  }
  return std::string(boot.data()) + ":" + std::to_string(st.st_dev) + ":" + std::to_string(st.st_ino);
}

Server::Identity Server::identity_in(const Journal* journal) {
  Identity found;
  if (journal == nullptr) return found;
  journal->read([&](Journal::Word word, Decoder& in) {
    if (word == Journal::Word::identity) found = {in.uint(), std::string(in.str()), std::string(in.str())};
  });
  return found;
}

Encoder Server::identity() const {
  Encoder record = Journal::begin(Journal::Word::identity, 3);
  record.uint(objects_.server());
  record.str(address_);
  record.str(local_address());
  return record;
}

Server::Server(const ListenerOptions& options, std::optional<Journal::Options> journal)
    : journal_(journal ? std::make_unique<Journal>(*std::move(journal)) : nullptr),
      before_(identity_in(journal_.get())),
      listener_(as_before(with_backlog(options), before_.address), detail::kPayloadType<ManagerMessage>,
                detail::InForks::closed),
      address_(listener_.address().str()),
      side_door_(listener_.address().tcp_address() != nullptr || options.tls
                     ? std::optional(side_door(options, before_.local_address))
                     : std::nullopt),
      max_message_(options.max_message),
      objects_(before_.server != 0 ? before_.server : random_number(), local_address(), options.authkey,
               journal_.get()),
      news_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      file_events_(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {
  if (!news_) throw OsError(errno, "cannot make an event descriptor for a manager's server");
  if (file_events_ && ::inotify_add_watch(file_events_.get(), shm::domain_path({}).c_str(), IN_DELETE) < 0)
    file_events_.reset();
  if (!journal_) return;
  if (before_ != Identity{objects_.server(), address_, local_address()}) journal_->append(identity(), true);
  objects_.restore();
}

Server::~Server() = default;

void Server::stop() noexcept {
  is_stopping_ = true;
  tell();
}

void Server::tell() noexcept {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(news_.get(), &one, sizeof one);
}

void Server::call_was_done() noexcept {
  if (journal_ && journal_->is_due() && !is_told_of_journal_.exchange(true)) tell();
}

void Server::serve(int lifeline) {
  bool is_exhausted = false;
  while (!is_stopping_) {
    // Who could not be let in stands outside still: looking at the doors would not be a pause.
    std::array<pollfd, 5> things{{{is_exhausted ? -1 : listener_.descriptor(), POLLIN, 0},
                                  {news_.get(), POLLIN, 0},
                                  {file_events_ ? file_events_.get() : -1, POLLIN, 0},
                                  {lifeline, POLLIN, 0},
                                  {side_door_ && !is_exhausted ? side_door_->descriptor() : -1, POLLIN, 0}}};
    (void)::poll(things.data(), things.size(), kLookEveryMs);
    if (things[3].revents != 0) is_stopping_ = true;
    if (things[1].revents != 0) {
      std::uint64_t times = 0;
      [[maybe_unused]] const ssize_t got = ::read(news_.get(), &times, sizeof times);
    }
    if (things[2].revents != 0) read_file_events();
    is_exhausted = !accept_all(listener_);
    if (side_door_) is_exhausted = !accept_all(*side_door_) || is_exhausted;
    look_after_sessions();
    look_after_journal();
    objects_.look_after_endings();
  }
  listener_.close();
  if (side_door_) side_door_->close();
  wake_all();
  end_sessions();
  if (rewriter_.joinable()) rewriter_.join();
}

/// In a thread of its own: it takes the turn of each object, and a method may be long at one.
void Server::look_after_journal() {
  is_told_of_journal_ = false;
  if (!journal_ || is_rewriting_ || !journal_->is_due()) return;
  if (rewriter_.joinable()) rewriter_.join();
  is_rewriting_ = true;
  const auto rewrite = [this] {
    try {
      objects_.rewrite_journal(identity());
    } catch (const std::exception&) {
      journal_->put_off();  // the old one goes on; whoever changes something is told if it cannot
    }
    is_rewriting_ = false;
  };
  try {
    rewriter_ = std::thread(rewrite);
  } catch (const std::system_error&) {
    rewrite();
  }
}

void Server::end_sessions() {
  std::list<Thread> ending;
  {
    const std::lock_guard lock(mutex_);
    ending.swap(sessions_);
  }
  for (Thread& it : ending) it.session->interrupt();
  const auto patience = std::chrono::steady_clock::now() + kLastWords;
  for (Thread& it : ending) {
    const auto has_ended = [&] { return it.session->has_ended(); };
    std::unique_lock lock(mutex_);
    const bool is_over = ended_.wait_until(lock, patience, has_ended);
    lock.unlock();
    if (!is_over) it.session->read_for_client();
    it.thread.join();
  }
}

void Server::session_has_ended() {
  const std::lock_guard lock(mutex_);
  ended_.notify_all();
}

bool Server::accept_all(detail::ListenerCore& listener) {
  for (;;) {
    try {
      std::optional<detail::ConnectionCore> connection = listener.accept(Deadline::now());
      if (!connection) return true;
      const std::lock_guard lock(mutex_);
      auto session = std::make_unique<Session>(*this, *std::move(connection));
      Thread& fresh = sessions_.emplace_back();
      fresh.session = std::move(session);
      try {
        fresh.thread = std::thread([session = fresh.session.get()] { session->run(); });
      } catch (const std::system_error&) {
        sessions_.pop_back();  // its client sees the end of the connection
        throw;
      }
    } catch (const RuntimeError&) {
      continue;  // one client that has no key, is late, or speaks something else; it was told
    } catch (const std::system_error&) {
      return false;  // no descriptors, no memory, no threads: later
    }
  }
}

void Server::read_file_events() {
  alignas(inotify_event) std::array<char, 16384> buffer;
  for (;;) {
    const ssize_t got = ::read(file_events_.get(), buffer.data(), buffer.size());
    if (got <= 0) return;
    for (ssize_t at = 0; at < got;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
      if ((event->mask & IN_Q_OVERFLOW) != 0) objects_.sweep();
      else if (event->len > 0) objects_.file_gone(event->name);
      at += static_cast<ssize_t>(sizeof *event + event->len);
    }
  }
}

void Server::look_after_sessions() {
  bool somebody_left = false;
  std::list<Thread> ended;
  {
    const std::lock_guard lock(mutex_);
    for (auto it = sessions_.begin(); it != sessions_.end();) {
      const auto next = std::next(it);
      if (it->session->has_ended()) ended.splice(ended.end(), sessions_, it);
      else somebody_left = it->session->look_after() || somebody_left;
      it = next;
    }
  }
  for (Thread& it : ended) it.thread.join();
  if (somebody_left) wake_all();
  // The killed leave files behind that nobody has open.
  if (const std::uint32_t deaths = registry::Sleeper::deaths(); deaths != deaths_seen_ || !file_events_) {
    deaths_seen_ = deaths;
    objects_.sweep();
  }
}

void Server::wake_all() {
  for (const auto& entry : objects_.all()) entry->served->wake();
}

std::shared_ptr<Client> Server::join(const std::string& client, std::int64_t pid) {
  const std::lock_guard lock(mutex_);
  auto& it = clients_[client];
  if (!it) it = std::make_shared<Client>(client, pid);
  ++it->sessions_;
  return it;
}

void Server::leave(const std::shared_ptr<Client>& client) {
  {
    const std::lock_guard lock(mutex_);
    if (--client->sessions_ > 0) return;
    clients_.erase(client->id());
  }
  for (const auto& entry : client->remembered()) entry->served->client_gone(*client);
}

std::size_t Server::clients() {
  const std::lock_guard lock(mutex_);
  return clients_.size();
}

}  // namespace brood::inline v1::manager
