// The exceptions brood throws, and what each of them means.                                      (room: base)
//
// A bounded attempt (`try_…`, `…_for`, `…_until`) answers with bool or optional; only misuse and failure throw.
// Every type derives from a standard exception *and* from brood::Error, so either catch works.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace brood::inline v1 {

/// What every exception of this library is. Not a std::exception itself: each concrete type also derives from the
/// standard exception that fits it, and an ambiguous base would make `catch (const std::exception&)` miss them.
class Error {
 public:
  virtual ~Error();
  /// The message: names the object, what was expected, what was found and the remedy.
  [[nodiscard]] virtual const char* what() const noexcept = 0;
};

namespace detail {
/// Joins a standard exception and the library's mark into one type with one what().
template <class Standard>
class ErrorOf : public Standard, public Error {
 public:
  using Standard::Standard;
  [[nodiscard]] const char* what() const noexcept override { return Standard::what(); }
};
}  // namespace detail

/// The caller broke a rule of the interface. Thrown in release builds too; nothing has been changed.
class UsageError : public detail::ErrorOf<std::logic_error> {
 public:
  using ErrorOf::ErrorOf;
  ~UsageError() override;
};
/// A lock was released, or a condition waited on, by somebody who does not hold that lock.
class NotOwner : public UsageError {
 public:
  using UsageError::UsageError;
  ~NotOwner() override;
};
/// A lock that is free, or a bounded semaphore that is full, was released once more.
class ReleasedTooOften : public UsageError {
 public:
  using UsageError::UsageError;
  ~ReleasedTooOften() override;
};
/// A process was asked for something that only a started process has.
class NotStarted : public UsageError {
 public:
  using UsageError::UsageError;
  ~NotStarted() override;
};
/// A Promise was kept twice, or too late: its future is settled.
class InvalidState : public UsageError {
 public:
  using UsageError::UsageError;
  ~InvalidState() override;
};

/// The kernel refused. `code()` holds errno; the message names the operation and the object.
class OsError : public detail::ErrorOf<std::system_error> {
 public:
  OsError(int error_number, const std::string& operation_and_object)
      : ErrorOf(error_number, std::generic_category(), operation_and_object) {}
  ~OsError() override;
};
/// There is no room: /dev/shm is full (ENOSPC), or an item can never fit into its queue's byte budget (EMSGSIZE). The
/// message gives size, free space and the remedy.
class NoSpace : public OsError {
 public:
  explicit NoSpace(const std::string& what, int error_number = ENOSPC) : OsError(error_number, what) {}
  ~NoSpace() override;
};
/// This process may not open the object or the domain: another user owns it, or its mode forbids it.
class PermissionDenied : public OsError {
 public:
  explicit PermissionDenied(const std::string& what) : OsError(EACCES, what) {}
  ~PermissionDenied() override;
};

/// The address that a Listener wanted is taken by somebody who lives.
class AddressInUse : public OsError {
 public:
  explicit AddressInUse(const std::string& what) : OsError(EADDRINUSE, what) {}
  ~AddressInUse() override;
};
/// Nobody listens at the address that connect() was given (ECONNREFUSED; ENOENT if its path does not exist).
class ConnectionRefused : public OsError {
 public:
  explicit ConnectionRefused(const std::string& what, int error_number = ECONNREFUSED) : OsError(error_number, what) {}
  ~ConnectionRefused() override;
};

/// Base of what is thrown because of other processes, or of bytes that came from them.
class RuntimeError : public detail::ErrorOf<std::runtime_error> {
 public:
  using ErrorOf::ErrorOf;
  ~RuntimeError() override;
};
/// A handle's text is malformed, or its object does not exist (any more).
class HandleError : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
  ~HandleError() override;
};
/// The object exists but is of another kind, holds another payload type, or was laid out by another version.
class TypeMismatch : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
  ~TypeMismatch() override;
};
/// Bytes that came from elsewhere do not decode as the expected type.
class DecodeError : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
  ~DecodeError() override;
};
/// `create` found that the name is taken.
class AlreadyExists : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
  ~AlreadyExists() override;
};
/// The lock's last owner died while holding it. The lock is not held by the caller; see Lock::recover.
class OwnerDied : public RuntimeError {
 public:
  OwnerDied(const std::string& what, std::int64_t dead_pid) : RuntimeError(what), dead_pid_(dead_pid) {}
  ~OwnerDied() override;
  /// Process id of the dead owner; 0 if it is no longer known.
  [[nodiscard]] std::int64_t dead_pid() const noexcept { return dead_pid_; }

 private:
  std::int64_t dead_pid_;
};
/// A process died while it changed a shared container in place. Nobody gets access until recover() or reset().
class ContainerDamaged : public RuntimeError {
 public:
  ContainerDamaged(const std::string& what, std::int64_t dead_pid) : RuntimeError(what), dead_pid_(dead_pid) {}
  ~ContainerDamaged() override;
  [[nodiscard]] std::int64_t dead_pid() const noexcept { return dead_pid_; }

