#include "manager/link.hpp"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <random>
#include <unordered_map>
#include <utility>

#include "base/fork_order.hpp"
#include "base/hex.hpp"
#include "base/made_once.hpp"
#include "brood/detail/type_id.hpp"
#include "brood/error.hpp"
#include "brood/proxy.hpp"
#include "brood/relatives.hpp"
#include "manager/reference.hpp"
#include "manager/server.hpp"
#include "process/child.hpp"

namespace brood::inline v1::manager {
namespace {

/// Of all links, and of what they are in: no fork copies it locked.
constinit std::mutex g_mutex;
[[maybe_unused]] const bool g_held_across_fork =
    (base::hold_across_fork(base::ForkOrder::links, {[] { g_mutex.lock(); }, [] { g_mutex.unlock(); }}), true);

/// All links of this process. Never destroyed: proxies with static storage may outlive anything.
struct Links {
  std::unordered_map<std::uint64_t, std::weak_ptr<Link>> by_server;
};
constinit base::MadeOnce<Links> g_links;
Links& links() {
  return g_links.get([] { return std::make_unique<Links>(); });
}

/// While nobody waits for an answer there is nothing to read but the end.
bool is_usable(call::Line& line) {
  try {
    return !line.over() && !line.has_news();
  } catch (const Error&) {
    return false;
  }
}

/// A server that left the conversation ends soon after, if it does.
constexpr std::chrono::seconds kUntilEnded{1};

/// Of one that nobody uses: a thread that once brought answers waits there, and keeps it.
void finish(call::Line& line) {
  line.finish(std::make_exception_ptr(PeerGone("this conversation with a manager was ended from here")));
}

/// After children have been joined, who may be in the middle of a call for us.
constexpr int kLate = -1000;

std::string random_name() {
  std::random_device device;
  std::string out;
  for (int i = 0; i < 2; ++i) out += base::hex16((static_cast<std::uint64_t>(device()) << 32) | device());
  return out;
}

}  // namespace

std::shared_ptr<Link> Link::known(std::uint64_t server) {
  Links& all = links();
  const std::lock_guard lock(g_mutex);
  const auto it = all.by_server.find(server);
  return it == all.by_server.end() ? nullptr : it->second.lock();
}

std::shared_ptr<Link> Link::to(const Address& address, const ConnectOptions& options, std::uint64_t server,
                               std::optional<Address> told) {
  if (server != 0) {
    if (auto link = known(server)) return link;
  }
  auto link = std::make_shared<Link>(address, options);
  link->server_ = server;
  link->told_ = std::move(told);
  link->give_back(link->take());  // says who the server is
  Links& all = links();
  const std::lock_guard lock(g_mutex);
  auto& place = all.by_server[link->server_];
  if (auto earlier = place.lock()) return earlier;
  place = link;
  return link;
}

Link::~Link() {
  start_anew_after_fork();
  at_exit_.cancel();
  forget();
}

void Link::start_anew_after_fork() {
  if (::getpid() == owner_) return;
  // Conversations that fork copied are the parent's: they must not be ended here.
  for (auto& line : idle_) (void)new std::shared_ptr<call::Line>(std::move(line));
  idle_.clear();
  owner_ = ::getpid();
  client_ = random_name();
  at_exit_ = Finalizer([this] { forget(); }, kLate);
}

void Link::forget() noexcept {
  std::vector<std::shared_ptr<call::Line>> ending;
  {
    const std::lock_guard lock(g_mutex);
    if (::getpid() == owner_) ending.swap(idle_);
  }
  for (const auto& line : ending) {
    try {
      line->say_stop();  // who only hangs up has died
    } catch (const Error&) {
      // The server has.
    }
    finish(*line);
  }
}

std::shared_ptr<call::Line> Link::take() {
  for (;;) {
    std::shared_ptr<call::Line> line;
    {
      const std::lock_guard lock(g_mutex);
      start_anew_after_fork();
      if (idle_.empty()) break;
      line = std::move(idle_.back());
      idle_.pop_back();
    }
    if (is_usable(*line)) return line;
    finish(*line);
  }
  return connect();
}

void Link::give_back(std::shared_ptr<call::Line> line) noexcept {
  std::vector<std::shared_ptr<call::Line>> ended;
  {
    const std::lock_guard lock(g_mutex);
    if (::getpid() != owner_) return;
    // Where one has ended, so have the others; a server that is there again gets new ones.
    if (line->over()) ended.swap(idle_);
    else idle_.push_back(std::move(line));
  }
  for (const auto& it : ended) finish(*it);
}

void Link::watch(const std::shared_ptr<Process>& server) {
  std::vector<std::shared_ptr<call::Line>> ended;
  {
    const std::lock_guard lock(g_mutex);
    if (creator_ == ::getpid()) ended.swap(idle_);  // with the server before, whose journal this one has
    process_ = server;
    creator_ = ::getpid();
  }
  for (const auto& it : ended) finish(*it);
}

std::exception_ptr Link::explain(const std::exception_ptr& why) {
  std::shared_ptr<Process> server;
  {
    const std::lock_guard lock(g_mutex);
    if (creator_ == ::getpid()) server = process_.lock();
  }
  std::string text = "the manager at " + address_.str();
  if (server) {
    text += " (pid " + std::to_string(server->pid().value_or(0)) + ")";
    if (server->join_for(kUntilEnded)) {
      return std::make_exception_ptr(
          ManagerDied(text + " is gone: exit code " + process::exit_text(*server->exitcode()),
                      server->pid().value_or(0), server->exitcode()));
    }
    text += " is there, and has left the conversation: ";
  } else {
    text += " is gone: ";
  }
  return std::make_exception_ptr(ManagerDied(text + detail::describe_exception(why, " <- ")));
}

std::shared_ptr<call::Line> Link::connect() {
  const std::string where = address_.str();
  const auto died = [link = weak_from_this(), where](const std::exception_ptr& why) {
    if (const auto it = link.lock()) return it->explain(why);
    return std::make_exception_ptr(
        ManagerDied("the manager at " + where + " is gone: " + detail::describe_exception(why, " <- ")));
  };
  try {
    detail::ConnectionCore connection =
        detail::connect(address_, options_, detail::kPayloadType<ManagerMessage>, detail::InForks::closed);
    Encoder hello;
    hello.array_header(5);
    hello.uint(kProtocol);
    hello.str(client_);
    hello.sint(::getpid());
    hello.str(domain_key());
    hello.uint(options_.max_message);
    (void)connection.send(hello.bytes(), {}, Deadline::never());
    detail::Received answer;
    (void)connection.receive(answer, Deadline::never());
    Decoder in(answer.bytes(), answer.descriptors());
    (void)in.array_header();
    const auto version = in.integer<std::uint32_t>();
    if (version != kProtocol) {
      throw TypeMismatch("the manager at " + where + " speaks version " + std::to_string(version) +
                         " of the protocol, and this program version " + std::to_string(kProtocol));
    }
    const std::uint64_t server = in.uint();
    if (std::uint64_t known = 0; !server_.compare_exchange_strong(known, server) && known != server) {
      throw ManagerDied("the manager that this proxy belongs to is gone; another one answers at its address " + where);
    }
    (void)in.boolean();
    std::string pipe_handle;
    if (!in.try_nil()) pipe_handle = in.str();
    const std::uint64_t longest_request = in.uint();
    if (!pipe_handle.empty()) {
      std::optional<detail::ConnectionCore> pipe;
      try {
        pipe.emplace(detail::ConnectionCore::open(Handle(pipe_handle), detail::kPayloadType<ManagerMessage>));
      } catch (const Error&) {
        pipe.reset();  // another domain after all, or no memory: the socket does
      }
      Encoder opened;
      opened.boolean(pipe.has_value());
      (void)connection.send(opened.bytes(), {}, Deadline::never());
      if (pipe) connection = *std::move(pipe);
    }
    auto line = std::make_shared<call::Line>(
        std::move(connection),
        [](call::Line&, const call::Line::Asked&, Decoder&, Encoder&) -> std::shared_ptr<const void> {
          throw UsageError("a manager's client has no objects to call");
        },
        died);
    line->limit_messages(options_.max_message, longest_request);
    return line;
  } catch (const ConnectionRefused&) {
    std::rethrow_exception(died(std::current_exception()));
  } catch (const EndOfFile&) {
    std::rethrow_exception(died(std::current_exception()));
  } catch (const BrokenPipe&) {
    std::rethrow_exception(died(std::current_exception()));
  }
}

Ref::~Ref() {
  if (!is_counted || ::getpid() != owner) return;
  try {
    const detail::Conversation conversation(link);
    detail::CallRequest request(conversation.line(), 0, {.name = "release"});
    request.arguments().array_header(1);
    request.arguments().uint(object);
    detail::call_and_decode<void>(request, Deadline::never());
  } catch (const Error&) {
    return;  // the server is gone, and so is the object
  }
}

}  // namespace brood::inline v1::manager

