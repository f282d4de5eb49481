// A call is packed for the target's parameters, unpacked in two steps, and run once.
#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "brood/detail/callable.hpp"
#include "wire/round_trip.hpp"

using namespace wire_test;
using brood::detail::pack_call;
using brood::detail::PackedCall;
using brood::detail::unpack_call;

namespace {

/// A shared object of this test, which counts how many of it are open.
class Gate {
 public:
  explicit Gate(std::uint64_t id) : id_(id) { ++alive; }
  Gate(Gate&& other) noexcept : id_(std::exchange(other.id_, 0)) { ++alive; }
  Gate& operator=(Gate&&) = delete;
  ~Gate() { --alive; }
  [[nodiscard]] brood::Handle handle() const { return {brood::Kind::event, id_}; }
  static Gate open(const brood::Handle& handle) {
    if (handle.id() == 404) throw brood::HandleError("gate 404 is gone");
    return Gate(handle.id());
  }
  [[nodiscard]] std::uint64_t id() const { return id_; }
  static inline int alive = 0;

 private:
  std::uint64_t id_;
};

struct Order {
  int id;
  std::string what;
};

std::string said;

void no_arguments() { said = "called"; }
void takes_everything(int n, const std::string& text, Gate& gate, Gate own, std::vector<int>&& list, const Order& order,
                      std::unique_ptr<int> pointer) {
  said = std::to_string(n) + " " + text + " " + std::to_string(gate.id()) + " " + std::to_string(own.id()) + " " +
         std::to_string(list.size()) + " " + order.what + " " + std::to_string(*pointer);
}
std::size_t length(std::string text) noexcept { return text.size(); }
double wide(double value) { return value / 2; }
const Order* pointer_result(int) { return nullptr; }

template <class R>
R result_of(const PackedCall& call) {
  const auto ready = unpack_call(call.bytes);
  (*ready)();
  brood::Encoder out;
  ready->encode_result(out);
  return from_bytes<R>(out.bytes());
}

}  // namespace

TEST(Callable, RunsAFunctionWithoutArguments) {
  said.clear();
  const PackedCall call = pack_call(no_arguments);
  EXPECT_TRUE(call.in_main_program);
  const auto ready = unpack_call(call.bytes);
  EXPECT_EQ(said, "");
  (*ready)();
  EXPECT_EQ(said, "called");
}

TEST(Callable, ArgumentsTakeTheTypesOfTheParameters) {
  EXPECT_EQ(result_of<std::size_t>(pack_call(length, "literal")), 7U);
  const char* text = "pointer";
  EXPECT_EQ(result_of<std::size_t>(pack_call(length, text)), 7U);
  EXPECT_EQ(result_of<std::size_t>(pack_call(length, std::string_view("view"))), 4U);
  EXPECT_EQ(result_of<double>(pack_call(wide, 3)), 1.5) << "an int argument for a double parameter";
  EXPECT_EQ(result_of<double>(pack_call(&wide, 3.0F)), 1.5);
}

TEST(Callable, EveryWayToTakeAnArgument) {
  const Gate lent(11);
  Gate given(12);
  const PackedCall call = pack_call(takes_everything, short{1}, "text", lent, given, std::vector<int>{1, 2},
                                    Order{3, "order"}, std::make_unique<int>(9));
  ASSERT_EQ(call.handles.size(), 2U);
  EXPECT_EQ(call.handles[0].id(), 11U);
  EXPECT_EQ(call.handles[1].id(), 12U);
  const auto ready = unpack_call(call.bytes);
  (*ready)();
  EXPECT_EQ(said, "1 text 11 12 2 order 9");
}

