// A client process, and its conversations with the server.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "brood/detail/connection_core.hpp"
#include "brood/detail/object.hpp"
#include "call/line.hpp"
#include "manager/objects.hpp"

namespace brood::inline v1::manager {

class Server;

/// One process that uses the server, by any number of conversations. It is gone when the last of these has ended.
class Client {
 public:
  Client(std::string id, std::int64_t pid) : id_(std::move(id)), pid_(pid) {}
  [[nodiscard]] const std::string& id() const noexcept { return id_; }
  [[nodiscard]] std::int64_t pid() const noexcept { return pid_; }

  /// True if all its conversations ended with a word: then it has left, and was not killed.
  [[nodiscard]] bool has_left() const noexcept { return !was_torn_.load(); }
  void tear() noexcept { was_torn_ = true; }

  /// It holds something of this object: client_gone() will be told.
  void remember(const std::shared_ptr<Entry>& entry);
  [[nodiscard]] std::vector<std::shared_ptr<Entry>> remembered();

  /// References of a client that has no part in the domain: counted here.
  void retain(const std::shared_ptr<Entry>& entry);
  void release(std::uint64_t object);

 private:
  friend class Server;
  const std::string id_;
  const std::int64_t pid_;
  int sessions_ = 0;  ///< under the server's mutex
  std::atomic<bool> was_torn_ = false;
  std::mutex mutex_;
  std::unordered_map<std::uint64_t, std::weak_ptr<Entry>> remembered_;
  struct Counted {
    std::shared_ptr<Entry> entry;
    unsigned count = 0;
  };
  std::unordered_map<std::uint64_t, Counted> retained_;
};

/// One conversation: a thread of the server that does its calls, one after the other.
class Session {
 public:
  Session(Server& server, detail::ConnectionCore connection);
  /// The thread's body: hello, then calls until the end.
  void run();

  [[nodiscard]] const std::shared_ptr<Client>& client() const noexcept { return client_; }
  [[nodiscard]] Server& server() const noexcept { return server_; }
  /// Of the client's thread that the present call is made for.
  [[nodiscard]] std::uint64_t owner() const noexcept { return owner_; }
  void set_owner(std::uint64_t owner) noexcept { owner_ = owner; }
  /// The entry that the present call is for.
  [[nodiscard]] const std::shared_ptr<Entry>& entry() const noexcept { return entry_; }

  /// The client takes no longer messages, in bytes.
  [[nodiscard]] std::uint64_t longest_answer() const noexcept { return longest_answer_; }

  /// Writes a reference that keeps the object alive until the client has it.
  void refer(const std::shared_ptr<Entry>& entry, Encoder& out);

  [[nodiscard]] bool is_gone() const noexcept { return is_gone_.load(); }
  /// For the thread that looks after sleeping sessions: true if the client has left meanwhile.
  [[nodiscard]] bool look_after();
  /// Ends the conversation from another thread.
  void interrupt() noexcept;
  /// After interrupt(): takes the answers that the client does not, until the conversation has ended.
  void read_for_client() noexcept;
  [[nodiscard]] bool has_ended() const noexcept { return has_ended_.load(); }

 private:
  friend class Asleep;
  [[nodiscard]] bool greet();
  void converse();
  [[nodiscard]] bool say_stop_for(detail::ConnectionCore& client);
  std::shared_ptr<const void> act(const call::Line::Asked& asked, Decoder& in, Encoder& out);

  Server& server_;
  detail::ConnectionCore connection_;
  int socket_ = -1;  ///< as long as the conversation goes over one, and it is open
  std::shared_ptr<Client> client_;
  bool is_local_ = false;  ///< the client is of this domain
  std::shared_ptr<call::Line> line_;
  std::mutex line_mutex_;
  std::string other_end_;  ///< of a pipe: the handle of the client's end
  std::uint64_t longest_answer_ = 0;
  std::uint64_t owner_ = 0;
  std::shared_ptr<Entry> entry_;
  std::vector<detail::Object> kept_;  ///< tokens in the last answer
  std::atomic<bool> is_asleep_ = false;
  std::atomic<bool> is_gone_ = false;
  std::atomic<bool> has_ended_ = false;
};

}  // namespace brood::inline v1::manager
