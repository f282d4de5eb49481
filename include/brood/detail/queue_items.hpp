// Items of a queue as bytes.                                                                      (room: channel)
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "brood/deadline.hpp"
#include "brood/detail/codec.hpp"
#include "brood/detail/copy_bytes.hpp"
#include "brood/detail/queue_core.hpp"
#include "brood/detail/type_id.hpp"
#include "brood/error.hpp"
#include "brood/handle.hpp"
#include "brood/loan.hpp"

namespace brood::inline v1::detail {

/// How T travels through a queue. Plain data is copied straight between T and the ring.
template <class T>
struct Items {
  static constexpr bool kRaw = raw_layout<T> && !std::is_empty_v<T>;

  [[nodiscard]] static constexpr const QueueCore::Type& type() noexcept { return kPayloadType<T>; }

  /// `Core`: anything with the put of a QueueCore.
  template <class Core>
  static bool put(Core& core, const T& item, Deadline deadline) {
    if constexpr (kRaw && sizeof(T) >= QueueCore::kChunkFrom && kLends<Core>) {
      if (core.goes_in_chunk(sizeof(T))) {
        auto chunk = core.allocate_for_item(sizeof(T), deadline);
        if (!chunk) return false;
        store_raw(chunk.data(), item);
        return core.put(chunk, 0, sizeof(T), deadline);
      }
    }
    if constexpr (kRaw && padding_free<T>) {
      return core.put(std::as_bytes(std::span(&item, 1)), {}, deadline);
    } else if constexpr (kRaw) {
      std::array<std::byte, sizeof(T)> bytes;
      store_raw(bytes.data(), item);
      return core.put(bytes, {}, deadline);
    } else {
      if constexpr (kIsRun<T> && kLends<Core>) {
        if (is_plain_run(item) && core.goes_in_chunk(item.size() * sizeof(typename T::value_type)))
          return put_run(core, item, deadline);
      }
      const SpareEncoder encoder;
      encode(*encoder, item);
      return core.put(encoder->bytes(), encoder->handles(), deadline);
    }
  }

  /// How many were put, from the first one on.
  static std::size_t put_many(QueueCore& core, std::span<const T> items, Deadline deadline) {
    std::size_t done = 0;
    while (done < items.size()) {
      const auto [put, tried] = put_some(core, items.subspan(done), deadline);
      done += put;
      if (put < tried) break;
    }
    return done;
  }

  /// `Core`: anything with the get, get_raw and handle of a QueueCore.
  template <class Core>
  [[nodiscard]] static std::optional<T> get(Core& core, Deadline deadline) {
    if constexpr (kFills) {
      T item;
      if (!core.get_raw(bytes_to_fill(item), deadline)) return std::nullopt;
      check_raw(core.handle(), bytes_to_fill(item).data());
      return item;
    } else if constexpr (kRaw && sizeof(T) < QueueCore::kChunkFrom) {
      std::array<std::byte, sizeof(T)> bytes;
      if (!core.get_raw(bytes, deadline)) return std::nullopt;
      return from_raw(core.handle(), bytes.data());
    } else {
      const SpareMessage message;
      if (!core.get(*message, deadline)) return std::nullopt;
      return decode(core.handle(), message->bytes());
    }
  }

  /// get() can read straight into what it returns.
  static constexpr bool kFills = kMayBeFilled<T> && sizeof(T) < QueueCore::kChunkFrom;
  /// As get() without an end of its patience.
  template <class Core>
  [[nodiscard]] static T get_filled(Core& core) requires kFills {
    T item;
    (void)core.get_raw(bytes_to_fill(item), Deadline::never());
    check_raw(core.handle(), bytes_to_fill(item).data());
    return item;
  }

  /// Errors: DecodeError, or what opening a shared object in the item throws.
  [[nodiscard]] static T decode(const Handle& queue, std::span<const std::byte> bytes) {
    if constexpr (kRaw) {
      if (bytes.size() != sizeof(T))
        throw DecodeError(queue.str() + ": took an item of " + std::to_string(bytes.size()) +
                          " bytes where its type has another size");
      return from_raw(queue, bytes.data());
    } else {
      Decoder decoder(bytes);
      T item = detail::decode<T>(decoder);
      decoder.finish();
      return item;
    }
  }

 private:
  template <class Core>
  static constexpr bool kLends = requires(Core& core, Deadline deadline) {
    core.allocate_for_item(std::size_t{}, deadline);
  };
  /// A run of elements that a memcpy may copy straight to where its message will lie.
  [[nodiscard]] static bool is_plain_run(const T& item) {
    using Element = typename InPlace<T>::Element;
    return padding_free<Element> && item.size() <= InPlace<T>::kMostElements;
  }
  template <class Core>
  static bool put_run(Core& core, const T& item, Deadline deadline) {
    auto chunk = core.allocate_for_item(Loan<T>::bytes_for(item.size()), deadline);
    if (!chunk) return false;
    Loan<T> loan(std::move(chunk), item.size());
    copy_bytes(loan.data(), item.data(), loan.span().size_bytes());
    return loan.put_by(
        [&](Chunk& of, std::size_t skip, std::size_t size) { return core.put(of, skip, size, deadline); });
  }

  /// A batch is encoded in parts of about this size.
  static constexpr std::size_t kPartBytes = std::size_t{64} << 10;
  struct PutSome {
    std::size_t put;
    std::size_t tried;
  };
  [[nodiscard]] static PutSome put_some(QueueCore& core, std::span<const T> items, Deadline deadline) {
    if constexpr (kRaw) {
      items = items.first(std::min(items.size(), std::max<std::size_t>(1, kPartBytes / sizeof(T))));
      std::vector<std::byte> bytes(items.size() * sizeof(T));
      for (std::size_t i = 0; i < items.size(); ++i) store_raw(bytes.data() + i * sizeof(T), items[i]);
      return {core.put_many({.bytes = bytes, .each = sizeof(T)}, deadline), items.size()};
    } else {
      const SpareEncoder encoder;
      std::vector<Batch::End> ends;
      do {
        try {
          encode(*encoder, items[ends.size()]);
        } catch (...) {
          // Not swallowed: those before it are put first, then it is the first of the next part and throws again.
          if (ends.empty()) throw;
          break;
        }
        ends.push_back({encoder->bytes().size(), encoder->handles().size()});
      } while (ends.size() < items.size() && encoder->bytes().size() < kPartBytes);
      return {core.put_many({.bytes = encoder->bytes(), .handles = encoder->handles(), .ends = ends}, deadline),
              ends.size()};
    }
  }
  [[nodiscard]] static T from_raw(const Handle& queue, const std::byte* bytes) {
    check_raw(queue, bytes);
    return load_raw<T>(bytes);
  }
  static void check_raw(const Handle& queue, const std::byte* bytes) {
    if (!raw_bytes_are_valid<T>(bytes)) throw DecodeError(queue.str() + ": took bytes that are no " + type().name());
  }
};

}  // namespace brood::inline v1::detail
