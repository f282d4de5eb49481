// What this process knows of a server: its address, and conversations that wait to be used again.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "brood/detail/object.hpp"
#include "brood/detail/socket_core.hpp"
#include "brood/finalizer.hpp"
#include "brood/process.hpp"
#include "call/line.hpp"

namespace brood::inline v1::manager {

/// One for each server that this process uses. Each call takes a conversation, or makes one if all are in use: so there are as
/// many as threads that called at the same time. The child of a fork makes its own.
class Link : public std::enable_shared_from_this<Link> {
 public:
  /// The link of this server, if there is one; else a new one, which has talked to the server already.
  /// `told`: the address that others are told, if that is another one.
  /// Errors: ManagerDied (nobody there, or another server), AuthenticationError, TypeMismatch (no manager), OsError.
  [[nodiscard]] static std::shared_ptr<Link> to(const Address& address, const ConnectOptions& options,
                                                std::uint64_t server = 0, std::optional<Address> told = {});
  /// The one that this process has for a server already; null: none.
  [[nodiscard]] static std::shared_ptr<Link> known(std::uint64_t server);

  Link(Address address, ConnectOptions options) : address_(std::move(address)), options_(std::move(options)) {}
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  [[nodiscard]] std::uint64_t server() const noexcept { return server_; }
  /// What others are told: not always where this process connects.
  [[nodiscard]] const Address& address() const noexcept { return told_ ? *told_ : address_; }

  [[nodiscard]] std::shared_ptr<call::Line> take();
  void give_back(std::shared_ptr<call::Line> line) noexcept;
  /// Ends all conversations that nobody uses.
  void forget() noexcept;
  /// In the process that started the server: so that errors can say how that has ended.
  void watch(const std::shared_ptr<Process>& server);

 private:
  [[nodiscard]] std::shared_ptr<call::Line> connect();
  [[nodiscard]] std::exception_ptr explain(const std::exception_ptr& why);
  void start_anew_after_fork();

  const Address address_;
  const ConnectOptions options_;
  std::optional<Address> told_;
  std::atomic<std::uint64_t> server_ = 0;  ///< 0: not known before the first conversation
  // Under the mutex of all links.
  pid_t owner_ = 0;
  std::string client_;  ///< this process, to the server
  std::weak_ptr<Process> process_;
  pid_t creator_ = 0;  ///< of process_
  std::vector<std::shared_ptr<call::Line>> idle_;
  Finalizer at_exit_;
};

/// One reference to a managed object. Shared by copies of a proxy.
struct Ref {
  std::shared_ptr<Link> link;
  std::uint64_t object = 0;
  std::string address = {};  ///< of the server, for everybody
  detail::Object token;      ///< in the server's domain: keeps the object by being open
  bool is_counted = false;   ///< elsewhere: the server counts, and is told at the end
  pid_t owner = 0;
  ~Ref();
};

}  // namespace brood::inline v1::manager
