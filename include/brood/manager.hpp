// Manager: a server process that keeps objects for others.                                        (room: manager)
//
//   brood::Manager manager;                                      // starts the server
//   auto scores = manager.dict<std::string, long>();
//   brood::Process worker([](const brood::DictProxy<std::string, long>& all) {
//     all.update<[](long& n) { ++n; }>("done");
//   }, scores);
//
// Other programs, also of other machines: brood::ManagerClient manager(address, {.authkey = key});
// Link with brood-manager as well (pkg-config brood-manager).
// Complete examples: examples/40_manager.cpp and the following.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "brood/address.hpp"
#include "brood/detail/callable.hpp"
#include "brood/detail/socket_core.hpp"
#include "brood/dict_proxy.hpp"
#include "brood/list_proxy.hpp"
#include "brood/lock.hpp"
#include "brood/pool_proxy.hpp"
#include "brood/process_options.hpp"
#include "brood/proxy.hpp"
#include "brood/queue_proxy.hpp"
#include "brood/sync_proxies.hpp"

namespace brood::inline v1 {

// brood/shared_proxies.hpp
template <class K, class V>
class SharedDictProxy;
template <class T>
class SharedListProxy;

/// How a server listens.
struct ManagerOptions {
  /// Not said: a Unix socket with a new path. tcp:host:port for other machines.
  Address address = {};
  /// What clients must show that they have. Not said: the key of this process (CurrentProcess::authkey), which its children
  /// have, too.
  std::optional<std::string> authkey = {};
  /// For clients of other machines. Those of this domain, children among them, come by a Unix socket and need no certificates.
  std::optional<TlsOptions> tls = {};
  /// Longer requests are refused, in bytes (NoSpace, code EMSGSIZE). At least 1024.
  std::uint64_t max_message = std::uint64_t{1} << 30;
  /// The path of a file in which the server writes down what it keeps. A server that begins with such a file goes on where the
  /// one before ended: with its objects, published names and, unless you say another, its address, so that proxies work again.
  ///
  /// Kept are dict, list, set, Namespace, Value, Array, the queues, and objects of classes that a ServeClass says are kept().
  /// Locks and their kin are there again, free, and pools with new workers and no tasks; other objects of yours are not. Objects live on that were published, lie in
  /// something kept, or of which a process of this domain has a proxy.
  /// What a call has changed is in the file before its answer: no killing of the server can take it away, or leave half of it.
  std::string journal = {};
  /// The same for failures of the power or the kernel: each change waits for the disk (fdatasync).
  bool journal_sync = false;
  /// The file is written anew, with what is there, when more bytes than this, and than that takes, are out of date.
  std::uint64_t journal_spare_bytes = std::uint64_t{16} << 20;
  /// Manager only: the server's process. Its name defaults to "Manager-N".
  ProcessOptions process = {};
  /// Manager only: how long shutdown() waits before it sends SIGTERM, and as long again before SIGKILL.
  std::chrono::milliseconds shutdown_timeout{1000};
};

namespace detail {

/// What every client can ask a server for.
class ManagerFace {
 public:
  ManagerFace(const ManagerFace&) = delete;
  ManagerFace& operator=(const ManagerFace&) = delete;

