#include <cstring>

#include "brood/error.hpp"
#include "net/socket_transport.hpp"

namespace brood::inline v1::net {

void SocketTransport::throw_end(const Io& io) {
  const bool inside = !ended_ && incoming_.inside();
  ended_ = true;
  over_.store(true);
  in_.inside.store(false);
  if (inside) {
    throw BrokenMessage(label_ +
                        ": the connection ended in the middle of a message: whoever was sending it died, or closed");
  }
  if (io.is == Io::Is::reset || was_reset_.exchange(false)) {
    throw ConnectionReset(label_ + ": the other end is gone, and did not receive all that was sent to it" +
                          (io.error != 0 ? std::string(" (") + std::strerror(io.error) + ")" : std::string()));
  }
  throw EndOfFile(label_ + ": end of file, the other end was closed, or its process died");
}

void SocketTransport::hear_note() {
  const std::vector<std::byte> note(incoming_.note().begin(), incoming_.note().end());
  incoming_.note_read();
  const PeerTerms peer = PeerTerms::read(note, messages_, label_);
  // A forked copy of the other end may say it once more.
  peer_max_message_.store(peer.max_message);
  peer_is_known_.store(true);
}

bool SocketTransport::read_on(Deadline deadline) {
  if (!damaged_.empty()) {
    if (too_long_) throw MessageTooLong(damaged_);
    throw DecodeError(damaged_);
  }
  if (ended_) throw_end({});
  in_.inside.store(true);
  const Io io = stream_->read(incoming_.places(), incoming_.luggage());
  switch (io.is) {
    case Io::Is::wait:
      in_.inside.store(incoming_.inside());
      return !deadline.passed() && wait_until_ready(stream_->socket(), io.events, deadline);
    case Io::Is::end:
    case Io::Is::reset: throw_end(io);
    case Io::Is::failed:
      damaged_ = label_ + ": TLS: " + io.why;
      over_.store(true);
      throw DecodeError(damaged_);
    case Io::Is::done: break;
  }
  try {
    incoming_.came(io.bytes);
    if (incoming_.is_note()) hear_note();
    else if (incoming_.is_whole() && !peer_is_known_.load())
      throw DecodeError("a message came before the other end said what messages it speaks");
  } catch (const DecodeError& error) {
    damaged_ = label_ + ": " + error.what();
    over_.store(true);
    throw DecodeError(damaged_);
  } catch (const MessageTooLong& error) {
    damaged_ = label_ + ": " + error.what() + "; nothing more can be received";
    too_long_ = true;
    over_.store(true);
    throw MessageTooLong(damaged_);
  }
  in_.inside.store(incoming_.inside());
  return true;
}

bool SocketTransport::receive(detail::Landing& landing, Deadline deadline) {
  here();
  if (in_.spoilt.load()) throw_spoilt();
  const InTurn turn(in_.turn, deadline);
  if (!turn) return false;
  for (;;) {
    if (incoming_.size_is_known() && incoming_.total() > landing.most) {
      landing.size_bytes = incoming_.total();
      landing.too_long = true;
      return true;
    }
    if (incoming_.is_whole()) break;
    if (!read_on(deadline)) return false;
  }
  incoming_.take(landing.buffer);
  in_.inside.store(false);
  const auto bytes = landing.buffer.bytes();
  landing.size_bytes = bytes.size();
  landing.is_direct = bytes.size() <= landing.direct.size() && !landing.direct.empty();
  if (landing.is_direct && !bytes.empty()) std::memcpy(landing.direct.data(), bytes.data(), bytes.size());
  return true;
}

bool SocketTransport::poll(Deadline deadline) {
  here();
  if (in_.spoilt.load()) throw_spoilt();
  for (;;) {
    if (over_.load()) return true;
    const Io io = stream_->look();
    if (io.is != Io::Is::wait) return true;
    if (deadline.passed() || !wait_until_ready(stream_->socket(), io.events, deadline)) return false;
  }
}

}  // namespace brood::inline v1::net
