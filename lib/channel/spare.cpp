#include <memory>
#include <vector>

#include "brood/detail/connection_core.hpp"
#include "brood/detail/queue_core.hpp"

namespace brood::inline v1::detail {
namespace {

/// Buffers of this thread that nobody uses at the moment. Large ones are not kept: a thread should not hold on to the
/// memory of the largest message it ever saw.
constexpr std::size_t kKeptBytes = std::size_t{1} << 20;

/// exit() destroys what is the thread's before it calls the exit handlers, and these may use queues, too.
template <class Buffer>
thread_local constinit bool t_spares_are_gone = false;

template <class Buffer>
struct Spares {
  std::vector<std::unique_ptr<Buffer>> buffers;
  ~Spares() { t_spares_are_gone<Buffer> = true; }
};

/// Null once they have been destroyed.
template <class Buffer>
std::vector<std::unique_ptr<Buffer>>* spares() {
  if (t_spares_are_gone<Buffer>) return nullptr;
  static thread_local Spares<Buffer> it;
  return &it.buffers;
}

std::size_t bytes_in(const Message& message) { return message.size_bytes(); }
std::size_t bytes_in(const Received& message) { return message.size_bytes(); }
std::size_t bytes_in(const Encoder& encoder) { return encoder.bytes().size(); }

}  // namespace

template <class Buffer>
Buffer* Spare<Buffer>::take() {
  auto* const mine = spares<Buffer>();
  if (mine == nullptr || mine->empty()) return std::make_unique<Buffer>().release();
  Buffer* buffer = mine->back().release();
  mine->pop_back();
  return buffer;
}

template <class Buffer>
void Spare<Buffer>::give_back(Buffer* buffer) noexcept {
  std::unique_ptr<Buffer> owned(buffer);
  const bool keep = bytes_in(*owned) <= kKeptBytes;
  owned->clear();
  auto* const mine = spares<Buffer>();
  if (keep && mine != nullptr) mine->push_back(std::move(owned));
}

template class Spare<Message>;
template class Spare<Encoder>;
template class Spare<Received>;

}  // namespace brood::inline v1::detail