namespace brood::inline v1::detail {

Conversation::Conversation(const std::shared_ptr<manager::Link>& link) : link_(link), line_(link->take()) {}
Conversation::~Conversation() { link_->give_back(std::move(line_)); }

std::uint64_t thread_number() noexcept {
  static constinit std::atomic<std::uint64_t> last = 0;
  thread_local constinit std::uint64_t mine = 0;
  if (mine == 0) mine = ++last;
  return mine;
}

const std::shared_ptr<manager::Link>& ProxyCore::link() const {
  if (!ref_) throw UsageError("this proxy stands for nothing: it was default-constructed, or moved from");
  return ref_->link;
}
std::uint64_t ProxyCore::object() const {
  (void)link();
  return ref_->object;
}
bool ProxyCore::is_same(const ProxyCore& other) const noexcept {
  if (!ref_ || !other.ref_) return ref_ == other.ref_;
  return ref_->object == other.ref_->object && ref_->link->server() == other.ref_->link->server();
}
std::string ProxyCore::printed(std::string_view type) const {
  if (!ref_) return "<proxy of nothing>";
  return "<" + std::string(type) + " number " + std::to_string(ref_->object) + " of the manager at " +
         ref_->link->address().str() + ">";
}

void ProxyCore::encode(Encoder& out) const {
  out.array_header(2);
  manager::Reference{link()->server(), ref_->object, ref_->address}.write(out);
  if (ref_->token) out.handle(ref_->token.handle());
  else out.nil();
}

ProxyCore ProxyCore::decode(Decoder& in, const std::string& type) { return decode(in, type, nullptr); }

ProxyCore ProxyCore::decode(Decoder& in, const std::string& type, const std::shared_ptr<manager::Link>& from) {
  in.expect_array(2, "a reference to a managed object");
  const manager::Reference reference = manager::Reference::read(in.ext(kExtManaged));
  auto ref = std::make_shared<manager::Ref>();
  ref->object = reference.object;
  ref->address = reference.address;
  ref->owner = ::getpid();
  std::optional<std::string> authkey = current_process().authkey();
  std::string address = reference.address;
  if (!in.try_nil()) {
    const Handle handle = in.handle();
    try {
      ref->token = manager::Token::open(handle);
    } catch (const HandleError&) {
      // Of another domain; or the object is gone, which the server will say.
    }
  }
  if (ref->token) {
    // In its domain the server may have another door.
    address = manager::Token::reference(ref->token).address;
    if (const std::string there = manager::Token::type(ref->token); !type.empty() && there != type)
      throw TypeMismatch("the managed object is a " + there + ", and not a " + type);
    if (auto key = manager::Token::authkey(ref->token)) authkey = std::move(key);
  }
  ref->link = from ? from
                   : manager::Link::to(Address(address), {.authkey = std::move(authkey)}, reference.server,
                                       Address(reference.address));
  if (!ref->token) {
    if (!from) {
      const Conversation conversation(ref->link);
      CallRequest request(conversation.line(), 0, {.name = "retain"});
      request.arguments().array_header(1);
      request.arguments().uint(ref->object);
      call_and_decode<void>(request, Deadline::never());
    }
    ref->is_counted = true;
  }
  return ProxyCore(std::move(ref));
}

}  // namespace brood::inline v1::detail
