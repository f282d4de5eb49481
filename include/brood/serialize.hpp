// How values become bytes, and how a type of yours joins in.                                       (room: wire)
//
// Most types need nothing: scalars, enums, strings, standard containers, and plain structs of these travel as they are.
// A class with private parts has one member for both directions, in the style that cereal and Boost share:
//
//   class Account {
//    public:
//     template <class Archive> void serialize(Archive& ar) { ar(owner_, balance_); }   // or ar & owner_ & balance_
//    private:
//     std::string owner_;
//     long balance_ = 0;
//   };
//
// A class that is not yours, or that has no default constructor, gets a Codec:
//
//   template <> struct brood::Codec<geo::Point> {
//     static void encode(brood::Encoder& out, const geo::Point& p) {
//       out.array_header(2);
//       out.f64(p.x());
//       out.f64(p.y());
//     }
//     static geo::Point decode(brood::Decoder& in) {
//       in.expect_array(2, "geo::Point");
//       const double x = in.f64();   // one statement a field: the order of evaluation is then clear
//       const double y = in.f64();
//       return geo::Point(x, y);
//     }
//   };
//
// The bytes are MessagePack (lib/wire/README.md has the table), so programs in other languages can read them.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "brood/error.hpp"
#include "brood/handle.hpp"

namespace brood::inline v1 {

namespace detail {

/// MessagePack extension types that this library gives a meaning. Part of the wire format: never renumber.
inline constexpr std::int8_t kExtHandle = 1;      ///< the text of a Handle
inline constexpr std::int8_t kExtRaw = 2;         ///< 8 bytes of fingerprint, then one value's bytes
inline constexpr std::int8_t kExtBlock = 3;       ///< 8 bytes of fingerprint, then the bytes of any number of values
inline constexpr std::int8_t kExtDescriptor = 4;  ///< 1 byte: which of the descriptors that came with the message
inline constexpr std::int8_t kExtManaged = 5;  ///< an object of a Manager: 8 bytes server, 8 bytes object, its address

/// What the kernel lets one message over a Unix socket carry (SCM_MAX_FD).
inline constexpr std::size_t kMostDescriptors = 253;

/// How deep values may nest, in both directions: a message that can be sent can also be read.
inline constexpr int kMaxDepth = 64;

/// Appends MessagePack to a buffer of its own.
///
/// Reuse:    clear() keeps the buffer's memory, so a channel that keeps its Encoder stops allocating.
/// Threads:  one at a time.
class Encoder {
 public:
  void nil();
  void boolean(bool value);
  /// The shortest form that holds the value; a non-negative number looks the same from sint and from uint.
  void sint(std::int64_t value);
  void uint(std::uint64_t value);
  void f32(float value);
  void f64(double value);
  /// Text (any bytes; readers in other languages expect UTF-8). Errors: UsageError above 4 GiB, here and below.
  void str(std::string_view text);
  void bin(std::span<const std::byte> bytes);
  /// The next `count` values belong to one array.
  void array_header(std::size_t count);
  /// The next `count` pairs of values, key first, belong to one map.
  void map_header(std::size_t count);
  void ext(std::int8_t type, std::span<const std::byte> bytes);
  /// Starts an ext value and returns its `size_bytes` payload bytes to be filled in before the next call.
  [[nodiscard]] std::span<std::byte> ext_space(std::int8_t type, std::size_t size_bytes);
  /// An array whose length is known only afterwards: `at = begin_array(); …; end_array(at, count)`.
  [[nodiscard]] std::size_t begin_array();
  void end_array(std::size_t at, std::size_t count);
  /// A shared object travels as its handle. The handle is also collected, so that the channel can pin the object until
  /// the receiver has opened it.
  void handle(const Handle& handle);
  /// An open descriptor: its place among descriptors() travels as the value, a copy of it travels beside the bytes.
  /// Errors: UsageError if it is none, or if what is encoded here goes where no descriptor can follow.
  void descriptor(int fd);
  /// Until clear(): descriptors can follow, or whoever sends the bytes refuses them.
  void carry_descriptors() noexcept { carries_descriptors_ = true; }
  [[nodiscard]] const std::vector<int>& descriptors() const noexcept { return descriptors_; }

  /// What was written since the last clear(); valid until the next call.
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }
  [[nodiscard]] const std::vector<Handle>& handles() const noexcept { return handles_; }
  /// One value that is encoded already, with the shared objects that are in it.
  void value(std::span<const std::byte> bytes, std::span<const Handle> handles);
  /// Moves the bytes out; the Encoder is empty afterwards.
  [[nodiscard]] std::vector<std::byte> take_bytes() noexcept;
  [[nodiscard]] std::vector<Handle> take_handles() noexcept;
  /// Forgets bytes and handles, keeps the memory.
  void clear() noexcept;

  /// One level of nesting. Errors: UsageError beyond kMaxDepth, since no Decoder would read it.
  class Level {
   public:
    explicit Level(Encoder& out) : out_(out) {
      if (++out_.depth_ > kMaxDepth) [[unlikely]]
        out_.throw_too_deep();
    }
    ~Level() { --out_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Encoder& out_;
  };

 private:
  [[noreturn]] void throw_too_deep();
  void lead(unsigned char byte);
  template <class Unsigned>
  void lead_and_number(unsigned char byte, Unsigned number);
  void append(const void* data, std::size_t size_bytes);
  void ext_header(std::int8_t type, std::size_t size_bytes);

