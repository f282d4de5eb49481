#include "manager/pool_order.hpp"

#include <span>
#include <utility>

#include "brood/detail/codec.hpp"

namespace brood::inline v1::manager {
namespace {

constexpr std::size_t kParts = 9;

/// All but the first three parts and the last one, from either kind of options.
template <class Options>
void write_limits(Encoder& out, const Options& options) {
  detail::encode(out, options.tasks_per_child);
  detail::encode(out, options.max_memory_growth);
  out.uint(options.max_idle_deaths);
  out.str(options.name);
  detail::encode(out, options.start_method);
}

}  // namespace

void PoolOrder::write(Encoder& out, std::optional<std::int64_t> workers, const ManagedPoolOptions& options) {
  out.array_header(kParts);
  detail::encode(out, workers);
  const detail::PackedCall& call = options.initializer.call();
  if (call.bytes.empty()) out.nil();
  else out.value(call.bytes, call.handles);
  const std::type_info* const state = options.initializer.state();
  detail::encode(out, state != nullptr ? std::optional<std::string>(state->name()) : std::nullopt);
  write_limits(out, options);
  out.uint(static_cast<std::uint64_t>(End::none));
}

void PoolOrder::write(Encoder& out) const {
  out.array_header(kParts);
  detail::encode(out, workers);
  if (initializer.bytes.empty()) out.nil();
  else initializer.encode(out);
  detail::encode(out, state);
  write_limits(out, *this);
  out.uint(static_cast<std::uint64_t>(end));
}

PoolOrder PoolOrder::read(Objects& objects, Decoder& in) {
  in.expect_array(kParts, "the arguments of a Pool");
  PoolOrder out;
  out.workers = detail::decode<std::optional<std::int64_t>>(in);
  if (!in.try_nil()) out.initializer = take_blob(objects, in);
  out.state = detail::decode<std::optional<std::string>>(in);
  out.tasks_per_child = detail::decode<std::optional<std::int64_t>>(in);
  out.max_memory_growth = detail::decode<std::optional<std::size_t>>(in);
  out.max_idle_deaths = in.integer<unsigned>();
  out.name = in.str();
  out.start_method = detail::decode<std::optional<StartMethod>>(in);
  const auto end = in.integer<std::uint8_t>();
  if (end > static_cast<std::uint8_t>(End::terminated)) in.fail("what became of a Pool", std::to_string(end));
  out.end = static_cast<End>(end);
  return out;
}

PoolOptions PoolOrder::options() const {
  PoolOptions out;
  if (!initializer.bytes.empty()) {
    const std::span<const std::byte> packed = std::as_bytes(std::span(initializer.bytes));
    detail::PackedCall call;
    call.bytes.assign(packed.begin(), packed.end());
    out.initializer = Initializer::of_packed(std::move(call));
  }
  out.tasks_per_child = tasks_per_child;
  out.max_memory_growth = max_memory_growth;
  out.max_idle_deaths = max_idle_deaths;
  out.process.name = name;
  out.process.start_method = start_method;
  return out;
}

}  // namespace brood::inline v1::manager