  // Objects of the server, as proxies (see there). All of them throw ManagerDied if the server is gone; UsageError before
  // start() and after shutdown().
  template <class K, class V>
  [[nodiscard]] DictProxy<K, V> dict(const std::vector<std::pair<K, V>>& items = {}) {
    return make<DictProxy<K, V>>("dict", EachValue<std::pair<K, V>>{items});
  }
  template <class T>
  [[nodiscard]] ListProxy<T> list(const std::vector<T>& values = {}) {
    return make<ListProxy<T>>("list", EachValue<T>{values});
  }
  template <class T>
  [[nodiscard]] SetProxy<T> set(const std::vector<T>& values = {}) {
    return make<SetProxy<T>>("set", EachValue<T>{values});
  }
  [[nodiscard]] NamespaceProxy namespace_() {  // NOLINT(readability-identifier-naming)
    return make<NamespaceProxy>("Namespace", EachValue<int>{});
  }
  template <class T>
  [[nodiscard]] ValueProxy<T> value(const T& initial = T{}) {
    return make<ValueProxy<T>>("Value", initial);
  }
  /// So many T{}, or these values.
  template <class T>
  [[nodiscard]] ArrayProxy<T> array(std::size_t size) {
    return make<ArrayProxy<T>>("Array", EachValue<T>{std::vector<T>(size)});
  }
  template <class T>
  [[nodiscard]] ArrayProxy<T> array(const std::vector<T>& values) {
    return make<ArrayProxy<T>>("Array", EachValue<T>{values});
  }
  /// At most `capacity` items at a time; 0: no limit.
  template <class T>
  [[nodiscard]] QueueProxy<T> queue(std::size_t capacity = 0) {
    return make<QueueProxy<T>>("Queue", capacity);
  }
  template <class T>
  [[nodiscard]] JoinableQueueProxy<T> joinable_queue(std::size_t capacity = 0) {
    return make<JoinableQueueProxy<T>>("JoinableQueue", capacity);
  }
  template <class T>
  [[nodiscard]] PriorityQueueProxy<T> priority_queue(std::size_t capacity = 0) {
    return make<PriorityQueueProxy<T>>("PriorityQueue", capacity);
  }
  [[nodiscard]] LockProxy lock(OwnerDeath policy = OwnerDeath::report) {
    return make<LockProxy>("Lock", policy == OwnerDeath::heal);
  }
  [[nodiscard]] RLockProxy rlock(OwnerDeath policy = OwnerDeath::report) {
    return make<RLockProxy>("RLock", policy == OwnerDeath::heal);
  }
  [[nodiscard]] ConditionProxy condition(OwnerDeath policy = OwnerDeath::report) {
    return make<ConditionProxy>("Condition", policy == OwnerDeath::heal);
  }
  /// Errors: UsageError (negative, or above Semaphore::kMaxValue).
  [[nodiscard]] SemaphoreProxy semaphore(std::int64_t value = 1) { return make<SemaphoreProxy>("Semaphore", value); }
  [[nodiscard]] BoundedSemaphoreProxy bounded_semaphore(std::int64_t value = 1) {
    return make<BoundedSemaphoreProxy>("BoundedSemaphore", value);
  }
  [[nodiscard]] EventProxy event() { return make<EventProxy>("Event"); }
  /// Errors: UsageError (no parties).
  [[nodiscard]] BarrierProxy barrier(std::uint32_t parties) { return make<BarrierProxy>("Barrier", parties); }

  /// Workers of the server's, as many as its machine has usable CPUs or as you say, for all clients of its program.
  /// Errors: as Pool::Pool; StartError (the initializer is of another program).
  [[nodiscard]] PoolProxy pool(const ManagedPoolOptions& options = {}) {
    return PoolProxy(make_pool(std::nullopt, options));
  }
  [[nodiscard]] PoolProxy pool(std::int64_t workers, const ManagedPoolOptions& options = {}) {
    return PoolProxy(make_pool(workers, options));
  }

  /// A dict, or list, in shared memory, for processes of the manager's machine: reads and writes need no trip to the server.
  /// Include brood/shared_proxies.hpp. `budget_bytes`: the most that the contents can take.
  /// Errors: HandleError (this process is not of the manager's domain); NoSpace.
  template <class K, class V>
  [[nodiscard]] SharedDictProxy<K, V> shared_dict(std::size_t budget_bytes = std::size_t{64} << 20) {
    return make_shared_memory<SharedDictProxy<K, V>>(budget_bytes);
  }
  template <class T>
  [[nodiscard]] SharedListProxy<T> shared_list(std::size_t budget_bytes = std::size_t{64} << 20) {
    return make_shared_memory<SharedListProxy<T>>(budget_bytes);
  }

