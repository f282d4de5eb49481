// Frames: what goes out comes in, however the stream is cut; a withdrawal at any byte leaves the stream in order.
#include "net/frame.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "brood/error.hpp"

namespace {

using brood::detail::Received;
using brood::net::FrameHeader;
using brood::net::Incoming;
using brood::net::Outgoing;
using Bytes = std::vector<std::byte>;

Bytes payload_of(std::size_t size) {
  Bytes out(size);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::byte>(i * 31 + size);
  return out;
}

/// All that is left to go out, at most `step` bytes a time, up to `most`.
Bytes drain(Outgoing& message, std::size_t step, std::size_t most = ~std::size_t{0}) {
  Bytes out;
  while (!message.done() && out.size() < most) {
    std::size_t left = std::min(step, most - out.size());
    std::size_t taken = 0;
    for (const iovec& place : message.places()) {
      const std::size_t size = std::min(left, place.iov_len);
      const auto* bytes = static_cast<const std::byte*>(place.iov_base);
      out.insert(out.end(), bytes, bytes + size);
      left -= size;
      taken += size;
    }
    EXPECT_GT(taken, 0U);
    if (taken == 0) break;
    message.went(taken);
  }
  return out;
}

/// Gives the bytes, at most `step` at a time; returns the messages that came of them.
std::vector<Bytes> feed(Incoming& in, const Bytes& bytes, std::size_t step) {
  std::vector<Bytes> messages;
  for (std::size_t at = 0; at < bytes.size();) {
    std::size_t left = std::min(step, bytes.size() - at);
    std::size_t given = 0;
    for (const iovec& place : in.places()) {
      const std::size_t size = std::min(left, place.iov_len);
      std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(at + given), size,
                  static_cast<std::byte*>(place.iov_base));
      given += size;
      left -= size;
    }
    at += given;
    in.came(given);
    if (!in.is_whole()) continue;
    Received message;
    in.take(message);
    messages.push_back(message.copy());
  }
  return messages;
}

constexpr Incoming::Limits kLimits{.max_message = 1 << 24, .passengers = false};
constexpr std::size_t kPiece = brood::net::kPieceBytes;

