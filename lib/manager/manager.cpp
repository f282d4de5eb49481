#include "brood/manager.hpp"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <mutex>
#include <ostream>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "brood/connection.hpp"
#include "brood/error.hpp"
#include "brood/finalizer.hpp"
#include "brood/process.hpp"
#include "brood/relatives.hpp"
#include "manager/link.hpp"
#include "manager/pool_order.hpp"
#include "manager/server.hpp"
#include "os/thrown_from.hpp"
#include "process/child.hpp"
#include "process/current.hpp"

namespace brood::inline v1 {
namespace {

constinit std::atomic<unsigned> g_last_name = 0;

/// What begins and ends a conversation must fit.
constexpr std::uint64_t kLeastMaxMessage = 1024;

void require_max_message(const ManagerOptions& options) {
  if (options.max_message < kLeastMaxMessage)
    throw UsageError("max_message of a manager must be at least " + std::to_string(kLeastMaxMessage) + " bytes, got " +
                     std::to_string(options.max_message));
}

ListenerOptions listener_options(const ManagerOptions& options) {
  require_max_message(options);
  return {.address = options.address,
          .authkey = options.authkey ? options.authkey : std::optional(current_process().authkey()),
          .tls = options.tls,
          .max_message = options.max_message};
}

/// Of ManagerOptions or a ServerOrder.
template <class Options>
std::optional<manager::Journal::Options> journal_options(const Options& options) {
  if (options.journal.empty()) return std::nullopt;
  return manager::Journal::Options{
      .path = options.journal, .sync = options.journal_sync, .spare_bytes = options.journal_spare_bytes};
}

/// What the server's process is told.
struct ServerOrder {
  std::string address;
  std::string authkey;
  std::optional<TlsOptions> tls;
  std::uint64_t max_message = 0;
  std::string journal;
  bool journal_sync = false;
  std::uint64_t journal_spare_bytes = 0;
  std::vector<std::byte> initializer;
};

/// The target of the server's process. Its first message: its address, or what was thrown.
void run_server(Connection<std::vector<std::byte>>& creator, const ServerOrder& order) {
  process::let_daemon_have_children();  // workers of pools: they end with it
  ::signal(SIGINT, SIG_IGN);  // a key pressed at the terminal is for the program to understand, which shuts us down
  // Each client costs some descriptors. The limit is low for programs that use select(), which this process does not.
  if (rlimit files{}; ::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    (void)::setrlimit(RLIMIT_NOFILE, &files);
  }
  Encoder first;
  std::unique_ptr<manager::Server> server;
  os::ThrownFrom from;
  struct Begin {
    const ServerOrder& order;
    std::unique_ptr<manager::Server>& server;
  } begin{order, server};
  try {
    os::call_and_note_throw(
        [](void* context) {
          const auto& todo = *static_cast<Begin*>(context);
          if (!todo.order.initializer.empty()) (*detail::unpack_call(todo.order.initializer))();
          todo.server = std::make_unique<manager::Server>(
              ListenerOptions{.address = todo.order.address.empty() ? Address() : Address(todo.order.address),
                              .authkey = todo.order.authkey,
                              .tls = todo.order.tls,
                              .max_message = todo.order.max_message},
              journal_options(todo.order));
        },
        &begin, from);
    first.str(server->address());
    first.str(server->local_address());
  } catch (...) {
    first.clear();
    detail::encode_exception(
        first, std::current_exception(),
        {.pid = ::getpid(), .process_name = process::current().name, .stack = describe(from, "  ")});
  }
  try {
    creator.send(std::vector<std::byte>(first.bytes().begin(), first.bytes().end()));
    creator.close();
  } catch (const PeerGone&) {
    return;
  }
  if (server) server->serve(process::parent_pidfd());
}

}  // namespace

// --- what every client can ask for ---------------------------------------------------------------------------------------

namespace detail {

const std::shared_ptr<manager::Link>& ManagerFace::link() const {
  if (!link_) throw UsageError("the manager has no server: it was not started, or was shut down");
  return link_;
}

ManagerFace::Request::Request(const ManagerFace& face, std::string_view method)
    : link_(face.link()), conversation_(link_), request_(conversation_.line(), 0, {.name = method}), mark_(request_) {}

ProxyCore ManagerFace::Request::reference(const std::string& type) {
  const SpareReceived answer;
  std::size_t at = 0;
  (void)request_.call(*answer, at, Deadline::never());
  Decoder in(answer->bytes().subspan(at), answer->descriptors());
  return ProxyCore::decode(in, type, link_);
}

ProxyCore ManagerFace::host(const std::string& type, const PackedCall& constructor, bool is_concurrent) {
  Request request(*this, "host");
  request.out().array_header(3);
  request.out().str(type);
  request.out().bin(constructor.bytes);
  request.out().boolean(is_concurrent);
  return request.reference(type);
}

ProxyCore ManagerFace::make_pool(std::optional<std::int64_t> workers, const ManagedPoolOptions& options) {
  Request request(*this, "make");
  request.out().array_header(3);
  request.out().str("Pool");
  request.out().str(PoolProxy::type());
  manager::PoolOrder::write(request.out(), workers, options);
  return request.reference(PoolProxy::type());
}

void ManagerFace::publish(const std::string& name, const ProxyCore& proxy) {
  Request request(*this, "publish");
  if (proxy.link()->server() != link()->server())
    throw UsageError("the object that is to be published as '" + name + "' belongs to another manager");
  request.out().array_header(2);
  request.out().str(name);
  request.out().uint(proxy.object());
  call_and_decode<void>(request.request_, Deadline::never());
}

bool ManagerFace::unpublish(const std::string& name) {
  Request request(*this, "unpublish");
  request.out().array_header(1);
  request.out().str(name);
  return call_and_decode<bool>(request.request_, Deadline::never());
}

std::optional<ProxyCore> ManagerFace::find(const std::string& name, const std::string& type) {
  Request request(*this, "find");
  request.out().array_header(2);
  request.out().str(name);
  if (type.empty()) request.out().nil();
  else request.out().str(type);
  const SpareReceived answer;
  std::size_t at = 0;
  (void)request.request_.call(*answer, at, Deadline::never());
  Decoder in(answer->bytes().subspan(at), answer->descriptors());
  if (in.try_nil()) return std::nullopt;
  return ProxyCore::decode(in, type, link_);
}

std::vector<std::string> ManagerFace::published() {
  Request request(*this, "names");
  request.out().array_header(0);
  return call_and_decode<EachValue<std::string>>(request.request_, Deadline::never()).values;
}
std::size_t ManagerFace::object_count() {
  Request request(*this, "count");
  request.out().array_header(0);
  return call_and_decode<std::size_t>(request.request_, Deadline::never());
}
std::vector<std::pair<std::uint64_t, std::string>> ManagerFace::objects() {
  Request request(*this, "list");
  request.out().array_header(0);
  return call_and_decode<EachValue<std::pair<std::uint64_t, std::string>>>(request.request_, Deadline::never()).values;
}

Address ManagerFace::address() const { return link()->address(); }

}  // namespace detail

// --- Manager -------------------------------------------------------------------------------------------------------------

struct Manager::Impl {
  ManagerOptions options;
  const pid_t creator = ::getpid();
  std::shared_ptr<Process> process;
  bool is_shut_down = false;
  Finalizer at_exit;
};

Manager::Manager(NotYet /*tag*/, ManagerOptions options) : impl_(std::make_unique<Impl>()) {
  require_max_message(options);
  if (options.process.name.empty()) options.process.name = "Manager-" + std::to_string(++g_last_name);
  impl_->options = std::move(options);
}
Manager::Manager(ManagerOptions options) : Manager(not_yet, std::move(options)) { start(); }

Manager::~Manager() {
  if (::getpid() != impl_->creator) {
    (void)impl_.release();  // a copy that fork made: the server is the parent's
    return;
  }
  try {
    if (impl_->process) shutdown();
  } catch (...) {
    const std::string text = detail::describe_exception(std::current_exception(), " <- ");
    std::fprintf(stderr, "brood: a manager could not be shut down: %s\n", text.c_str());
  }
}

void Manager::start() { start_with(std::nullopt); }

void Manager::start_with(std::optional<detail::PackedCall> initializer) {
  Impl& it = *impl_;
  if (it.is_shut_down) throw UsageError("the manager was shut down; make another one");
  if (it.process) throw UsageError("the manager was started already");
  ServerOrder order{
      .address = it.options.address == Address() ? std::string() : it.options.address.str(),
      .authkey = it.options.authkey.value_or(current_process().authkey()),
      .tls = it.options.tls,
      .max_message = it.options.max_message,
      // The server's process may work elsewhere.
      .journal = it.options.journal.empty() ? std::string() : std::filesystem::absolute(it.options.journal).string(),
      .journal_sync = it.options.journal_sync,
      .journal_spare_bytes = it.options.journal_spare_bytes,
      .initializer = initializer ? std::move(initializer->bytes) : std::vector<std::byte>()};
  auto [mine, theirs] = pipe<std::vector<std::byte>>();
  auto server = std::make_shared<Process>(it.options.process, run_server, theirs, order);
  server->start();
  theirs.close();
  std::vector<std::byte> first;
  try {
    first = mine.recv();
  } catch (const EndOfFile&) {
    server->join();
    throw StartError("the server of the manager ended before it listened: exit code " +
                     process::exit_text(*server->exitcode()));
  }
  Decoder in(first);
  if (in.peek() != detail::WireType::str) {
    const std::exception_ptr thrown = detail::decode_exception(in);
    server->join();
    std::rethrow_exception(thrown);
  }
  const Address address(in.str());
  absl::Cleanup end_server = [&] {
    server->kill();
    server->join();
  };
  link_ =
      manager::Link::to(Address(in.str()), {.authkey = order.authkey, .max_message = order.max_message}, 0, address);
  link_->watch(server);
  std::move(end_server).Cancel();
  it.process = std::move(server);
  it.at_exit.cancel();
  it.at_exit = Finalizer([this] { shutdown(); });
}

void Manager::shutdown() {
  Impl& it = *impl_;
  if (it.is_shut_down) return;
  if (!it.process) throw UsageError("the manager was not started");
  it.is_shut_down = true;
  it.at_exit.cancel();
  const std::shared_ptr<manager::Link> link = std::exchange(link_, nullptr);
  // Another server may go on with its journal, and it would be that one which hears us.
  if (it.process->join_for(std::chrono::nanoseconds(0))) return;
  const Deadline patience = Deadline::after(it.options.shutdown_timeout);
  try {
    const detail::Conversation conversation(link);
    detail::CallRequest request(conversation.line(), 0, {.name = "stop"});
    request.arguments().array_header(0);
    detail::call_and_decode<void>(request, patience);
  } catch (const Error&) {
    // It is gone, or does not answer: what follows sees to either.
  }
  link->forget();
  if (it.process->join_for(std::chrono::nanoseconds(patience.at_ns() - Deadline::clock_ns()))) return;
  it.process->terminate();
  if (it.process->join_for(it.options.shutdown_timeout)) return;
  it.process->kill();
  it.process->join();
}

void Manager::join() { (void)join_before(Deadline::never()); }
bool Manager::join_before(Deadline deadline) {
  if (!impl_->process) throw UsageError("the manager was not started");
  if (deadline.is_never()) {
    impl_->process->join();
    return true;
  }
  return impl_->process->join_for(std::chrono::nanoseconds(deadline.at_ns() - Deadline::clock_ns()));
}
std::optional<std::int64_t> Manager::pid() const { return impl_->process ? impl_->process->pid() : std::nullopt; }
std::optional<int> Manager::exitcode() const { return impl_->process ? impl_->process->exitcode() : std::nullopt; }

std::ostream& operator<<(std::ostream& out, const Manager& manager) {
  const Manager::Impl& it = *manager.impl_;
  out << "<Manager '" << it.options.process.name << "'";
  if (!it.process) return out << " not started>";
  if (it.creator != ::getpid()) return out << " of another process>";
  out << " pid=" << it.process->pid().value_or(0);
  if (it.is_shut_down) return out << " shut down>";
  if (const auto code = it.process->exitcode()) return out << " ended with " << process::exit_text(*code) << '>';
  return out << " at " << manager.link()->address() << '>';
}

// --- the others ----------------------------------------------------------------------------------------------------------

ManagerClient::ManagerClient(const Address& address, ConnectOptions options) {
  if (!options.authkey) options.authkey = current_process().authkey();
  link_ = manager::Link::to(address, options);
}

struct ManagerServer::Impl {
  explicit Impl(const ManagerOptions& options) : server(listener_options(options), journal_options(options)) {}
  manager::Server server;
  const pid_t creator = ::getpid();
};
ManagerServer::ManagerServer(const ManagerOptions& options) : impl_(std::make_unique<Impl>(options)) {}
ManagerServer::~ManagerServer() {
  if (::getpid() != impl_->creator)
    (void)impl_.release();  // a copy that fork made: threads and sockets are the parent's
}
Address ManagerServer::address() const { return Address(impl_->server.address()); }
void ManagerServer::serve_forever() {
  if (::getpid() != impl_->creator)
    throw UsageError("this ManagerServer belongs to process " + std::to_string(impl_->creator) +
                     ", and a copy that fork made has none of its sockets; make one here");
  impl_->server.serve(-1);
}
void ManagerServer::stop() noexcept { impl_->server.stop(); }

}  // namespace brood::inline v1