  /// An A(args…) of this program in the server. Errors: what the constructor throws; StartError (the server is another program).
  template <class A, class... Args>
  requires(!IsProxy<A>) [[nodiscard, gnu::visibility("hidden")]] Proxy<A> make(Args&&... args) {
    return host<A>(false, std::forward<Args>(args)...);
  }
  /// The same; several clients may be in it at once, and it locks for itself.
  template <class A, class... Args>
  [[nodiscard, gnu::visibility("hidden")]] Proxy<A> make_concurrent(Args&&... args) {
    return host<A>(true, std::forward<Args>(args)...);
  }
  /// An object of a class that the server's program has registered (brood/serve_class.hpp).
  /// Errors: UsageError (no such class); what the constructor throws.
  template <class... A>
  [[nodiscard]] NamedProxy make_named(std::string_view name, const A&... args) {
    Request request(*this, "make_named");
    request.out().array_header(2);
    request.out().str(name);
    request.out().array_header(sizeof...(A));
    (detail::encode(request.out(), args), ...);
    return NamedProxy(request.reference({}));
  }

  /// Gives an object a name by which other clients find it. It lives until unpublish(), or until the server ends.
  /// Errors: AlreadyExists.
  void publish(const std::string& name, const ProxyBase& proxy) { publish(name, proxy.core()); }
  /// False if there was none.
  bool unpublish(const std::string& name);
  /// manager.find<DictProxy<std::string, long>>("scores"); nothing if there is none. Errors: TypeMismatch.
  template <IsProxy P>
  [[nodiscard]] std::optional<P> find(const std::string& name) {
    if (auto core = find(name, P::type())) return P(*std::move(core));
    return std::nullopt;
  }
  [[nodiscard]] std::vector<std::string> published();
  /// How many objects the server has, and of what types.
  [[nodiscard]] std::size_t object_count();
  [[nodiscard]] std::vector<std::pair<std::uint64_t, std::string>> objects();

  /// Where it listens: what others give to ManagerClient. Errors: UsageError.
  [[nodiscard]] Address address() const;

 protected:
  ManagerFace() = default;
  ~ManagerFace() = default;
  [[nodiscard]] const std::shared_ptr<manager::Link>& link() const;
  std::shared_ptr<manager::Link> link_;

 private:
  /// One request to the server itself.                                                           (lib/manager/manager.cpp)
  class Request {
   public:
    Request(const ManagerFace& face, std::string_view method);
    [[nodiscard]] Encoder& out() noexcept { return request_.arguments(); }
    [[nodiscard]] ProxyCore reference(const std::string& type);

   private:
    friend class ManagerFace;
    const std::shared_ptr<manager::Link>& link_;
    Conversation conversation_;
    CallRequest request_;
    EncodesFor mark_;
  };