TEST(Frame, MessagesComeOutAsTheyWentIn) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{100}, kPiece - 1, kPiece, kPiece + 1,
                                 3 * kPiece, 20 * kPiece + 7}) {
    for (const std::size_t step :
         {std::size_t{1} << 30, std::size_t{1} << 20, std::size_t{60'000}, std::size_t{4099}}) {
      const Bytes payload = payload_of(size);
      Outgoing message(payload, {}, 0);
      Incoming in(kLimits);
      const auto got = feed(in, drain(message, step), step);
      ASSERT_EQ(got.size(), 1U) << size;
      EXPECT_TRUE(got[0] == payload) << size << " in steps of " << step;
      EXPECT_FALSE(in.inside());
    }
  }
}

TEST(Frame, ByteByByte) {
  const Bytes payload = payload_of(kPiece + 3);
  Outgoing message(payload, {}, 0);
  Incoming in(kLimits);
  const auto got = feed(in, drain(message, 1), 1);
  ASSERT_EQ(got.size(), 1U);
  EXPECT_TRUE(got[0] == payload);
}

TEST(Frame, TheReaderNeverAsksForABytePastTheMessage) {
  const Bytes payload = payload_of(2 * kPiece);
  Outgoing message(payload, {}, 0);
  Bytes stream = drain(message, 1 << 20);
  Incoming in(kLimits);
  std::size_t taken = 0;
  while (!in.is_whole()) {
    std::size_t wanted = 0;
    for (const iovec& place : in.places()) {
      ASSERT_LE(taken + wanted + place.iov_len, stream.size());
      std::copy_n(stream.begin() + static_cast<std::ptrdiff_t>(taken + wanted), place.iov_len,
                  static_cast<std::byte*>(place.iov_base));
      wanted += place.iov_len;
    }
    taken += wanted;
    in.came(wanted);
  }
  EXPECT_EQ(taken, stream.size());
}

TEST(Frame, AWithdrawalAtAnyByteLeavesTheNextMessageWhole) {
  const Bytes next = payload_of(10);
  for (const std::size_t size : {std::size_t{0}, std::size_t{30}, kPiece, 2 * kPiece + 5}) {
    const Bytes payload = payload_of(size);
    std::vector<std::size_t> cuts;
    Outgoing whole(payload, {}, 0);
    const std::size_t total = drain(whole, 1 << 30).size();
    for (std::size_t cut = 1; cut < total; cut += cut < 40 || total - cut < 40 || cut % kPiece < 20 ? 1 : 1021)
      cuts.push_back(cut);
    for (const std::size_t cut : cuts) {
      Outgoing message(payload, {}, 0);
      Bytes stream = drain(message, 5000, cut);
      ASSERT_EQ(stream.size(), cut);
      const Bytes rest = message.withdrawal();
      EXPECT_LE(rest.size(), kPiece + 100);
      stream.insert(stream.end(), rest.begin(), rest.end());
      Outgoing after(next, {}, 0);
      const Bytes second = drain(after, 1 << 20);
      stream.insert(stream.end(), second.begin(), second.end());
      Incoming in(kLimits);
      const auto got = feed(in, stream, 1 << 20);
      ASSERT_EQ(got.size(), 1U) << "of " << size << " bytes, withdrawn after " << cut;
      EXPECT_TRUE(got[0] == next);
    }
  }
}

/// What the stream makes of these bytes.
std::string verdict(Bytes bytes, Incoming::Limits limits = kLimits) {
  Incoming in(limits);
  try {
    (void)feed(in, bytes, 1 << 20);
  } catch (const brood::DecodeError& error) {
    return error.what();
  } catch (const brood::MessageTooLong& error) {
    return error.what();
  }
  return "";
}
Bytes header(std::uint32_t size, std::uint16_t flags) {
  const auto packed = FrameHeader{size, flags}.packed();
  return {packed.begin(), packed.end()};
}
Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
Bytes number(std::uint64_t value, std::size_t bytes = 8) {
  Bytes out(bytes);
  for (std::size_t i = 0; i < bytes; ++i) out[i] = static_cast<std::byte>(value >> (8 * i));
  return out;
}

TEST(Frame, RefusesWhatNoSenderSends) {
  constexpr auto kFirst = FrameHeader::kFirst;
  constexpr auto kMore = FrameHeader::kMore;
  constexpr auto kCut = FrameHeader::kCut;
  constexpr auto kPassengers = FrameHeader::kPassengers;
  constexpr auto kNote = FrameHeader::kNote;
  const auto flags = [](int all) { return static_cast<std::uint16_t>(all); };
  const Bytes begun = header(16, flags(kFirst | kMore)) + number(1000) + Bytes(8);
  Incoming::Limits passengers = kLimits;
  passengers.passengers = true;
  for (const auto& [bytes, words, limits] : std::vector<std::tuple<Bytes, std::string, Incoming::Limits>>{
           {header(0, 32), "unknown flags", kLimits},
           {number(0xffffffffffffffff), "unknown flags", kLimits},
           {header(257, kNote), "a note of 257 bytes", kLimits},
           {header(1, flags(kNote | kFirst)), "a note", kLimits},
           {header(1, kCut), "withdrawal", kLimits},
           {header(0, kCut), "no message is there", kLimits},
           {header(1 << 20, kFirst), "a piece of 1048576 bytes", kLimits},
           {header(4, 0), "no beginning", kLimits},
           {header(4, flags(kFirst | kMore)), "shorter than its preface", kLimits},
           {header(8, flags(kFirst | kMore)) + number(100), "not as long", kLimits},
           {header(12, flags(kFirst | kMore)) + number(4) + Bytes(4), "not as long", kLimits},
           {header(12, flags(kFirst | kMore)) + number(3) + Bytes(4), "longer than its message", kLimits},
           {header(16, flags(kFirst | kMore)) + number(std::uint64_t{1} << 60), "takes at most 16777216", kLimits},
           {begun + header(4, kFirst), "inside another", kLimits},
           {begun + header(1, kNote), "inside a message", kLimits},
           {begun + header(4, 0), "not as long", kLimits},
           {begun + header(0, kMore), "not as long", kLimits},
           {begun + header(20, kPassengers), "come late", kLimits},
           {header(0, kFirst) + Bytes(1), "without an ending", kLimits},
           {header(8, flags(kFirst | kPassengers)), "cannot come this way", kLimits},
           {header(8, flags(kFirst | kPassengers)) + number(0), "0 objects and 0", passengers},
           {header(8, flags(kFirst | kPassengers)) + number(254, 4) + number(0, 4), "254 objects", passengers},
           {header(8, flags(kFirst | kPassengers)) + number(0xffffffff, 4) + number(1, 4), "objects and 1", passengers},
           {header(8, flags(kFirst | kPassengers)) + number(1, 4) + number(0, 4), "shorter than its preface",
            passengers},
           {header(8, flags(kFirst | kPassengers)) + number(0, 4) + number(1, 4) + Bytes(1, std::byte{0xa5}),
            "0 descriptors came", passengers},
       }) {
    EXPECT_NE(verdict(bytes, limits).find(words), std::string::npos) << words << "; got: " << verdict(bytes, limits);
  }
}

TEST(Frame, AnAnnouncedSizeIsBelievedOnlyAsItComes) {
  Incoming in({.max_message = std::uint64_t{1} << 40, .passengers = false});
  const Bytes piece = payload_of(kPiece);
  Bytes start = header(static_cast<std::uint32_t>(8 + kPiece), FrameHeader::kFirst | FrameHeader::kMore) +
                number(std::uint64_t{1} << 40) + piece;
  // A terabyte of memory would throw bad_alloc here.
  EXPECT_NO_THROW((void)feed(in, start, 1 << 20));
  EXPECT_EQ(in.total(), std::uint64_t{1} << 40);
}

}  // namespace
