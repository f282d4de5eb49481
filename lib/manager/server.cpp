#include "manager/server.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
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

Server::Server(const ListenerOptions& options)
    : listener_(options, detail::kPayloadType<ManagerMessage>),
      address_(listener_.address().str()),
      objects_(random_number(), address_, options.authkey),
      stop_event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      file_events_(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {
  if (!stop_event_) throw OsError(errno, "cannot make an event descriptor for a manager's server");
  if (file_events_ && ::inotify_add_watch(file_events_.get(), shm::domain_path({}).c_str(), IN_DELETE) < 0)
    file_events_.reset();
}

Server::~Server() = default;

void Server::stop() noexcept {
  is_stopping_ = true;
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(stop_event_.get(), &one, sizeof one);
}

void Server::serve(int lifeline) {
  while (!is_stopping_) {
    std::array<pollfd, 4> things{{{listener_.descriptor(), POLLIN, 0},
                                  {stop_event_.get(), POLLIN, 0},
                                  {file_events_ ? file_events_.get() : -1, POLLIN, 0},
                                  {lifeline, POLLIN, 0}}};
    (void)::poll(things.data(), things.size(), kLookEveryMs);
    if (things[3].revents != 0) is_stopping_ = true;
    if (things[2].revents != 0) read_file_events();
    accept_all();
    look_after_sessions();
  }
  listener_.close();
  wake_all();
  std::list<Thread> ending;
  {
    const std::lock_guard lock(mutex_);
    ending.swap(sessions_);
  }
  for (Thread& it : ending) it.session->interrupt();
  for (Thread& it : ending) it.thread.join();
}

void Server::accept_all() {
  for (;;) {
    try {
      std::optional<detail::ConnectionCore> connection = listener_.accept(Deadline::now());
      if (!connection) return;
      const std::lock_guard lock(mutex_);
      auto session = std::make_unique<Session>(*this, *std::move(connection));
      std::thread thread([session = session.get()] { session->run(); });
      sessions_.push_back({std::move(session), std::move(thread)});
    } catch (const RuntimeError&) {
      continue;  // one client that has no key, is late, or speaks something else; it was told
    } catch (const OsError&) {
      return;  // no descriptors, no memory: later
    } catch (const std::system_error&) {
      return;  // no thread could be made: the connection ends, and its client is told
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