TEST(Callable, LambdasGenericOnesToo) {
  const Gate gate(5);
  EXPECT_EQ(result_of<int>(pack_call([](int a, int b) { return a * b; }, 6, 7)), 42);
  EXPECT_EQ(result_of<int>(pack_call([](int n) noexcept { return n; }, 6)), 6);
  EXPECT_EQ(result_of<std::string>(pack_call([](auto text, auto n) { return text + std::to_string(n); }, "n = ", 3)),
            "n = 3");
  EXPECT_EQ(result_of<std::uint64_t>(pack_call([](auto& g) { return g.id(); }, gate)), 5U);
  EXPECT_EQ(result_of<std::size_t>(pack_call([](const auto& text) { return text.size(); }, std::string("abc"))), 3U);
  EXPECT_EQ(result_of<std::size_t>(pack_call([](auto... parts) { return sizeof...(parts); }, 1, "2", 3.0)), 3U);
  EXPECT_EQ(result_of<int>(pack_call(std::plus<>(), 1, 2)), 3);
}

TEST(Callable, SharedObjectsLiveUntilTheCallIsDestroyed) {
  const Gate gate(5);
  const PackedCall call = pack_call([](Gate&) {}, gate);
  ASSERT_EQ(Gate::alive, 1);
  {
    const auto ready = unpack_call(call.bytes);
    EXPECT_EQ(Gate::alive, 2) << "open before the target runs";
    (*ready)();
    EXPECT_EQ(Gate::alive, 2);
  }
  EXPECT_EQ(Gate::alive, 1);
}

TEST(Callable, FailuresOfUnpackingComeBeforeTheTarget) {
  const Gate gone(404);
  said.clear();
  const PackedCall call = pack_call([](Gate&) { said = "ran"; }, gone);
  EXPECT_EQ(message_of<brood::HandleError>([&] { (void)unpack_call(call.bytes); }), "gate 404 is gone");
  EXPECT_EQ(said, "");
}

TEST(Callable, DamagedCallsAreRefused) {
  const PackedCall call = pack_call(length, "text");
  for (std::size_t size = 0; size < call.bytes.size(); ++size) {
    const std::vector<std::byte> part(call.bytes.begin(), call.bytes.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_THROW((void)unpack_call(part), brood::DecodeError) << size;
  }
  std::vector<std::byte> longer = call.bytes;
  longer.push_back(std::byte{0xc0});
  EXPECT_CONTAINS(message_of<brood::DecodeError>([&] { (void)unpack_call(longer); }), "end of the message");
  std::vector<std::byte> newer = call.bytes;
  newer[1] = std::byte{2};
  EXPECT_CONTAINS(message_of<brood::DecodeError>([&] { (void)unpack_call(newer); }), "version 2");
}

TEST(Callable, RunsOnceAndKeepsItsResult) {
  const auto ready = unpack_call(pack_call(length, "four").bytes);
  brood::Encoder out;
  EXPECT_CONTAINS(message_of<brood::UsageError>([&] { ready->encode_result(out); }), "has not returned");
  (*ready)();
  EXPECT_CONTAINS(message_of<brood::UsageError>([&] { (*ready)(); }), "only once");
  ready->encode_result(out);
  EXPECT_EQ(from_bytes<std::size_t>(out.bytes()), 4U);
}

TEST(Callable, ATargetThatThrowsHasNoResultAndKeepsItsArguments) {
  const Gate gate(5);
  const auto ready = unpack_call(pack_call([](Gate&) -> int { throw std::out_of_range("target"); }, gate).bytes);
  EXPECT_EQ(message_of<std::out_of_range>([&] { (*ready)(); }), "target");
  EXPECT_EQ(Gate::alive, 2);
  brood::Encoder out;
  EXPECT_THROW(ready->encode_result(out), brood::UsageError);
}

TEST(Callable, ResultsThatCannotTravelAreReportedWhenAskedFor) {
  const auto ready = unpack_call(pack_call(pointer_result, 1).bytes);
  (*ready)();
  brood::Encoder out;
  EXPECT_CONTAINS(message_of<brood::UsageError>([&] { ready->encode_result(out); }), "cannot travel");
}

static_assert(std::is_same_v<brood::detail::call_result_t<decltype(&length), const char*>, std::size_t>);
static_assert(
    std::is_same_v<brood::detail::call_result_t<decltype([](auto a) { return a; }), const char (&)[4]>, std::string>);
