#include "net/frame.hpp"

#include <algorithm>
#include <cerrno>

#include "brood/error.hpp"

namespace brood::inline v1::net {
namespace {

constexpr std::uint16_t kAllFlags =
    FrameHeader::kFirst | FrameHeader::kMore | FrameHeader::kCut | FrameHeader::kPassengers | FrameHeader::kNote;
/// The preface of the first piece: total size of a message of several pieces; numbers of objects and descriptors.
constexpr std::size_t kTotalBytes = 8;
constexpr std::size_t kCountsBytes = 8;
constexpr std::size_t kLongestPreface = kTotalBytes + kCountsBytes + 8 * detail::kMostDescriptors;
constexpr std::byte kWhole{static_cast<std::uint8_t>(Ending::whole)};

[[noreturn]] void refuse(const std::string& why) {
  throw DecodeError("what came over the socket is no message of this library (" + why + ")");
}

iovec place_of(const void* data, std::size_t size) { return {const_cast<void*>(data), size}; }

}  // namespace

std::array<std::byte, FrameHeader::kBytes> FrameHeader::packed() const noexcept {
  std::array<std::byte, kBytes> out{};
  put_number(out.data(), size);
  put_number(out.data() + 4, flags);
  return out;
}

FrameHeader FrameHeader::unpacked(std::span<const std::byte, kBytes> bytes) {
  const FrameHeader header{get_number<std::uint32_t>(bytes.data()), get_number<std::uint16_t>(bytes.data() + 4)};
  const auto reserved = get_number<std::uint16_t>(bytes.data() + 6);
  if ((header.flags & ~kAllFlags) != 0 || reserved != 0) refuse("a header with unknown flags");
  if ((header.flags & kNote) != 0 && (header.flags != kNote || header.size > kLongestNote))
    refuse("a note of " + std::to_string(header.size) + " bytes");
  if ((header.flags & kCut) != 0 && (header.flags != kCut || header.size != 0)) refuse("a bad mark of withdrawal");
  if (header.size > kPieceBytes + kLongestPreface) refuse("a piece of " + std::to_string(header.size) + " bytes");
  return header;
}

// --- out -------------------------------------------------------------------------------------------------------------

Outgoing::Outgoing(std::span<const std::byte> payload, std::span<const std::uint64_t> objects, std::size_t descriptors)
    : payload_(payload), pieces_(std::max<std::uint64_t>(1, (payload.size() + kPieceBytes - 1) / kPieceBytes)) {
  const bool has_passengers = !objects.empty() || descriptors != 0;
  preface_.resize((pieces_ > 1 ? kTotalBytes : 0) + (has_passengers ? kCountsBytes + 8 * objects.size() : 0));
  std::byte* at = preface_.data();
  if (pieces_ > 1) {
    put_number(at, static_cast<std::uint64_t>(payload.size()));
    at += kTotalBytes;
  }
  if (has_passengers) {
    put_number(at, static_cast<std::uint32_t>(objects.size()));
    put_number(at + 4, static_cast<std::uint32_t>(descriptors));
    at += kCountsBytes;
    for (const std::uint64_t id : objects) {
      put_number(at, id);
      at += 8;
    }
  }
  end_ = pieces_ * FrameHeader::kBytes + preface_.size() + payload.size() + 1;
}

std::size_t Outgoing::piece_size(std::uint64_t piece) const noexcept {
  return std::min<std::size_t>(kPieceBytes, payload_.size() - static_cast<std::size_t>(piece) * kPieceBytes);
}

std::array<std::byte, FrameHeader::kBytes> Outgoing::header_of(std::uint64_t piece) const noexcept {
  FrameHeader header;
  header.size = static_cast<std::uint32_t>(piece_size(piece) + (piece == 0 ? preface_.size() : 0));
  if (piece == 0) header.flags |= FrameHeader::kFirst;
  if (piece + 1 < pieces_) header.flags |= FrameHeader::kMore;
  if (piece == 0 && preface_.size() > (pieces_ > 1 ? kTotalBytes : 0)) header.flags |= FrameHeader::kPassengers;
  return header.packed();
}

std::span<const iovec> Outgoing::places() {
  // Every piece but the first and the last has the same size on the wire.
  constexpr std::size_t kFull = FrameHeader::kBytes + kPieceBytes;
  const std::size_t first = FrameHeader::kBytes + preface_.size() + piece_size(0);
  const std::uint64_t piece = sent_ < first ? 0 : std::min(pieces_ - 1, 1 + (sent_ - first) / kFull);
  std::size_t skip = static_cast<std::size_t>(sent_ < first ? sent_ : sent_ - first - (piece - 1) * kFull);
  if (piece == 0) skip = static_cast<std::size_t>(sent_);
  std::size_t count = 0;
  const auto add = [&](const void* data, std::size_t size) {
    const std::size_t skipped = std::min(skip, size);
    skip -= skipped;
    if (size > skipped) places_[count++] = place_of(static_cast<const std::byte*>(data) + skipped, size - skipped);
  };
  std::uint64_t at = piece;
  for (; at < pieces_ && at < piece + kPiecesAtOnce; ++at) {
    auto& header = headers_[static_cast<std::size_t>(at - piece)];
    header = header_of(at);
    add(header.data(), header.size());
    if (at == 0) add(preface_.data(), preface_.size());
    add(payload_.data() + static_cast<std::size_t>(at) * kPieceBytes, piece_size(at));
  }
  if (at == pieces_) add(&kWhole, 1);
  return {places_.data(), count};
}

std::vector<std::byte> Outgoing::withdrawal() const {
  // Nothing before the end of the piece that is on its way can be left out.
  std::uint64_t piece = 0;
  std::uint64_t end = 0;
  for (;; ++piece) {
    end += FrameHeader::kBytes + (piece == 0 ? preface_.size() : 0) + piece_size(piece);
    if (sent_ <= end || piece + 1 == pieces_) break;
  }
  std::vector<std::byte> out;
  const auto add = [&](std::span<const std::byte> bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); };
  add(header_of(piece));
  if (piece == 0) add(preface_);
  add(payload_.subspan(static_cast<std::size_t>(piece) * kPieceBytes, piece_size(piece)));
  out.erase(out.begin(), out.end() - static_cast<std::ptrdiff_t>(end - std::min(sent_, end)));
  if (piece + 1 < pieces_) add(FrameHeader{0, FrameHeader::kCut}.packed());
  else out.push_back(static_cast<std::byte>(Ending::withdrawn));
  return out;
}

