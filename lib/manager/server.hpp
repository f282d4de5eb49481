// The server of a Manager: a listening socket, a thread for each conversation, and one that looks after all of them.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>

#include "base/unique_fd.hpp"
#include "brood/address.hpp"
#include "brood/detail/socket_core.hpp"
#include "manager/journal.hpp"
#include "manager/objects.hpp"
#include "manager/session.hpp"

namespace brood::inline v1::manager {

/// The type that all conversations of managers have.
enum class ManagerMessage : std::uint8_t {};
inline constexpr std::uint32_t kProtocol = 2;

class Server {
 public:
  /// Listens from now on. With a journal: as the server that wrote it, with its objects, and at its address unless another one is
  /// given. Errors: as Listener, and Journal.
  explicit Server(const ListenerOptions& options, std::optional<Journal::Options> journal = {});
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  [[nodiscard]] std::string address() const { return address_; }
  /// For clients of this domain: without TLS.
  [[nodiscard]] std::string local_address() const { return side_door_ ? side_door_->address().str() : address_; }
  [[nodiscard]] std::uint64_t max_message() const noexcept { return max_message_; }
  [[nodiscard]] std::uint64_t id() const noexcept { return objects_.server(); }
  [[nodiscard]] Objects& objects() noexcept { return objects_; }

  /// Serves, in this thread and others, until stop() or until `lifeline` (or -1) is readable.
  void serve(int lifeline);
  /// From any thread, and from a client: serve() returns.
  void stop() noexcept;
  [[nodiscard]] bool is_stopping() const noexcept { return is_stopping_.load(); }

  // For sessions.
  [[nodiscard]] std::shared_ptr<Client> join(const std::string& client, std::int64_t pid);
  void leave(const std::shared_ptr<Client>& client);
  void session_has_ended();
  /// After a call: if the journal should be written anew, that is begun.
  void call_was_done() noexcept;
  [[nodiscard]] std::size_t clients();

 private:
  struct Thread {
    std::unique_ptr<Session> session;
    std::thread thread;
  };
  /// False if the system has nothing left to serve another client with.
  bool accept_all(detail::ListenerCore& listener);
  void read_file_events();
  void look_after_sessions();
  void look_after_journal();
  void end_sessions();
  void wake_all();
  void tell() noexcept;

  /// Who wrote the journal.
  struct Identity {
    std::uint64_t server = 0;  ///< 0: nobody yet
    std::string address;
    std::string local_address;
    friend bool operator==(const Identity&, const Identity&) = default;
  };
  [[nodiscard]] static Identity identity_in(const Journal* journal);
  [[nodiscard]] Encoder identity() const;

  const std::unique_ptr<Journal> journal_;
  const Identity before_;
  detail::ListenerCore listener_;
  const std::string address_;
  /// For clients of this domain, if the other door is one to a network: neither TLS nor its files are for them.
  std::optional<detail::ListenerCore> side_door_;
  const std::uint64_t max_message_;
  Objects objects_;
  base::UniqueFd news_;         ///< an event: serve() shall look
  base::UniqueFd file_events_;  ///< inotify on the domain directory; none if there are too many
  std::atomic<bool> is_stopping_ = false;
  std::atomic<bool> is_told_of_journal_ = false;
  std::atomic<bool> is_rewriting_ = false;
  std::thread rewriter_;
  std::uint32_t deaths_seen_ = 0;

  std::mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<Client>> clients_;
  std::list<Thread> sessions_;
  std::condition_variable ended_;  ///< one of them has
};

/// A text that two processes have in common if they share the domain directory.
[[nodiscard]] std::string domain_key();

}  // namespace brood::inline v1::manager