  std::vector<std::byte> bytes_;
  std::vector<Handle> handles_;
  std::vector<int> descriptors_;
  bool carries_descriptors_ = false;
  int depth_ = 0;
};

/// An ext value as it stands in the message.
struct Ext {
  std::int8_t type = 0;
  std::span<const std::byte> bytes;
};

/// What the next value of a message is.
enum class WireType : std::uint8_t { end, nil, boolean, integer, floating, str, bin, array, map, ext, invalid };
[[nodiscard]] std::string_view to_string(WireType type) noexcept;

/// Reads MessagePack from bytes that it does not trust and does not own.
///
/// Every read checks type, range and length first and consumes nothing when it throws. A container may not claim more
/// elements than there are bytes left, so whoever reserves for a count allocates in proportion to what was sent.
/// Errors:   DecodeError, everywhere, saying what was expected, what was found, and at which byte.
/// Lifetime: str(), bin() and ext() return views into the message.
class Decoder {
 public:
  explicit Decoder(std::span<const std::byte> bytes, std::span<int> descriptors = {}) noexcept
      : bytes_(bytes), descriptors_(descriptors) {}

  [[nodiscard]] WireType peek() const noexcept;
  void nil();
  /// Consumes a nil if there is one.
  [[nodiscard]] bool try_nil() noexcept;
  [[nodiscard]] bool boolean();
  [[nodiscard]] std::int64_t sint();
  [[nodiscard]] std::uint64_t uint();
  /// An integer that fits Int.
  template <std::integral Int>
  [[nodiscard]] Int integer();
  /// A float, or a double that rounds to a float without overflow, or an integer that a float holds exactly.
  [[nodiscard]] float f32();
  /// A float, a double, or an integer that a double holds exactly.
  [[nodiscard]] double f64();
  [[nodiscard]] std::string_view str();
  [[nodiscard]] std::span<const std::byte> bin();
  [[nodiscard]] std::size_t array_header();
  [[nodiscard]] std::size_t map_header();
  [[nodiscard]] Ext ext();
  /// An ext value of exactly this type.
  [[nodiscard]] std::span<const std::byte> ext(std::int8_t type);
  /// Errors also: HandleError is turned into DecodeError if the text is malformed.
  [[nodiscard]] Handle handle();
  /// A descriptor that came with the message; the caller owns it from now on. Each can be taken once.
  [[nodiscard]] int descriptor();

  /// An array of exactly `count` elements; `what` names the type for the message.
  void expect_array(std::size_t count, std::string_view what);
  /// Passes over one whole value, without recursion.
  void skip();
  /// The same; returns its bytes, and tells of each ext value in it.
  std::span<const std::byte> value(const std::function<void(const Ext&)>& on_ext);
  /// Says that nothing may be left.
  void finish() const;

  /// Byte position in the message, for messages and progress.
  [[nodiscard]] std::size_t offset() const noexcept { return position_; }
  [[nodiscard]] std::size_t remaining() const noexcept { return bytes_.size() - position_; }
  /// For codecs that check more than the wire knows: throws DecodeError "expected … at byte …, found …".
  [[noreturn]] void fail(std::string_view expected, std::string_view found) const;

  /// One level of nesting.
  class Level {
   public:
    explicit Level(Decoder& in) : in_(in) {
      if (++in_.depth_ > kMaxDepth) [[unlikely]]
        in_.throw_too_deep();
    }
    ~Level() { --in_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Decoder& in_;
  };

 private:
  struct Head;  // lib/wire/decoder.cpp
  [[noreturn]] void throw_too_deep();
  template <class OnExt>
  void pass_over(OnExt on_ext);
  [[nodiscard]] Head head() const;
  [[nodiscard]] Head expect(WireType type, std::string_view expected) const;
  [[nodiscard]] std::span<const std::byte> take(const Head& head) noexcept;
  [[nodiscard]] std::int64_t sint_between(std::int64_t lowest, std::int64_t highest);
  [[nodiscard]] std::uint64_t uint_up_to(std::uint64_t highest);
  [[noreturn]] void wrong(std::string_view expected) const;

  std::span<const std::byte> bytes_;
  std::span<int> descriptors_;
  std::size_t position_ = 0;
  int depth_ = 0;
};

}  // namespace detail

using Encoder = detail::Encoder;
using Decoder = detail::Decoder;

/// The user's own encoding of T, consulted before everything else. A specialisation has
///   static void encode(Encoder&, const T&);      // writes exactly one value (an array, if there are several)
///   static T decode(Decoder&);                   // reads it back, or throws DecodeError
/// Either may call brood::encode(out, part) and brood::decode<Part>(in) of <brood/detail/codec.hpp> for its parts.
/// Optional: `static constexpr std::uint64_t fingerprint`, changed whenever the encoding changes; queues compare it.
/// The specialisation must be visible wherever T is sent or received, best right below T.
template <class T>
struct Codec;

/// A shared object: not its bytes but its handle travels, and the receiver opens it.
template <class T>
concept Shareable = requires(const T& object, const Handle& handle) {
  { object.handle() } -> std::convertible_to<Handle>;
  { T::open(handle) } -> std::same_as<T>;
};

// ---------------------------------------------------------------------------------------------------------------------

template <std::integral Int>
Int detail::Decoder::integer() {
  if constexpr (Int(-1) < Int(0)) {
    constexpr auto kHighest = static_cast<std::int64_t>((std::uint64_t{1} << (sizeof(Int) * 8 - 1)) - 1);
    return static_cast<Int>(sint_between(-kHighest - 1, kHighest));
  } else {
    return static_cast<Int>(uint_up_to(~std::uint64_t{0} >> (64 - sizeof(Int) * 8)));
  }
}

}  // namespace brood::inline v1
