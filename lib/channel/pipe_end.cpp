// Making, opening, holding and closing an end.
#include "channel/pipe_end.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <string>

#include "brood/error.hpp"
#include "os/membarrier.hpp"
#include "registry/objects.hpp"

namespace brood::inline v1::channel {
namespace {

constexpr std::size_t kSmallestInbox = 4096;
constexpr std::size_t kLargestInbox = std::size_t{1} << 32;
constexpr std::size_t kLargestLoans = std::size_t{1} << 36;
/// See PipeEnd::Search. The kernel needs a millisecond to close the files of a small process, a second for gigabytes.
constexpr std::int64_t kFirstPauseNs = 1'000'000;
constexpr std::int64_t kLastPauseNs = 128'000'000;
constexpr std::int64_t kSearchNs = 5'000'000'000;

EndBody& body_of(const detail::Object& object) { return *static_cast<EndBody*>(object.body()); }

detail::Object make_end(std::size_t inbox_bytes, std::size_t peer_inbox_bytes, std::uint64_t peer,
                        std::uint64_t loan_budget, bool asymmetric, const PipeEnd::Type& type) {
  const auto initialise = [&](void* memory) {
    auto* body = static_cast<EndBody*>(memory);
    body->senders_lock.policy.store(static_cast<std::uint32_t>(OwnerDeath::heal));
    body->receivers_lock.policy.store(static_cast<std::uint32_t>(OwnerDeath::heal));
    body->peer = peer;
    body->inbox_units = inbox_bytes / 8;
    body->peer_inbox_units = peer_inbox_bytes / 8;
    body->loan_budget = loan_budget;
    body->asymmetric = asymmetric ? 1 : 0;
  };
  const std::size_t holders_at = kInboxOffset + inbox_bytes;
  return registry::create({.kind = Kind::connection,
                           .body_bytes = holders_at + kHolders * sizeof(Holder),
                           .reserved_bytes = holders_at + 4096,
                           .payload = {type.fingerprint, type.name()}},
                          initialise);
}

/// An opened end whose sizes fit its segment. Errors: TypeMismatch.
detail::Object sound(detail::Object object) {
  const EndBody& body = body_of(object);
  const std::uint64_t units = body.inbox_units;
  const std::size_t bytes = shm::header_of(object.body()).size_bytes - shm::kBodyOffset;
  const bool fits = units <= kLargestInbox / 8 && (units == 0 || std::has_single_bit(units)) &&
                    kInboxOffset + units * 8 + kHolders * sizeof(Holder) <= bytes &&
                    std::has_single_bit(body.loan_budget) && body.loan_budget >= kSmallestInbox &&
                    body.loan_budget <= kLargestLoans;
  if (!fits || (units != 0 && units * 8 < kSmallestInbox) || (units == 0 && body.peer_inbox_units == 0)) {
    throw TypeMismatch(object.handle().str() + ": its segment is damaged (an inbox of " + std::to_string(units) +
                       " units does not fit)");
  }
  return object;
}

/// Empty if nobody has the other end any more.
detail::Object open_peer(const EndBody& mine, const PipeEnd::Type& type) {
  try {
    detail::Object peer =
        sound(registry::open(Handle(Kind::connection, mine.peer), Kind::connection, {type.fingerprint, type.name()}));
    const EndBody& theirs = body_of(peer);
    if (theirs.inbox_units != mine.peer_inbox_units || theirs.peer_inbox_units != mine.inbox_units)
      throw TypeMismatch(peer.handle().str() + ": its segment is damaged (it does not fit the other end's)");
    return peer;
  } catch (const HandleError&) {
    return {};
  }
}

}  // namespace

PipeEnd::Ends PipeEnd::make(const PipeOptions& options, const Type& type) {
  if (options.ring_bytes > kLargestInbox)
    throw UsageError("a pipe's ring may have at most 4 GiB, got " + std::to_string(options.ring_bytes) +
                     " bytes; longer messages stream through a smaller one");
  if (options.loan_budget > kLargestLoans)
    throw UsageError("a pipe may lend at most 64 GiB, got " + std::to_string(options.loan_budget) + " bytes");
  const std::size_t bytes = std::bit_ceil(std::max(options.ring_bytes, kSmallestInbox));
  const std::size_t budget = std::bit_ceil(std::max(options.loan_budget, kSmallestInbox));
  const std::size_t back = options.duplex ? bytes : 0;
  const bool asymmetric = !options.often_asleep && os::join_barriers();
  detail::Object first = make_end(bytes, back, 0, budget, asymmetric, type);
  detail::Object second = make_end(back, bytes, first.id(), budget, asymmetric, type);
  body_of(first).peer = second.id();
  // Each end has both segments mapped by itself, as if it had been opened.
  detail::Object first_seen = registry::open(first.handle(), Kind::connection, {type.fingerprint, type.name()});
  detail::Object second_seen = registry::open(second.handle(), Kind::connection, {type.fingerprint, type.name()});
  auto one = std::make_unique<PipeEnd>(std::move(first), std::move(second_seen));
  auto other = std::make_unique<PipeEnd>(std::move(second), std::move(first_seen));
  return {std::move(one), std::move(other)};
}

std::unique_ptr<Transport> PipeEnd::open(const Handle& handle, const Type& type) {
  detail::Object mine = sound(registry::open(handle, Kind::connection, {type.fingerprint, type.name()}));
  detail::Object peer = open_peer(body_of(mine), type);
  try {
    return std::make_unique<PipeEnd>(std::move(mine), std::move(peer));
  } catch (const ConnectionClosed& closed) {
    throw HandleError(std::string("stale handle: ") + closed.what());
  }
}

PipeEnd::PipeEnd(detail::Object mine, detail::Object peer)
    : Transport(body_of(mine).peer_inbox_units != 0, body_of(mine).inbox_units != 0),
      mine_object_(std::move(mine)),
      peer_object_(std::move(peer)),
      mine_(body_of(mine_object_)),
      peer_(peer_object_ ? &body_of(peer_object_) : nullptr) {
  enrol();
}

PipeEnd::~PipeEnd() {
  forget(parked_token_.exchange(0));
  const std::uint64_t was = enrolment_.exchange(0);
  const auto id = static_cast<registry::Id>(was >> 32);
  // A forked child that never used its copy holds nothing; and who has left the domain holds nothing any more.
  if (id == registry::kNobody || id != registry::self_if_joined()) return;
  Holders holders(mine_object_);
  holders.remove(static_cast<std::uint32_t>(was), id);
  holders.end_if_unheld(false);
}

void PipeEnd::enrol() {
  // First, while this process may have no second thread yet: the kernel waits for all processors otherwise.
  const bool barriers = os::join_barriers();
  const registry::Id me = registry::self();
  std::uint64_t seen = enrolment_.load();
  if (static_cast<registry::Id>(seen >> 32) == me) return;
  if (asymmetric() && !barriers) {
    throw OsError(ENOSYS,
                  name().str() +
                      ": the pipe was made where the kernel offers membarrier(2), and this process may not use " +
                      "it (a seccomp filter, or BROOD_WITHOUT?); make the pipe under the same rules");
  }
  Holders holders(mine_object_);
  const std::uint32_t index = holders.add(me);
  // Another thread may have been faster.
  if (!enrolment_.compare_exchange_strong(seen, static_cast<std::uint64_t>(me) << 32 | index))
    holders.remove(index, me);
}

Handle PipeEnd::handle() {
  here();
  return name();
}

bool PipeEnd::peer_is_gone(Search* search) {
  if (peer_has_ended()) return true;
  const std::uint32_t deaths = registry::death_word().load();
  Holders holders(peer_object_);
  const registry::Id holder = holders.somebody();
  watched_.store(holder, std::memory_order_relaxed);
  deaths_seen_.store(deaths, std::memory_order_relaxed);
  if (search == nullptr) return holder == registry::kNobody && holders.end_if_unheld(false);
  const bool is_new = !std::exchange(search->begun, true) || search->deaths != deaths;
  const std::int64_t pause_ns = std::exchange(search->pause_ns, 0);
  search->deaths = deaths;
  if (holder != registry::kNobody) return false;
  if (holders.end_if_unheld(is_new || pause_ns != 0)) return true;
  const std::int64_t now = Deadline::clock_ns();
  if (is_new) {
    search->pause_ns = kFirstPauseNs;
    search->until_ns = now + kSearchNs;
  } else if (pause_ns != 0 && now < search->until_ns) {
    search->pause_ns = std::min(2 * pause_ns, kLastPauseNs);
  }
  return false;
}

}  // namespace brood::inline v1::channel
