// What the server keeps for its clients, and how a call reaches it.
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "brood/deadline.hpp"
#include "brood/error.hpp"
#include "brood/serialize.hpp"
#include "manager/blob.hpp"

namespace brood::inline v1::manager {

class Journal;
class Objects;
class Served;
class Session;
class Client;

/// One call, while it is done.
struct Call {
  Objects& objects;
  Session* session;  ///< null: it comes from the journal
  Decoder& in;
  Encoder& out;
  /// What must live until the result has been sent.
  std::vector<std::shared_ptr<const void>> kept = {};

  void arguments(std::size_t count, std::string_view method) const { in.expect_array(count, method); }
  [[nodiscard]] Blob blob() const { return take_blob(objects, in); }
  /// Writes it to the result. What is named in it lives at least until that has been sent, whatever becomes of the value.
  void give(const Blob& value) {
    value.encode(out);
    keep(value);
  }
  void keep(const Blob& value) {
    if (value.luggage) kept.push_back(value.luggage);
  }
  /// A timeout in nanoseconds, or nil.
  [[nodiscard]] Deadline deadline() const;
};

/// What is known of an object when the journal is written anew.
class Saver {
 public:
  Saver() = default;
  Saver(const Saver&) = delete;
  Saver& operator=(const Saver&) = delete;
  /// The arguments of a constructor that would make it as it is now. To be called while nobody can change it.
  virtual void save(Served& served, const Encoder& arguments) = 0;

 protected:
  ~Saver() = default;
};

/// An object of the server. Calls come from several threads at once.
class Served {
 public:
  Served() = default;
  Served(const Served&) = delete;
  Served& operator=(const Served&) = delete;
  virtual ~Served();

  /// Errors: UsageError (no such method); what the method throws.
  virtual void call(std::string_view method, Call& call) = 0;
  /// For methods that are called by place: the object, and the lock that must be held, if there is one.
  [[nodiscard]] virtual void* object() noexcept { return nullptr; }
  [[nodiscard]] virtual std::mutex* turn() noexcept { return nullptr; }

  /// The same for a change that a journal tells of, before there are clients. Errors: also UsageError (it would not write that).
  virtual void repeat(std::string_view method, Call& call);
  /// Calls saver.save(), unless it cannot be kept by a journal.
  virtual void save(Saver& /*saver*/) {}
  /// Before it can be found: what it is called in the journal, if there is one.
  void begin_journal(Journal* journal, std::uint64_t id) noexcept {
    journal_ = journal;
    id_ = id;
  }
  void set_copy(std::uint64_t number) noexcept { copy_ = number; }
  /// Writes down that a method is about to be called. To be called, as the change itself, while nobody else can change it.
  /// Errors: NoSpace, OsError; then it must not be.
  void write_ahead(std::string_view method, std::span<const std::byte> arguments);
  /// The call that was written down last did not happen.
  void write_failed() noexcept;
  [[nodiscard]] bool has_journal() const noexcept { return journal_ != nullptr; }

  /// A client process that once took something here has died or left. What it held comes back.
  virtual void client_gone(const Client& /*client*/) {}
  /// Sleeping calls shall look again: a client is gone, or the server ends.
  virtual void wake() {}

 private:
  Journal* journal_ = nullptr;
  std::uint64_t id_ = 0;
  std::uint64_t copy_ = 0;  ///< of the journal: it has been saved there
};

template <class S>
struct Method {
  std::string_view name;
  void (S::*run)(Call& call);
  bool changes = false;  ///< what a journal keeps
};

[[noreturn]] void throw_no_method(std::string_view type, std::string_view method, std::string_view known);

/// Finds the method in a table and runs it.
template <class S, std::size_t N>
void run_method(const std::array<Method<S>, N>& methods, S& object, std::string_view type, std::string_view method,
                Call& call) {
  for (const Method<S>& it : methods) {
    if (it.name != method) continue;
    if (!it.changes || !object.has_journal()) return (object.*it.run)(call);
    Decoder ahead = call.in;
    object.write_ahead(method, ahead.value([](const detail::Ext&) {}));
    try {
      return (object.*it.run)(call);
    } catch (...) {
      object.write_failed();
      throw;
    }
  }
  std::string known;
  for (const Method<S>& it : methods) known += (known.empty() ? "" : " ") + std::string(it.name);
  throw_no_method(type, method, known);
}

/// Base of those whose calls may sleep.
class Sleeping : public Served {
 public:
  void wake() override {
    const std::lock_guard lock(mutex_);
    changed_.notify_all();
  }

 protected:
  using Lock = std::unique_lock<std::mutex>;
  /// Sleeps until `ready()`; false: the deadline. Errors: PeerGone if the client is gone, or the server ends, meanwhile.
  template <class Ready>
  bool wait(Lock& lock, const Call& call, Deadline deadline, Ready ready);

  std::mutex mutex_;
  std::condition_variable changed_;
};

/// Marks a session as asleep in a call, for the thread that looks after clients that die meanwhile.
class Asleep {
 public:
  explicit Asleep(Session& session) noexcept;
  ~Asleep();
  Asleep(const Asleep&) = delete;
  Asleep& operator=(const Asleep&) = delete;

 private:
  Session& session_;
};
/// Errors: PeerGone.
void require_client(const Session& session);
/// Looks at its conversation: who has died in its sleep shall not have what another could use.
[[nodiscard]] bool has_died_asleep(Session& session);

template <class Ready>
bool Sleeping::wait(Lock& lock, const Call& call, Deadline deadline, Ready ready) {
  if (ready()) return true;
  if (call.session == nullptr) throw UsageError("a call from the journal that would have to wait");
  const Asleep mark(*call.session);
  for (;;) {
    require_client(*call.session);
    if (deadline.is_never()) {
      changed_.wait(lock);
    } else {
      const std::chrono::steady_clock::time_point when{std::chrono::nanoseconds(deadline.at_ns())};
      if (changed_.wait_until(lock, when) == std::cv_status::timeout && !ready()) return false;
    }
    if (ready()) {
      if (has_died_asleep(*call.session)) changed_.notify_all();  // another may have it
      require_client(*call.session);
      return true;
    }
  }
}

/// Makes one of the types that every server knows, by its word: "dict", "lock", … Its arguments stand in `call`; null if there is
/// no such type.
[[nodiscard]] std::unique_ptr<Served> make_builtin(std::string_view type, Call& call);
/// In place of an object that could not be made again from the journal: says so.
[[nodiscard]] std::unique_ptr<Served> make_lost(std::string why, std::span<const std::byte> arguments);

}  // namespace brood::inline v1::manager
