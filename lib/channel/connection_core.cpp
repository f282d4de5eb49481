// What is the same for every kind of connection: directions, closing, parts of buffers, and their errors.
#include "brood/detail/connection_core.hpp"

#include <unistd.h>

#include <algorithm>

#include "base/hex.hpp"
#include "brood/detail/copy_bytes.hpp"
#include "brood/error.hpp"
#include "channel/pipe_end.hpp"
#include "channel/transport.hpp"
#include "shm/segment.hpp"

namespace brood::inline v1::detail {

Received::Received(Received&& other) noexcept
    : buffer_(std::move(other.buffer_)),
      capacity_(std::exchange(other.capacity_, 0)),
      size_(std::exchange(other.size_, 0)),
      begin_(std::exchange(other.begin_, 0)),
      luggage_(std::move(other.luggage_)) {}

Received& Received::operator=(Received&& other) noexcept {
  buffer_ = std::move(other.buffer_);
  capacity_ = std::exchange(other.capacity_, 0);
  size_ = std::exchange(other.size_, 0);
  begin_ = std::exchange(other.begin_, 0);
  luggage_ = std::move(other.luggage_);
  return *this;
}

Received::Luggage::~Luggage() {
  for (const int fd : held_files) ::close(fd);
  for (const std::uint64_t id : held_ids) shm::reclaim(base::hex16(id));
  for (const int fd : descriptors) {
    if (fd >= 0) ::close(fd);
  }
}

Received::Luggage& Received::luggage() {
  if (!luggage_) luggage_ = std::make_unique<Luggage>();
  return *luggage_;
}

std::byte* Received::grow(std::size_t more, std::uint64_t total) {
  constexpr std::uint64_t kBelieved = std::uint64_t{1} << 20;
  if (size_ + more > capacity_) {
    const std::uint64_t announced = std::min(total, std::max<std::uint64_t>(kBelieved, 2 * size_));
    const std::size_t capacity = std::max<std::size_t>({256, size_ + more, static_cast<std::size_t>(announced)});
    auto larger = std::make_unique_for_overwrite<std::byte[]>(capacity);
    detail::copy_bytes(larger.get(), buffer_.get(), size_);
    buffer_ = std::move(larger);
    capacity_ = capacity;
  }
  std::byte* const place = buffer_.get() + size_;
  size_ += more;
  return place;
}

void Received::keep(std::uint64_t id) {
  if (id == 0) return;
  if (base::UniqueFd fd = shm::hold(id)) {
    Luggage& mine = luggage();
    mine.held_ids.push_back(id);
    mine.held_files.push_back(fd.get());
    (void)fd.release();
  }
}

void Received::keep(std::uint64_t id, int file) {
  base::UniqueFd owned(file);
  Luggage& mine = luggage();
  mine.held_ids.push_back(id);
  mine.held_files.push_back(file);
  (void)owned.release();
}

void Received::add_descriptor(int fd) {
  base::UniqueFd owned(fd);
  luggage().descriptors.push_back(fd);
  (void)owned.release();
}

ConnectionCore::ConnectionCore(std::unique_ptr<channel::Transport> transport) noexcept
    : transport_(std::move(transport)), may_send_(transport_->may_send()), may_receive_(transport_->may_receive()) {}
ConnectionCore::ConnectionCore(ConnectionCore&& other) noexcept
    : transport_(std::move(other.transport_)),
      state_(other.state_),
      may_send_(other.may_send_),
      may_receive_(other.may_receive_),
      closed_name_(std::move(other.closed_name_)) {
  other.become(State::moved_from);
}
ConnectionCore& ConnectionCore::operator=(ConnectionCore&& other) noexcept {
  if (this != &other) {
    transport_ = std::move(other.transport_);
    state_ = other.state_;
    may_send_ = other.may_send_;
    may_receive_ = other.may_receive_;
    closed_name_ = std::move(other.closed_name_);
    other.become(State::moved_from);
  }
  return *this;
}
void ConnectionCore::become(State state) noexcept {
  state_ = state;
  may_send_ = false;
  may_receive_ = false;
}
ConnectionCore::~ConnectionCore() = default;

std::pair<ConnectionCore, ConnectionCore> ConnectionCore::make_pipe(const PipeOptions& options, const Type& type) {
  auto [one, other] = channel::PipeEnd::make(options, type);
  return {ConnectionCore(std::move(one)), ConnectionCore(std::move(other))};
}

ConnectionCore ConnectionCore::open(const Handle& handle, const Type& type) {
  return ConnectionCore(channel::PipeEnd::open(handle, type));
}

std::string ConnectionCore::name() const { return transport_ ? transport_->label() : closed_name_; }

void ConnectionCore::throw_unusable() const {
  if (state_ == State::moved_from) throw UsageError("this Connection was moved from; use the object it was moved to");
  throw ConnectionClosed(closed_name_ + ": this Connection object was closed");
}

void ConnectionCore::throw_not_for_sending() const {
  (void)usable();
  throw WrongDirection(name() + ": this end of the pipe can only receive; send through the other one");
}

void ConnectionCore::throw_not_for_receiving() const {
  if (!usable().may_receive())
    throw WrongDirection(name() + ": this end of the pipe can only send; receive from the other one");
  throw ConnectionClosed(name() + ": reading is over since a message was longer than its reader allowed");
}

bool ConnectionCore::send(std::span<const std::byte> payload, std::span<const Handle> handles, Deadline deadline) {
  return for_sending().send(payload, handles, deadline);
}

bool ConnectionCore::send_with_descriptors(std::span<const std::byte> payload, std::span<const Handle> handles,
                                           std::span<const int> descriptors, Deadline deadline) {
  return for_sending().send_with_descriptors(payload, handles, descriptors, deadline);
}

bool ConnectionCore::send_part(BytesView view, std::int64_t offset, std::optional<std::int64_t> size,
                               Deadline deadline) {
  channel::Transport& transport = for_sending();
  const std::span<const std::byte> bytes = view.bytes();
  const auto length = static_cast<std::int64_t>(bytes.size());
  if (offset < 0 || offset > length || (size && (*size < 0 || *size > length - offset))) {
    throw UsageError(name() + ": there is no part of " + (size ? std::to_string(*size) + " bytes" : "the bytes") +
                     " at offset " + std::to_string(offset) + " of " + std::to_string(length) + " bytes");
  }
  const auto begin = static_cast<std::size_t>(offset);
  return transport.send(bytes.subspan(begin, static_cast<std::size_t>(size.value_or(length - offset))), {}, deadline);
}

Chunk ConnectionCore::allocate(std::size_t size_bytes, Deadline deadline) {
  return for_sending().allocate(size_bytes, deadline);
}
bool ConnectionCore::send(Chunk& chunk, std::size_t skip, std::size_t size_bytes, Deadline deadline) {
  return for_sending().send_chunk(chunk, skip, size_bytes, deadline);
}
void ConnectionCore::refused_loan() { throw UsageError("a loan without limit was not given"); }

std::optional<std::span<const std::byte>> ConnectionCore::receive_in_place(Received& into, Chunk& chunk,
                                                                           Deadline deadline) {
  into.clear();
  Landing landing{.buffer = into, .may_stay = true};
  if (!for_receiving().receive(landing, deadline)) return std::nullopt;
  if (!landing.chunk) return into.bytes();
  chunk = std::move(landing.chunk);
  return std::span<const std::byte>(chunk.data() + landing.skip, landing.size_bytes);
}

bool ConnectionCore::receive(Received& into, Deadline deadline) {
  into.clear();
  Landing landing{.buffer = into};
  return for_receiving().receive(landing, deadline);
}

bool ConnectionCore::receive_raw(std::span<std::byte> into, Deadline deadline) {
  Received buffer;
  Landing landing{.buffer = buffer, .direct = into};
  if (!for_receiving().receive(landing, deadline)) return false;
  if (!landing.is_direct || landing.size_bytes != into.size()) [[unlikely]]
    throw DecodeError(name() + ": received a message of " + std::to_string(landing.size_bytes) +
                      " bytes where its type has another size");
  return true;
}

std::optional<std::vector<std::byte>> ConnectionCore::receive_bytes(std::optional<std::int64_t> most,
                                                                    Deadline deadline) {
  channel::Transport& transport = for_receiving();
  if (most && *most < 0) throw UsageError(name() + ": the limit of recv_bytes is negative: " + std::to_string(*most));
  const SpareReceived message;
  Landing landing{.buffer = *message};
  if (most) landing.most = static_cast<std::uint64_t>(*most);
  if (!transport.receive(landing, deadline)) return std::nullopt;
  if (!landing.too_long) return message->copy();
  const std::string text = name() + ": the next message has " + std::to_string(landing.size_bytes) +
                           " bytes, more than the " + std::to_string(*most) +
                           " that its reader allows; this object will not read any more";
  may_receive_ = false;
  if (!transport.may_send()) close();
  throw MessageTooLong(text);
}

std::optional<std::size_t> ConnectionCore::receive_into(std::span<std::byte> buffer, std::int64_t offset,
                                                        Deadline deadline) {
  channel::Transport& transport = for_receiving();
  if (offset < 0 || static_cast<std::uint64_t>(offset) > buffer.size()) {
    throw UsageError(name() + ": a buffer of " + std::to_string(buffer.size()) + " bytes has no offset " +
                     std::to_string(offset));
  }
  const SpareReceived message;
  const std::span<std::byte> rest = buffer.subspan(static_cast<std::size_t>(offset));
  Landing landing{.buffer = *message, .direct = rest};
  if (!transport.receive(landing, deadline)) return std::nullopt;
  if (landing.is_direct) return static_cast<std::size_t>(landing.size_bytes);
  const auto bytes = message->bytes();
  if (bytes.size() > rest.size()) {
    throw BufferTooShort(name() + ": a message of " + std::to_string(bytes.size()) + " bytes does not fit into the " +
                             std::to_string(rest.size()) + " of the buffer; it is in message() of this exception",
                         message->copy());
  }
  detail::copy_bytes(rest.data(), bytes.data(), bytes.size());
  return bytes.size();
}

bool ConnectionCore::poll(Deadline deadline) { return for_receiving().poll(deadline); }

void ConnectionCore::check_fits_at_once(std::size_t payload_bytes, std::size_t handles) const {
  if (for_sending().fits_at_once(payload_bytes, handles)) return;
  throw NoSpace(name() + ": a message of " + std::to_string(payload_bytes) +
                    " bytes is longer than the ring; a thread that may sleep can stream it (send), others need a pipe "
                    "with a larger PipeOptions::ring_bytes",
                EMSGSIZE);
}

void ConnectionCore::close() noexcept {
  if (state_ != State::open) return;
  closed_name_ = name();
  transport_.reset();
  become(State::closed);
}

bool ConnectionCore::readable() const { return usable().may_receive() && may_receive_; }
bool ConnectionCore::writable() const { return usable().may_send(); }
Handle ConnectionCore::handle() const { return usable().handle(); }

std::string ConnectionCore::printed() const {
  if (state_ == State::moved_from) return "<Connection moved from>";
  std::string out = "<Connection " + name();
  if (state_ == State::closed) return out + " closed>";
  const bool sends = transport_->may_send();
  const bool receives = transport_->may_receive();
  out += sends && receives ? " duplex" : sends ? " writer" : " reader";
  if (receives && !may_receive_) out += " reads no more";
  return out + ">";
}

}  // namespace brood::inline v1::detail

namespace brood::inline v1::channel {

bool Transport::send_with_descriptors(std::span<const std::byte>, std::span<const Handle>, std::span<const int>,
                                      Deadline) {
  throw UsageError(label() + ": this connection carries no descriptors; they travel over Unix-socket connections only");
}

}  // namespace brood::inline v1::channel