 private:
  std::int64_t dead_pid_;
};
/// The barrier was broken: by abort(), reset(), a timeout, a failed action or a dead party.
class BrokenBarrier : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
  ~BrokenBarrier() override;
};
/// This Queue object was closed, or the queue was shut down for everybody.
class QueueClosed : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
  ~QueueClosed() override;
};
/// This Connection object was closed; or it was closed for reading by a message longer than its reader allowed.
class ConnectionClosed : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
  ~ConnectionClosed() override;
};
/// This Listener object was closed.
class ListenerClosed : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
  ~ListenerClosed() override;
};
/// A deadline passed where a value was demanded.
class TimeoutError : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
  ~TimeoutError() override;
};
/// A task of a Pool ran for longer than its hard limit, and its worker was killed for it.
class TaskTimeout : public TimeoutError {
 public:
  using TimeoutError::TimeoutError;
  ~TaskTimeout() override;
};
/// Whoever is at the other end of a new connection did not finish the handshake in time.
class HandshakeTimeout : public TimeoutError {
 public:
  using TimeoutError::TimeoutError;
  ~HandshakeTimeout() override;
};
/// The other end of a new connection did not prove that it has the key, or its certificate is not to be trusted. Both ends
/// are told.
class AuthenticationError : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
  ~AuthenticationError() override;
};
/// Nothing more will come through this Connection: every holder of the other end has closed it or died, and what they
/// sent has been received. Thrown by every further attempt to receive.
class EndOfFile : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
  ~EndOfFile() override;
};
/// The same, and the other end went without reading all that was sent to it. Said once by each Connection object.
class ConnectionReset : public EndOfFile {
 public:
  using EndOfFile::EndOfFile;
  ~ConnectionReset() override;
};
/// A Connection was used in the direction in which it cannot go: a reader was asked to send, or a writer to receive.
class WrongDirection : public UsageError {
 public:
  using UsageError::UsageError;
  ~WrongDirection() override;
};
/// A message does not fit into the buffer that it was to be received into, which is unchanged. The message is taken, and
/// is here.
class BufferTooShort : public RuntimeError {
 public:
  BufferTooShort(const std::string& what, std::vector<std::byte> message)
      : RuntimeError(what), message_(std::make_shared<const std::vector<std::byte>>(std::move(message))) {}
  ~BufferTooShort() override;
  [[nodiscard]] std::span<const std::byte> message() const noexcept { return *message_; }

 private:
  std::shared_ptr<const std::vector<std::byte>> message_;  // copying an exception must not throw
};
/// The next message is longer than the reader allows. It was not taken, and this object will not read any more.
class MessageTooLong : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
  ~MessageTooLong() override;
};
/// Python-parity answer of Queue::get_nowait.
class Empty : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
  ~Empty() override;
};
/// Python-parity answer of Queue::put_nowait.
class Full : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
  ~Full() override;
};
/// A child process could not be started; the message says at which step and why.
class StartError : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
  ~StartError() override;
};
/// What was asked for will not be done: it was cancelled before it began.
class CancelledError : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
  ~CancelledError() override;
};
/// The Pool of this task was terminated before the task had ended.
class PoolTerminated : public CancelledError {
 public:
  using CancelledError::CancelledError;
  ~PoolTerminated() override;
};
/// This Pool has no workers and will have none: its initializer failed, or they died one after the other before they could
/// do anything. The cause is nested (std::rethrow_if_nested).
class PoolBroken : public RuntimeError {
 public:
  using RuntimeError::RuntimeError;
  ~PoolBroken() override;
};
/// A peer process is gone in the middle of a conversation.
class PeerGone : public RuntimeError {
 public:
  explicit PeerGone(const std::string& what, std::int64_t pid = 0, std::optional<int> exitcode = {})
      : RuntimeError(what), pid_(pid), exitcode_(exitcode) {}
  ~PeerGone() override;
  /// Of the process that is gone; 0 if that is not known.
  [[nodiscard]] std::int64_t pid() const noexcept { return pid_; }
  /// How it ended (Process::exitcode): 0..255, or -N after signal N; nothing if that is not known.
  [[nodiscard]] std::optional<int> exitcode() const noexcept { return exitcode_; }

 private:
  std::int64_t pid_;
  std::optional<int> exitcode_;
};
/// A worker of a Pool died while it ran this task, which is not run again (or not any more): a signal, an exit, a crash.
class WorkerDied : public PeerGone {
 public:
  WorkerDied(const std::string& what, std::int64_t dead_pid, std::optional<int> code, std::uint64_t task = 0,
             unsigned attempts = 1, bool core_dumped = false)
      : PeerGone(what, dead_pid, code), task_(task), attempts_(attempts), core_dumped_(core_dumped) {}
  ~WorkerDied() override;
  /// Of a map: the place of the item in the input. Else the number of the task in its pool, from 1.
  [[nodiscard]] std::uint64_t task() const noexcept { return task_; }
  /// How often it was run.
  [[nodiscard]] unsigned attempts() const noexcept { return attempts_; }
  /// What killed the worker; 0 if it ended by itself, or that is not known.
  [[nodiscard]] int signal() const noexcept { return exitcode().value_or(0) < 0 ? -*exitcode() : 0; }
  /// The kernel has written a core, or handed it to whoever collects them here.
  [[nodiscard]] bool core_dumped() const noexcept { return core_dumped_; }

 private:
  std::uint64_t task_;
  unsigned attempts_;
  bool core_dumped_;
};
/// The server of a Manager cannot be reached any more: it died, was shut down, or another one has its address.
class ManagerDied : public PeerGone {
 public:
  using PeerGone::PeerGone;
  ~ManagerDied() override;
};
/// A message cannot be sent: every holder of the other end has closed it or died.
class BrokenPipe : public PeerGone {
 public:
  using PeerGone::PeerGone;
  ~BrokenPipe() override;
};
/// Whoever sent this message died in the middle of it. Said once for each such message; the next attempt goes on with
/// the next message.
class BrokenMessage : public PeerGone {
 public:
  using PeerGone::PeerGone;
  ~BrokenMessage() override;
};

}  // namespace brood::inline v1
