#include "manager/session.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <utility>

#include "brood/detail/type_id.hpp"
#include "brood/error.hpp"
#include "brood/remote_error.hpp"
#include "channel/transport.hpp"
#include "manager/face.hpp"
#include "manager/reference.hpp"
#include "manager/server.hpp"

namespace brood::inline v1::manager {
namespace {

/// Who is through with the handshake says who it is at once.
constexpr std::chrono::seconds kHelloTimeout{10};
/// A pipe for each conversation with a client of the domain: small, since calls are.
constexpr std::size_t kRingBytes = 16U << 10;

void send(detail::ConnectionCore& connection, const Encoder& message) {
  (void)connection.send(message.bytes(), message.handles(), Deadline::never());
}

}  // namespace

// --- Client --------------------------------------------------------------------------------------------------------------

void Client::remember(const std::shared_ptr<Entry>& entry) {
  const std::lock_guard lock(mutex_);
  remembered_.insert_or_assign(entry->id, entry);
}
std::vector<std::shared_ptr<Entry>> Client::remembered() {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Entry>> out;
  for (const auto& [id, weak] : remembered_) {
    if (auto entry = weak.lock()) out.push_back(std::move(entry));
  }
  return out;
}
void Client::retain(const std::shared_ptr<Entry>& entry) {
  const std::lock_guard lock(mutex_);
  Counted& it = retained_[entry->id];
  it.entry = entry;
  ++it.count;
}
void Client::release(std::uint64_t object) {
  std::shared_ptr<Entry> dropped;
  const std::lock_guard lock(mutex_);
  const auto it = retained_.find(object);
  if (it == retained_.end() || --it->second.count > 0) return;
  dropped = std::move(it->second.entry);
  retained_.erase(it);
}

// --- Session -------------------------------------------------------------------------------------------------------------

Session::Session(Server& server, detail::ConnectionCore connection)
    : server_(server), connection_(std::move(connection)), socket_(connection_.transport().descriptor()) {}

/// [version, client, pid, domain, max_message] → [version, server, local?, pipe or nil, max_message]; over a socket, if there is a
/// pipe, then: true if the client has opened it.
bool Session::greet() {
  const Deadline deadline = Deadline::after(kHelloTimeout);
  detail::Received message;
  if (!connection_.receive(message, deadline)) return false;
  Decoder in(message.bytes(), message.descriptors());
  const std::size_t parts = in.array_header();
  const auto version = in.integer<std::uint32_t>();
  if (version == kProtocol && parts != 5)
    in.fail("the greeting of a manager's client", std::to_string(parts) + " parts");
  const std::string id(in.str());
  const std::int64_t pid = in.sint();
  is_local_ = in.str() == domain_key();
  if (version == kProtocol) longest_answer_ = in.uint();
  Encoder out;
  out.array_header(5);
  out.uint(kProtocol);
  out.uint(server_.id());
  out.boolean(is_local_);
  if (version != kProtocol || !is_local_) {
    out.nil();
    out.uint(server_.max_message());
    send(connection_, out);
    if (version != kProtocol) return false;
    client_ = server_.join(id, pid);
    return true;
  }
  std::optional<std::pair<detail::ConnectionCore, detail::ConnectionCore>> pipe;
  try {
    pipe.emplace(detail::ConnectionCore::make_pipe({.ring_bytes = kRingBytes, .often_asleep = true},
                                                   detail::kPayloadType<ManagerMessage>));
  } catch (const NoSpace&) {
    pipe.reset();  // the socket does as well
  }
  if (pipe) out.str(pipe->second.handle().str());
  else out.nil();
  out.uint(server_.max_message());
  send(connection_, out);
  if (pipe) {
    detail::Received answer;
    if (!connection_.receive(answer, deadline)) return false;
    Decoder last(answer.bytes());
    if (last.boolean()) {
      const std::lock_guard lock(line_mutex_);
      other_end_ = pipe->second.handle().str();
      socket_ = -1;
      connection_ = std::move(pipe->first);
    }
  }
  client_ = server_.join(id, pid);
  return true;
}

void Session::run() {
  bool is_greeted = false;
  try {
    if (!server_.is_stopping()) is_greeted = greet();
  } catch (const std::exception&) {
    is_greeted = false;  // it left, or speaks something else, or says more than there is memory for: nobody to talk to
  }
  if (is_greeted) {
    converse();
  } else {
    const std::lock_guard lock(line_mutex_);
    socket_ = -1;
    connection_.close();
  }
  has_ended_ = true;
  server_.session_has_ended();
}

void Session::converse() {
  {
    const std::lock_guard lock(line_mutex_);
    line_ = std::make_shared<call::Line>(
        std::move(connection_),
        [this](call::Line& /*line*/, const call::Line::Asked& asked, Decoder& in, Encoder& out) {
          return act(asked, in, out);
        },
        [](const std::exception_ptr& /*why*/) {
          return std::make_exception_ptr(PeerGone("the client of this manager has left"));
        });
    line_->limit_messages(server_.max_message(), longest_answer_);
  }
  if (!server_.is_stopping()) line_->serve();
  {
    const std::lock_guard lock(line_mutex_);
    socket_ = -1;
    other_end_.clear();
  }
  is_gone_ = true;
  if (line_->over()) client_->tear();
  {
    const std::lock_guard lock(line_mutex_);
    line_.reset();
  }
  kept_.clear();
  entry_.reset();
  server_.leave(client_);
}

std::shared_ptr<const void> Session::act(const call::Line::Asked& asked, Decoder& in, Encoder& out) {
  kept_.clear();
  require_client(*this);  // at the end of the server nothing new is begun
  Call call{server_.objects(), this, in, out};
  if (asked.object == 0) {
    run_face(server_, asked.name, call);
    return nullptr;
  }
  entry_ = server_.objects().find(asked.object);
  struct Done {
    Session& session;
    ~Done() {
      session.entry_.reset();
      session.server_.call_was_done();
    }
  } const done{*this};
  if (!asked.name.empty()) {
    entry_->served->call(asked.name, call);
    if (call.kept.empty()) return nullptr;
    return std::make_shared<std::vector<std::shared_ptr<const void>>>(std::move(call.kept));
  }
  if (asked.method == nullptr) throw UsageError("a call that names no method");
  const detail::Invoke invoke = asked.method->function();
  void* const target = entry_->served->object();
  if (target == nullptr) throw UsageError("an object of type " + entry_->type + " has no methods of the program");
  std::unique_lock<std::mutex> turn;
  if (std::mutex* const mutex = entry_->served->turn()) turn = std::unique_lock(*mutex);
  return invoke(target, in, out);
}

void Session::refer(const std::shared_ptr<Entry>& entry, Encoder& out) {
  out.array_header(2);
  Reference{server_.id(), entry->id, server_.address()}.write(out);
  if (!is_local_) {
    client_->retain(entry);
    out.nil();
    return;
  }
  detail::Object token = server_.objects().token(entry);
  out.handle(token.handle());
  kept_.push_back(std::move(token));
}

bool Session::look_after() {
  if (!is_asleep_ || is_gone_) return false;
  // Who sleeps still cannot stop while we have the mutex, so nothing is answered, and nothing asked: what is there is the end.
  const std::lock_guard lock(line_mutex_);
  if (!line_ || !is_asleep_) return false;
  try {
    if (!line_->has_news()) return false;
  } catch (const Error&) {
    is_gone_ = true;  // it cannot even be asked
    return true;
  }
  is_gone_ = true;
  return true;
}

void Session::interrupt() noexcept {
  const std::lock_guard lock(line_mutex_);
  is_gone_ = true;
  if (socket_ >= 0) ::shutdown(socket_, SHUT_RDWR);
  if (other_end_.empty()) return;
  try {
    // What waits for the client reads this in its place.
    detail::ConnectionCore in_place =
        detail::ConnectionCore::open(Handle(other_end_), detail::kPayloadType<ManagerMessage>);
    (void)say_stop_for(in_place);
  } catch (const Error&) {
    return;  // the client is gone: so will be the session
  }
}

bool Session::say_stop_for(detail::ConnectionCore& client) {
  Encoder stop;
  stop.array_header(1);
  stop.uint(4);
  return client.send(stop.bytes(), {}, Deadline::now());
}

void Session::read_for_client() noexcept {
  std::string end;
  {
    const std::lock_guard lock(line_mutex_);
    end = other_end_;
  }
  if (end.empty()) return;  // a socket was shut down: nobody can wait for it
  try {
    detail::ConnectionCore in_place = detail::ConnectionCore::open(Handle(end), detail::kPayloadType<ManagerMessage>);
    detail::Received answer;
    // There may have been no room for the stop before, behind requests that it has not read.
    bool is_told = false;
    while (!has_ended_) {
      if (!is_told) is_told = say_stop_for(in_place);
      (void)in_place.receive(answer, Deadline::after(std::chrono::milliseconds(10)));
    }
  } catch (const Error&) {
    return;  // it has ended
  }
}

Asleep::Asleep(Session& session) noexcept : session_(session) { session_.is_asleep_ = true; }
Asleep::~Asleep() {
  const std::lock_guard lock(session_.line_mutex_);
  session_.is_asleep_ = false;
}

bool has_died_asleep(Session& session) { return session.look_after() || session.is_gone(); }

void require_client(const Session& session) {
  if (session.server().is_stopping()) throw ManagerDied("the manager's server ends");
  if (session.is_gone()) throw PeerGone("the client of this call is gone");
}

}  // namespace brood::inline v1::manager