// --- in --------------------------------------------------------------------------------------------------------------

void Incoming::expect_small(Phase phase, std::size_t bytes) {
  phase_ = phase;
  need_ = bytes;
  have_ = 0;
  if (small_.size() < bytes) small_.resize(bytes);
}

void Incoming::expect_header() noexcept {
  phase_ = Phase::header;
  need_ = FrameHeader::kBytes;
  have_ = 0;
}

std::span<const iovec> Incoming::places() {
  if (phase_ != Phase::body) {
    places_[0] = {small_.data() + have_, need_ - have_};
    return {places_.data(), 1};
  }
  // A piece, and what must follow it.
  const std::size_t behind = (header_.flags & FrameHeader::kMore) != 0 ? FrameHeader::kBytes : 1;
  std::size_t count = 0;
  if (have_ < need_) places_[count++] = {body_ + have_, need_ - have_};
  const std::size_t skipped = have_ > need_ ? have_ - need_ : 0;
  places_[count++] = {behind_.data() + skipped, behind - skipped};
  return {places_.data(), count};
}

void Incoming::came(std::size_t bytes) {
  if (luggage_.files.size() > detail::kMostDescriptors) refuse("more descriptors than a message can have");
  have_ += bytes;
  step();
}

void Incoming::step() {
  if (phase_ == Phase::body) return body_came();
  if (have_ < need_) return;
  switch (phase_) {
    case Phase::header: return parse_header();
    case Phase::preface:
    case Phase::ids: return parse_preface();
    case Phase::note: phase_ = Phase::note_whole; return;
    case Phase::body:
    case Phase::ending:
    case Phase::whole:
    case Phase::note_whole: return;
  }
}

void Incoming::parse_header() {
  header_ = FrameHeader::unpacked(std::span<const std::byte, FrameHeader::kBytes>(small_.data(), FrameHeader::kBytes));
  const std::uint16_t flags = header_.flags;
  if ((flags & FrameHeader::kNote) != 0) {
    if (begun_) refuse("a note inside a message");
    expect_small(Phase::note, header_.size);
    return step();  // an empty one is whole
  }
  if ((flags & FrameHeader::kCut) != 0) {
    if (!begun_) refuse("no message is there to be withdrawn");
    begun_ = false;
    message_.clear();
    luggage_ = {};
    return expect_header();
  }
  if (((flags & FrameHeader::kFirst) != 0) == begun_) refuse(begun_ ? "a message inside another" : "no beginning");
  if (begun_) {
    if ((flags & FrameHeader::kPassengers) != 0) refuse("passengers that come late");
    return begin_body();
  }
  ids_.clear();
  objects_ = descriptors_ = 0;
  arrived_ = 0;
  const bool has_passengers = (flags & FrameHeader::kPassengers) != 0;
  if (has_passengers && !limits_.passengers) refuse("passengers, and they cannot come this way");
  expect_small(Phase::preface,
               ((flags & FrameHeader::kMore) != 0 ? kTotalBytes : 0) + (has_passengers ? kCountsBytes : 0));
  if (header_.size < need_) refuse("a piece that is shorter than its preface");
  return step();
}

