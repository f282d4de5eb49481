// Frames: how messages lie in the stream of bytes between two sockets. README.md has the picture.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "brood/detail/connection_core.hpp"
#include "net/stream.hpp"

namespace brood::inline v1::net {

/// Version of everything that goes over the wire. Other versions are refused in the handshake.
inline constexpr std::uint16_t kWireVersion = 1;

/// Most bytes of one note, so of everything that is believed before the other end has shown its key.
inline constexpr std::size_t kLongestNote = 256;
/// Most bytes of one piece of a message. A message that is taken back leaves at most the rest of one to be sent.
inline constexpr std::size_t kPieceBytes = std::size_t{64} << 10;

/// In front of every piece and every note; little endian on the wire.
struct FrameHeader {
  static constexpr std::size_t kBytes = 8;
  static constexpr std::uint16_t kFirst = 1;       ///< a message begins
  static constexpr std::uint16_t kMore = 2;        ///< another piece of it follows
  static constexpr std::uint16_t kCut = 4;         ///< instead of a piece: its sender took the message back
  static constexpr std::uint16_t kPassengers = 8;  ///< objects or descriptors come along
  static constexpr std::uint16_t kNote = 16;       ///< no message: part of the handshake

  std::uint32_t size = 0;
  std::uint16_t flags = 0;

  [[nodiscard]] std::array<std::byte, kBytes> packed() const noexcept;
  /// Errors: DecodeError if it cannot be one.
  [[nodiscard]] static FrameHeader unpacked(std::span<const std::byte, kBytes> bytes);
};

/// Behind the last piece: the message counts once this has come.
enum class Ending : std::uint8_t { whole = 0xa5, withdrawn = 0x5a };

// Numbers on the wire are little endian.
template <class Number>
void put_number(std::byte* to, Number number) noexcept {
  for (std::size_t i = 0; i < sizeof number; ++i) to[i] = static_cast<std::byte>(number >> (8 * i));
}
template <class Number>
[[nodiscard]] Number get_number(const std::byte* from) noexcept {
  Number number = 0;
  for (std::size_t i = 0; i < sizeof number; ++i)
    number = static_cast<Number>(number | static_cast<Number>(std::to_integer<Number>(from[i])) << (8 * i));
  return number;
}

/// A message cut into pieces, as it goes out. What it is made of must live as long as this.
class Outgoing {
 public:
  /// `objects`: identities whose files are the first of the descriptors that come along; `descriptors`: how many follow
  /// for the receiver himself.
  Outgoing(std::span<const std::byte> payload, std::span<const std::uint64_t> objects, std::size_t descriptors);

  [[nodiscard]] bool done() const noexcept { return sent_ == end_; }
  [[nodiscard]] bool begun() const noexcept { return sent_ != 0; }
  /// The next bytes, in order; the ending is a place of its own.
  [[nodiscard]] std::span<const iovec> places();
  void went(std::size_t bytes) noexcept { sent_ += bytes; }
  /// What must still go out, when some of it went, so that the other end drops the message.
  [[nodiscard]] std::vector<std::byte> withdrawal() const;

 private:
  [[nodiscard]] std::size_t piece_size(std::uint64_t piece) const noexcept;
  [[nodiscard]] std::array<std::byte, FrameHeader::kBytes> header_of(std::uint64_t piece) const noexcept;

  static constexpr std::size_t kPiecesAtOnce = 16;
  std::span<const std::byte> payload_;
  std::vector<std::byte> preface_;
  std::uint64_t pieces_;
  std::uint64_t sent_ = 0;
  std::uint64_t end_;
  std::array<std::array<std::byte, FrameHeader::kBytes>, kPiecesAtOnce> headers_;
  std::array<iovec, kPiecesAtOnce * 2 + 2> places_;
};

/// Puts messages together from the bytes of a stream that it does not trust. Never asks for a byte behind the end of the
/// message (or note) that is coming in, so another process can read on where this one stopped.
class Incoming {
 public:
  struct Limits {
    std::uint64_t max_message;
    bool passengers;  ///< descriptors can come along
  };
  explicit Incoming(const Limits& limits) noexcept : limits_(limits) {}

  /// Where the next bytes shall go.
  [[nodiscard]] std::span<const iovec> places();
  /// So many have come. Errors: DecodeError, MessageTooLong; then nothing more can be understood.
  void came(std::size_t bytes);
  [[nodiscard]] Luggage& luggage() noexcept { return luggage_; }

  /// Something has come, and not all of it.
  [[nodiscard]] bool inside() const noexcept { return phase_ != Phase::header || have_ != 0; }
  [[nodiscard]] bool size_is_known() const noexcept { return begun_ || phase_ == Phase::whole; }
  [[nodiscard]] std::uint64_t total() const noexcept { return total_; }
  [[nodiscard]] bool is_whole() const noexcept { return phase_ == Phase::whole; }
  [[nodiscard]] bool is_note() const noexcept { return phase_ == Phase::note_whole; }

  [[nodiscard]] std::span<const std::byte> note() const noexcept { return {small_.data(), need_}; }
  void note_read() noexcept { expect_header(); }
  /// Moves the whole message out, with what came along. Errors: DecodeError, OsError; then it is gone all the same.
  void take(detail::Received& into);

 private:
  enum class Phase : std::uint8_t { header, preface, ids, body, ending, whole, note, note_whole };
  void expect_header() noexcept;
  void expect_small(Phase phase, std::size_t bytes);
  void parse_header();
  void parse_preface();
  void begin_body();
  void body_came();
  void parse_ending();
  void step();

  Limits limits_;
  Phase phase_ = Phase::header;
  std::vector<std::byte> small_ = std::vector<std::byte>(FrameHeader::kBytes);  ///< headers, prefaces, notes
  std::size_t need_ = FrameHeader::kBytes;
  std::size_t have_ = 0;
  std::array<std::byte, FrameHeader::kBytes> behind_{};  ///< what follows a piece: a header or the ending
  FrameHeader header_{};
  bool begun_ = false;  ///< inside a message whose preface was read
  std::uint64_t total_ = 0;
  std::uint64_t arrived_ = 0;  ///< of the payload, with the piece that is coming in
  std::uint32_t objects_ = 0;
  std::uint32_t descriptors_ = 0;
  std::vector<std::uint64_t> ids_;
  std::byte* body_ = nullptr;
  detail::Received message_;
  Luggage luggage_;
  std::array<iovec, 2> places_{};
};

}  // namespace brood::inline v1::net
