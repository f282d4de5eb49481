// for_each, transform_reduce, map_reduce over the workers of a Pool or PoolProxy.                                 (room: pool)
//
//   std::map<std::string, long> counts = brood::map_reduce(pool, files, words_of, std::plus<>{});
//   const double area = brood::transform_reduce(pool, shapes, 0.0, std::plus<>{}, [](const Shape& s) { return s.area(); });
#pragma once

#include <concepts>
#include <cstddef>
#include <map>
#include <ranges>
#include <type_traits>
#include <utility>
#include <vector>

#include "brood/detail/pool_call.hpp"
#include "brood/detail/pool_forms.hpp"
#include "brood/pool_options.hpp"

namespace brood::inline v1 {

namespace detail {

template <class F>
inline constexpr bool kIsTypeAlone = StatelessCallable<F>;

template <class Range>
using item_of = std::remove_cvref_t<std::ranges::range_reference_t<Range>>;

/// In a worker: what is left of some items.
template <class Reduce, class Transform, class Item, class Value>
[[gnu::visibility("hidden")]] Value reduce_items(std::vector<Item> items) {
  Value all = Transform{}(std::move(items.front()));
  for (std::size_t i = 1; i < items.size(); ++i) all = Reduce{}(std::move(all), Transform{}(std::move(items[i])));
  return all;
}

/// The input in pieces, in order.
template <class Range>
[[nodiscard]] std::vector<std::vector<item_of<Range>>> pieces_of(Range& items, std::size_t each) {
  std::vector<std::vector<item_of<Range>>> out;
  for (auto&& item : items) {
    if (out.empty() || out.back().size() == each) out.emplace_back().reserve(each);
    out.back().emplace_back(std::forward<decltype(item)>(item));
  }
  return out;
}

/// How many items of a range make a task, where nobody has said it: the range may not know how many it has.
template <class P, class Range>
[[nodiscard]] std::size_t piece_size(const P& pool, Range& items, const MapOptions& options) {
  const std::size_t asked = checked_chunk(options.chunk_size, 0);
  if (asked != 0) return asked;
  constexpr std::size_t kUnknown = 64;
  constexpr std::size_t kPiecesEach = 4;
  if constexpr (std::ranges::sized_range<Range>) {
    const std::size_t pieces = kPiecesEach * pool.size();
    const auto size = static_cast<std::size_t>(std::ranges::size(items));
    return size == 0 ? 1 : (size + pieces - 1) / pieces;
  } else {
    return kUnknown;
  }
}

template <class Pairs>
using key_of = std::remove_cv_t<typename item_of<Pairs>::first_type>;
template <class Pairs>
using mapped_of = typename item_of<Pairs>::second_type;

template <class Map, class Pairs, class Reduce>
void fold_into(Map& all, Pairs&& pairs, Reduce& reduce) {
  for (auto& [key, value] : pairs) {
    const auto it = all.find(key);
    if (it == all.end()) all.emplace(key, std::move(value));
    else it->second = reduce(std::move(it->second), std::move(value));
  }
}

/// In a worker: the pairs of one input, those of the same key folded into one.
template <class Map, class Reduce, class Item>
[[gnu::visibility("hidden")]] auto map_and_fold(Item item) {
  auto pairs = Map{}(std::move(item));
  std::map<key_of<decltype(pairs)>, mapped_of<decltype(pairs)>> out;
  Reduce reduce{};
  fold_into(out, pairs, reduce);
  return out;
}

}  // namespace detail

/// Have f(item) done for each item; its results are dropped. Errors: as Pool::map.
template <detail::IsPool P, class F, std::ranges::input_range Range>
[[gnu::visibility("hidden")]] void for_each(const P& pool, Range&& items, F&& f, const MapOptions& options = {}) {
  (void)pool.map_async(std::forward<F>(f), std::forward<Range>(items), options).get();
}

/// init ⊕ transform(a) ⊕ transform(b) ⊕ …, in the order of the input. ⊕ is `reduce`, which must be associative: where both
/// functions are lambdas without captures or classes without data (std::plus<>), it is also done in the workers, and only one
/// value for each chunk comes back. Functions given by pointer: `transform` is done in the workers, `reduce` here.
/// Errors: as Pool::map; what `reduce` throws.
/// Source: std::transform_reduce.
template <detail::IsPool P, std::ranges::input_range Range, class Value, class Reduce, class Transform>
[[nodiscard, gnu::visibility("hidden")]] Value transform_reduce(const P& pool, Range&& items, Value init, Reduce reduce,
                                                                Transform transform, const MapOptions& options = {}) {
  using Item = detail::item_of<Range>;
  if constexpr (detail::kIsTypeAlone<Reduce> && detail::kIsTypeAlone<Transform>) {
    MapOptions each = options;
    each.chunk_size = 1;
    const auto pieces = detail::pieces_of(items, detail::piece_size(pool, items, options));
    for (Value& part : pool.map(&detail::reduce_items<Reduce, Transform, Item, Value>, pieces, each))
      init = reduce(std::move(init), std::move(part));
  } else {
    for (auto&& part : pool.map(transform, std::forward<Range>(items), options))
      init = reduce(std::move(init), std::move(part));
  }
  return init;
}

/// For each input map(input) gives pairs of keys and values (a vector of pairs, a std::map, …). The values of each key are folded:
/// reduce(a, b), which must be associative; or, if it takes a key and a vector of values, reduced in one call for each key, in a
/// worker. Where `map` and `reduce` are lambdas without captures or classes without data, the values of one input are folded in
/// its worker.
///
/// The order of the inputs is kept in what is folded. Errors: as Pool::map; what `reduce` throws.
/// Source: J. Dean, S. Ghemawat, MapReduce (OSDI 2004), with its combiner.
template <detail::IsPool P, std::ranges::input_range Range, class Map, class Reduce>
[[nodiscard, gnu::visibility("hidden")]] auto map_reduce(const P& pool, Range&& inputs, Map map, Reduce reduce,
                                                         const MapOptions& options = {}) {
  using Item = detail::item_of<Range>;
  using Pairs = std::remove_cvref_t<std::invoke_result_t<Map&, Item>>;
  using Key = detail::key_of<Pairs>;
  using Mapped = detail::mapped_of<Pairs>;
  if constexpr (std::is_invocable_v<Reduce&, const Key&, const std::vector<Mapped>&>) {
    std::map<Key, std::vector<Mapped>> groups;
    for (Pairs& pairs : pool.map(map, std::forward<Range>(inputs), options)) {
      for (auto& [key, value] : pairs) groups[key].push_back(std::move(value));
    }
    using Result = std::remove_cvref_t<std::invoke_result_t<Reduce&, const Key&, const std::vector<Mapped>&>>;
    std::map<Key, Result> out;
    MapOptions rest = options;
    rest.progress = {};
    auto results = pool.starmap(reduce, groups, rest);
    auto result = results.begin();
    for (const auto& group : groups) out.emplace(group.first, std::move(*result++));
    return out;
  } else {
    std::map<Key, Mapped> all;
    if constexpr (detail::kIsTypeAlone<Map> && detail::kIsTypeAlone<Reduce>) {
      for (auto& part : pool.map(&detail::map_and_fold<Map, Reduce, Item>, std::forward<Range>(inputs), options))
        detail::fold_into(all, part, reduce);
    } else {
      for (Pairs& pairs : pool.map(map, std::forward<Range>(inputs), options)) detail::fold_into(all, pairs, reduce);
    }
    return all;
  }
}

}  // namespace brood::inline v1
