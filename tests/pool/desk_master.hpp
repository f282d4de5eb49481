// DeskMaster: the other side of a worker's desk, for tests that say record by record what the worker finds there.
#pragma once

#include <atomic>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "brood/deadline.hpp"
#include "brood/detail/pool_call.hpp"
#include "brood/detail/type_id.hpp"
#include "brood/shared_memory.hpp"
#include "os/function_id.hpp"
#include "pool/desk.hpp"
#include "pool/worker.hpp"

namespace pool_test {

namespace pool = brood::pool;

/// What a worker has said of one item.
struct Said {
  pool::Report kind{};
  std::uint64_t seq = 0;
  std::uint32_t item = 0;
  bool is_last = false;
  bool is_by_pipe = false;
  std::vector<std::byte> bytes = {};
};

/// One function, and tasks for it. Nothing is to be seen of what was put before publish().
class DeskMaster {
 public:
  template <class... Args, class F>
  explicit DeskMaster(std::type_identity<void(Args...)> /*arguments*/, F* function) {
    const brood::detail::PoolFunction named = brood::detail::pool_function<F*, Args...>(function);
    brood::Encoder out;
    brood::detail::encode(out, brood::os::identify(named.invoke));
    brood::detail::encode(out, brood::os::identify(named.target));
    pool::Record record{};
    record.kind = static_cast<std::uint8_t>(pool::Order::function);
    put(record, {}, out.bytes());
  }

  /// A task of such items. Its number.
  template <class T>
  std::uint64_t offer(const std::vector<T>& items, bool by_pipe = false) {
    std::vector<std::byte> sizes;
    std::vector<std::byte> payload;
    for (const T& item : items) {
      brood::Encoder out;
      brood::detail::encode(out, item);
      const auto size = static_cast<std::uint32_t>(out.bytes().size());
      const auto bytes = std::as_bytes(std::span(&size, 1));
      sizes.insert(sizes.end(), bytes.begin(), bytes.end());
      payload.insert(payload.end(), out.bytes().begin(), out.bytes().end());
    }
    if (items.size() > 1) payload.insert(payload.begin(), sizes.begin(), sizes.end());
    const std::uint64_t seq = ++last_seq_;
    pool::Record record{};
    record.kind = static_cast<std::uint8_t>(pool::Order::task);
    record.seq = seq;
    record.is_by_pipe = by_pipe ? 1 : 0;
    pool::TaskHead head{};
    head.items = static_cast<std::uint32_t>(items.size());
    head.attempt = 1;
    desk().stages[seq % pool::kStages].store(stage_word(seq, pool::Stage::offered));
    put(record, std::as_bytes(std::span(&head, 1)), by_pipe ? std::span<const std::byte>() : payload);
    if (by_pipe) (void)pipe.first.connection.send(payload, {}, brood::Deadline::never());
    return seq;
  }
  bool revoke(std::uint64_t seq) {
    std::uint64_t expected = stage_word(seq, pool::Stage::offered);
    return desk().stages[seq % pool::kStages].compare_exchange_strong(expected, stage_word(seq, pool::Stage::revoked));
  }
  void tell_to_stop() {
    pool::Record record{};
    record.kind = static_cast<std::uint8_t>(pool::Order::stop);
    put(record, {}, {});
  }
  void publish() {
    desk().task_tail.exchange(tail_.load());
    desk().tasks.notify_every();
  }

  /// The worker has passed over all that was published, and is going to sleep, or sleeps.
  [[nodiscard]] bool worker_waits() {
    return (desk().tasks.word.load() & 1) != 0 && desk().task_head.load() == desk().task_tail.load();
  }
  [[nodiscard]] bool has_begun(std::uint64_t seq, std::uint32_t item) {
    return desk().stages[seq % pool::kStages].load() == stage_word(seq, pool::Stage::running) &&
           desk().begun.load() > item;
  }
  /// What has come since the last time.
  std::vector<Said> read() {
    std::vector<Said> out;
    const std::uint64_t tail = desk().result_tail.load(std::memory_order_acquire);
    while (const std::byte* const at = pool::record_at(desk_memory.bytes().data() + pool::kResultRingAt, read_, tail)) {
      pool::Record record{};
      std::memcpy(&record, at, sizeof record);
      const std::byte* const payload = at + sizeof record + sizeof(pool::ResultHead);
      out.push_back({static_cast<pool::Report>(record.kind),
                     record.seq,
                     record.item,
                     record.is_last != 0,
                     record.is_by_pipe != 0,
                     {payload, payload + record.payload}});
      read_ += record.bytes;
    }
    desk().result_head.exchange(read_);
    desk().room.notify_every();
    return out;
  }

  [[nodiscard]] pool::Desk& desk() { return *reinterpret_cast<pool::Desk*>(desk_memory.bytes().data()); }
  [[nodiscard]] pool::Hall& hall() { return *reinterpret_cast<pool::Hall*>(hall_memory.bytes().data()); }

  brood::SharedMemory desk_memory{static_cast<std::int64_t>(pool::kDeskBytes)};
  brood::SharedMemory hall_memory{static_cast<std::int64_t>(sizeof(pool::Hall))};
  std::pair<pool::PipeEnd, pool::PipeEnd> pipe = pool::make_pipe();  ///< ours, theirs

 private:
  void put(pool::Record record, std::span<const std::byte> head, std::span<const std::byte> payload) {
    const std::size_t bytes = pool::padded(sizeof record + head.size() + payload.size());
    std::byte* to = tasks_.reserve(bytes);
    if (to == nullptr) throw std::length_error("the ring of tasks is full");
    record.bytes = static_cast<std::uint32_t>(bytes);
    record.payload = static_cast<std::uint32_t>(payload.size());
    std::memcpy(to, &record, sizeof record);
    to += sizeof record;
    if (!head.empty()) std::memcpy(to, head.data(), head.size());
    if (!payload.empty()) std::memcpy(to + head.size(), payload.data(), payload.size());
    tasks_.commit(bytes);
  }

  std::atomic<std::uint64_t> tail_ = 0;  ///< of what was put
  pool::RingWriter tasks_{desk_memory.bytes().data() + pool::kTaskRingAt, tail_, desk().task_head};
  std::uint64_t last_seq_ = 0;
  std::uint64_t read_ = 0;
};

}  // namespace pool_test