void Incoming::parse_preface() {
  const bool has_more = (header_.flags & FrameHeader::kMore) != 0;
  if (phase_ == Phase::preface) {
    header_.size -= static_cast<std::uint32_t>(need_);
    if (has_more) total_ = get_number<std::uint64_t>(small_.data());
    if ((header_.flags & FrameHeader::kPassengers) != 0) {
      const std::byte* const counts = small_.data() + (has_more ? kTotalBytes : 0);
      objects_ = get_number<std::uint32_t>(counts);
      descriptors_ = get_number<std::uint32_t>(counts + 4);
      constexpr std::uint64_t kMost = detail::kMostDescriptors;
      if (objects_ > kMost || descriptors_ > kMost || objects_ + descriptors_ > kMost || objects_ + descriptors_ == 0)
        refuse(std::to_string(objects_) + " objects and " + std::to_string(descriptors_) + " descriptors");
      if (header_.size < 8 * objects_) refuse("a piece that is shorter than its preface");
      expect_small(Phase::ids, 8 * std::size_t{objects_});
      return step();
    }
  } else {
    for (std::uint32_t i = 0; i < objects_; ++i)
      ids_.push_back(get_number<std::uint64_t>(small_.data() + std::size_t{8} * i));
    header_.size -= 8 * objects_;
  }
  if (!has_more) total_ = header_.size;
  if (total_ > limits_.max_message) {
    throw MessageTooLong("a message of " + std::to_string(total_) +
                         " bytes was announced, and this end takes at most " + std::to_string(limits_.max_message) +
                         " (max_message)");
  }
  begun_ = true;
  begin_body();
}

void Incoming::begin_body() {
  const bool has_more = (header_.flags & FrameHeader::kMore) != 0;
  const std::size_t size = header_.size;
  if (size > kPieceBytes || size > total_ - arrived_) refuse("a piece that is longer than its message");
  if (has_more ? size == 0 || size == total_ - arrived_ : size != total_ - arrived_)
    refuse("a message that is not as long as it says");
  phase_ = Phase::body;
  need_ = size;
  have_ = 0;
  body_ = message_.grow(size, total_);
  arrived_ += size;
}

void Incoming::body_came() {
  const bool has_more = (header_.flags & FrameHeader::kMore) != 0;
  if (have_ < need_ + (has_more ? FrameHeader::kBytes : 1)) return;
  if (has_more) {
    std::copy(behind_.begin(), behind_.end(), small_.begin());
    return parse_header();
  }
  parse_ending();
}

void Incoming::parse_ending() {
  begun_ = false;
  if (behind_[0] == static_cast<std::byte>(Ending::withdrawn)) {
    message_.clear();
    luggage_ = {};
    return expect_header();
  }
  if (behind_[0] != kWhole) refuse("a message without an ending");
  phase_ = Phase::whole;
}

void Incoming::take(detail::Received& into) {
  std::swap(into, message_);  // each keeps a buffer
  message_.clear();
  Luggage luggage = std::move(luggage_);
  luggage_ = {};
  expect_header();
  if (luggage.lost) {
    into.clear();
    throw OsError(EMFILE,
                  "a message is lost, since this process had no room for the descriptors that came with it; close some "
                  "or raise `ulimit -n`");
  }
  if (luggage.files.size() != std::size_t{objects_} + descriptors_) {
    into.clear();
    refuse(std::to_string(luggage.files.size()) + " descriptors came with a message that says " +
           std::to_string(std::size_t{objects_} + descriptors_));
  }
  for (std::size_t i = 0; i < luggage.files.size(); ++i) {
    if (i < objects_) into.keep(ids_[i], luggage.files[i].release());
    else into.add_descriptor(luggage.files[i].release());
  }
}

}  // namespace brood::inline v1::net
