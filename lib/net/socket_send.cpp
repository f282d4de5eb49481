#include <algorithm>
#include <cerrno>

#include "base/unique_fd.hpp"
#include "brood/error.hpp"
#include "net/socket_transport.hpp"
#include "shm/segment.hpp"

namespace brood::inline v1::net {
namespace {

/// The objects whose handles are in a message, kept alive by descriptors that travel with it: whoever has one of those,
/// has the object, also a message that nobody has received yet.
class Objects {
 public:
  /// Errors: HandleError if one does not exist any more; UsageError if they are too many; OsError.
  Objects(std::span<const Handle> handles, std::span<const int> descriptors, const std::string& label) {
    for (const Handle& handle : handles) {
      // Named objects live until they are removed.
      if (!handle.name().empty() || std::ranges::find(ids_, handle.id()) != ids_.end()) continue;
      base::UniqueFd file = shm::hold(handle.id());
      if (!file) throw HandleError(label + ": cannot send " + handle.str() + ": the object does not exist any more");
      ids_.push_back(handle.id());
      files_.push_back(file.get());
      held_.keep(handle.id(), file.release());
    }
    files_.insert(files_.end(), descriptors.begin(), descriptors.end());
    if (files_.size() > detail::kMostDescriptors) {
      throw UsageError(label + ": a message over a Unix socket can carry at most " +
                       std::to_string(detail::kMostDescriptors) +
                       " unnamed objects and descriptors together, this one has " + std::to_string(ids_.size()) +
                       " and " + std::to_string(descriptors.size()) + "; send several messages");
    }
  }
  [[nodiscard]] std::span<const std::uint64_t> ids() const noexcept { return ids_; }
  [[nodiscard]] std::span<const int> files() const noexcept { return files_; }

 private:
  std::vector<std::uint64_t> ids_;
  std::vector<int> files_;
  detail::Received held_;
};

}  // namespace

SocketTransport::SocketTransport(std::unique_ptr<Stream> stream, Messages messages, std::string label,
                                 std::optional<PeerTerms> peer, std::vector<std::byte> late_note,
                                 std::unique_ptr<os::NotInForks> kept_from_forks)
    : Transport(true, true),
      stream_(std::move(stream)),
      kept_from_forks_(std::move(kept_from_forks)),
      messages_(messages),
      label_(std::move(label)),
      late_note_(std::move(late_note)),
      incoming_({.max_message = messages_.max_message, .passengers = stream_->carries_descriptors()}),
      peer_is_known_(peer.has_value()),
      peer_max_message_(peer ? peer->max_message : ~std::uint64_t{0}) {}

SocketTransport::~SocketTransport() {
  if (!owner_.is_me()) return;
  if (!pending_.empty() && !out_.spoilt.load()) {
    // The rest of a message that was taken back: the other end drops it, instead of calling it broken.
    const iovec rest{pending_.data(), pending_.size()};
    try {
      (void)stream_->write({&rest, 1}, {});
    } catch (const OsError&) {
      return;  // it will see the end inside a message
    }
  }
  // The connection is its parent's where this is a forked child's copy.
  if (!out_.spoilt.load()) stream_->say_goodbye();
}

void SocketTransport::begin_in_child() noexcept {
  for (Direction* direction : {&out_, &in_}) {
    if (direction->inside.load() || stream_->is_tls()) direction->spoilt.store(true);
    direction->turn.begin_anew();
  }
}

void SocketTransport::throw_spoilt() const {
  throw ConnectionClosed(
      label_ + (stream_->is_tls() ? ": a forked child cannot use its copy of a connection with TLS; connect anew there"
                                  : ": this copy was made by a fork in the middle of a message; the original goes on"));
}

Handle SocketTransport::handle() {
  throw UsageError(
      label_ +
      ": a connection over a socket has no handle: it cannot be opened again, sent, or given to a Process; "
      "let the other process connect() for itself, or fork with it");
}

void SocketTransport::listen_for_refusal() {
  if (peer_is_known_.load()) return;
  const InTurn turn(in_.turn, Deadline::now());
  if (!turn || in_.spoilt.load()) return;
  try {
    while (!peer_is_known_.load() && !incoming_.is_whole() && read_on(Deadline::now())) continue;
  } catch (const ConnectionReset&) {
    was_reset_.store(true);
  } catch (const EndOfFile&) {
    return;  // it said nothing
  } catch (const BrokenMessage&) {
    return;  // nor did it come to an end
  }
}

void SocketTransport::throw_broken_pipe(const Io& io) {
  listen_for_refusal();
  if (io.is == Io::Is::reset) was_reset_.store(true);
  throw BrokenPipe(label_ + ": cannot send, the other end was closed, or its process died" +
                   (io.why.empty() ? "" : " (" + io.why + ")"));
}

/// False if the deadline passed.
bool SocketTransport::flush_pending(Deadline deadline) {
  while (!pending_.empty()) {
    const iovec rest{pending_.data(), pending_.size()};
    const Io io = stream_->write({&rest, 1}, {});
    switch (io.is) {
      case Io::Is::done:
        pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(io.bytes));
        break;
      case Io::Is::wait:
        if (deadline.passed() || !wait_until_ready(stream_->socket(), io.events, deadline)) return false;
        break;
      case Io::Is::end:
      case Io::Is::reset:
      case Io::Is::failed: throw_broken_pipe(io);
    }
  }
  return true;
}

bool SocketTransport::send_with_descriptors(std::span<const std::byte> payload, std::span<const Handle> handles,
                                            std::span<const int> descriptors, Deadline deadline) {
  here();
  if (out_.spoilt.load()) throw_spoilt();
  const bool carries = stream_->carries_descriptors();
  if (!carries && !descriptors.empty())
    throw UsageError(label_ + ": descriptors travel over Unix-socket connections without TLS only");
  if (payload.size() > peer_max_message_.load()) {
    throw NoSpace(label_ + ": a message of " + std::to_string(payload.size()) + " bytes; the other end takes at most " +
                      std::to_string(peer_max_message_.load()) + " (max_message)",
                  EMSGSIZE);
  }
  const Objects objects(carries ? handles : std::span<const Handle>(), descriptors, label_);

  const InTurn turn(out_.turn, deadline);
  if (!turn) return false;
  out_.inside.store(true);
  if (!late_note_.empty()) pending_ = std::move(late_note_);
  late_note_.clear();
  if (!flush_pending(deadline)) return false;  // and the direction stays "inside"
  Outgoing message(payload, objects.ids(), descriptors.size());
  for (;;) {
    const Io io = message.done()
                      ? stream_->flush()
                      : stream_->write(message.places(), message.begun() ? std::span<const int>() : objects.files());
    switch (io.is) {
      case Io::Is::done:
        if (message.done()) {
          out_.inside.store(false);
          return true;
        }
        message.went(io.bytes);
        break;
      case Io::Is::wait:
        if (!deadline.passed() && wait_until_ready(stream_->socket(), io.events, deadline)) break;
        // With TLS, the ending may be on its way and cannot be called back: it has been sent.
        if (message.done()) return true;
        if (message.begun()) pending_ = message.withdrawal();
        else out_.inside.store(false);
        return false;
      case Io::Is::end:
      case Io::Is::reset:
      case Io::Is::failed: throw_broken_pipe(io);
    }
  }
}

}  // namespace brood::inline v1::net