  template <class P, class... A>
  requires IsProxy<P>
  [[nodiscard]] P make(std::string_view word, const A&... args) {
    Request request(*this, "make");
    request.out().array_header(3);
    request.out().str(word);
    request.out().str(P::type());
    request.out().array_header(sizeof...(A));
    (detail::encode(request.out(), args), ...);
    return P(request.reference(P::type()));
  }
  /// A Value that holds the handle: as long as that lives, the server keeps the memory.
  template <class P>
  [[nodiscard]] P make_shared_memory(std::size_t budget_bytes) {
    const typename P::container_type container({.budget_bytes = budget_bytes});
    return make<P>("Value", SharedHandle{container.handle()});
  }
  template <class A, class... Args>
  [[nodiscard, gnu::visibility("hidden")]] Proxy<A> host(bool is_concurrent, Args&&... args) {
    const PackedCall constructor = pack_hosted<A>(std::forward<Args>(args)...);
    return Proxy<A>(host(Proxy<A>::type(), constructor, is_concurrent));
  }
  [[nodiscard]] ProxyCore host(const std::string& type, const PackedCall& constructor, bool is_concurrent);
  [[nodiscard]] ProxyCore make_pool(std::optional<std::int64_t> workers, const ManagedPoolOptions& options);
  void publish(const std::string& name, const ProxyCore& proxy);
  [[nodiscard]] std::optional<ProxyCore> find(const std::string& name, const std::string& type);
};

}  // namespace detail

/// A server process, made here, and the first client of it.
///
///   state       proxies' makers   start()      shutdown()
///   not yet     UsageError        → running    UsageError
///   running     yes               UsageError   → shut down
///   shut down   UsageError        UsageError   no effect
///
/// Objects live in the server as long as any process has a proxy of them, a message or another managed object holds one, or they are
/// published. Every call of a proxy goes to the server and back: through shared memory between processes of one machine and
/// user, through the socket from elsewhere.
///
/// Shape:   a process with a thread for each thread that calls at the same time.
/// Threads: safe, but for start, shutdown and destruction. Processes: the creator's; others use proxies or a ManagerClient.
/// Crash:   of the server: every call throws ManagerDied; with a journal, another Manager goes on where it ended. Of a client: what it held comes back, within a tenth of a second, and
///          nothing more is handed to it; a process that lets go of its last proxy counts as gone, too. Its references are forgotten; calls under way are done or not. Of the creator: the server ends.
/// Source:  Python multiprocessing.managers.SyncManager; lib/manager/README.md has the protocol.
class Manager : public detail::ManagerFace {
 public:
  /// Starts the server. Errors: as Process::start(); AddressInUse; UsageError (options).
  explicit Manager(ManagerOptions options = {});
  /// Without a server, until start().
  explicit Manager(NotYet tag, ManagerOptions options = {});
  /// Shuts down.
  ~Manager();

  void start();
  /// The server runs initializer(args…) before it serves. Errors: also what that throws, with its type.
  template <class F, class... Args>
  [[gnu::visibility("hidden")]] void start(F&& initializer, Args&&... args) {
    start_with(detail::pack_call(std::forward<F>(initializer), std::forward<Args>(args)...));
  }
  /// Ends the server; waits, then SIGTERM, then SIGKILL (ManagerOptions::shutdown_timeout). May be called again.
  void shutdown();
  /// Sleep until the server has ended.
  void join();
  template <class Rep, class Period>
  [[nodiscard]] bool join_for(std::chrono::duration<Rep, Period> timeout) {
    return join_before(Deadline::after(timeout));
  }
  [[nodiscard]] std::optional<std::int64_t> pid() const;
  [[nodiscard]] std::optional<int> exitcode() const;
  friend std::ostream& operator<<(std::ostream& out, const Manager& manager);

 private:
  struct Impl;
  void start_with(std::optional<detail::PackedCall> initializer);
  bool join_before(Deadline deadline);
  std::unique_ptr<Impl> impl_;
};

/// A server that somebody else started.
class ManagerClient : public detail::ManagerFace {
 public:
  /// Errors: ManagerDied (nobody there), AuthenticationError (wrong key: neither side learns the other's), TypeMismatch (no manager, or
  ///         another version), TimeoutError, OsError.
  explicit ManagerClient(const Address& address, ConnectOptions options = {});
};

/// A server in this process.
///
///     brood::ManagerServer server({.address = "tcp:0.0.0.0:4000", .authkey = key});
///     server.serve_forever();                          // until stop(), from another thread or by a client
class ManagerServer {
 public:
  /// Listens from now on. Errors: AddressInUse, UsageError (options), OsError.
  explicit ManagerServer(const ManagerOptions& options = {});
  ~ManagerServer();
  ManagerServer(const ManagerServer&) = delete;
  ManagerServer& operator=(const ManagerServer&) = delete;
  [[nodiscard]] Address address() const;
  /// Errors: UsageError in a child made by fork, which shares neither the server's sockets nor its journal.
  void serve_forever();
  void stop() noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace brood::inline v1
