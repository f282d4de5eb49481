// SocketTransport: one end of a connection over a socket, as one process has it. See README.md.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "channel/transport.hpp"
#include "net/frame.hpp"
#include "net/greeting.hpp"
#include "net/owner.hpp"
#include "net/stream.hpp"
#include "net/turn.hpp"
#include "os/not_in_forks.hpp"

namespace brood::inline v1::net {

class SocketTransport final : public channel::Transport {
 public:
  /// After a greeting that is over. `peer`: what it brought; empty if the other end's answer comes with its first message.
  /// `late_note`: what goes in front of our first message.
  /// `kept_from_forks`: if so, the socket.
  SocketTransport(std::unique_ptr<Stream> stream, Messages messages, std::string label, std::optional<PeerTerms> peer,
                  std::vector<std::byte> late_note, std::unique_ptr<os::NotInForks> kept_from_forks);
  ~SocketTransport() override;

  bool send(std::span<const std::byte> payload, std::span<const Handle> handles, Deadline deadline) override {
    return send_with_descriptors(payload, handles, {}, deadline);
  }
  bool send_with_descriptors(std::span<const std::byte> payload, std::span<const Handle> handles,
                             std::span<const int> descriptors, Deadline deadline) override;
  bool receive(detail::Landing& landing, Deadline deadline) override;
  bool poll(Deadline deadline) override;
  [[nodiscard]] bool readable_now() override { return poll(Deadline::now()); }
  /// No word changes when something comes: the descriptor tells.
  [[nodiscard]] Bell arm() override { return {nullptr, 0}; }
  [[nodiscard]] int descriptor() const noexcept override { return stream_->socket(); }
  [[nodiscard]] Handle handle() override;
  [[nodiscard]] Handle name() const override { return {}; }
  [[nodiscard]] std::string label() const override { return label_; }

 private:
  /// One direction. A forked child has a copy of it; when the copy was made while a message was on its way, nobody
  /// there can know where it is now.
  struct Direction {
    Turn turn;
    std::atomic<bool> inside = false;  ///< what is on its way is of no use to a copy
    std::atomic<bool> spoilt = false;
  };
  /// The first use in a forked child makes this object its own.
  void here() {
    owner_.here([this] { begin_in_child(); });
  }
  void begin_in_child() noexcept;
  [[noreturn]] void throw_spoilt() const;

  // --- socket_send.cpp
  bool flush_pending(Deadline deadline);
  [[noreturn]] void throw_broken_pipe(const Io& io);
  /// A listener that refused us may have said why. Errors: what it said.
  void listen_for_refusal();

  // --- socket_receive.cpp
  /// Reads on. False if nothing more comes before the deadline. Errors: as receive().
  bool read_on(Deadline deadline);
  void hear_note();
  [[noreturn]] void throw_end(const Io& io);

  const std::unique_ptr<Stream> stream_;
  const std::unique_ptr<os::NotInForks> kept_from_forks_;
  const Messages messages_;
  const std::string label_;
  Owner owner_;
  Direction out_;
  Direction in_;

  // Of whoever has the turn to send.
  std::vector<std::byte> late_note_;
  std::vector<std::byte> pending_;  ///< the rest of what has to go out before anything else

  // Of whoever has the turn to receive.
  Incoming incoming_;
  bool ended_ = false;
  std::atomic<bool> over_ = false;  ///< a receive throws at once
  std::string damaged_;             ///< nothing more can be understood, and why
  bool too_long_ = false;

  std::atomic<bool> peer_is_known_;
  std::atomic<std::uint64_t> peer_max_message_;
  std::atomic<bool> was_reset_ = false;  ///< a send found out, and the next receive says it
};

}  // namespace brood::inline v1::net
