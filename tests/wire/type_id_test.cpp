// Layouts, fingerprints and names of types.
#include <array>
#include <bitset>
#include <chrono>
#include <complex>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <thread>

#include "wire/round_trip.hpp"

using namespace wire_test;
using brood::detail::kRefusal;
using brood::detail::padding_free;
using brood::detail::raw_layout;
using brood::detail::Refusal;
using brood::detail::type_fingerprint;
using brood::detail::type_name;

namespace {

struct Two {
  std::int32_t a;
  double b;
};
struct TwoAgain {
  std::int32_t x;
  double y;
};
struct Swapped {
  double b;
  std::int32_t a;
};
struct Narrow {
  std::int32_t a;
  float b;
};
struct Signed {
  std::uint32_t a;
  double b;
};
struct Nested {
  Two two;
  std::array<std::uint16_t, 3> three;
};
struct NestedLonger {
  Two two;
  std::array<std::uint16_t, 4> three;
};
struct WithString {
  std::int32_t a;
  std::string b;
};
struct WithText {
  std::int64_t a;
  std::string b;
};
struct List {
  int value;
  std::vector<List> more;
};
struct WithPointer {
  int a;
  int* p;
};
struct DeepPointer {
  std::vector<std::optional<WithPointer>> all;
};
struct WithView {
  std::string_view view;
};
struct WithReference {
  int a;
  int& r;
};
struct WithConstReference {
  const std::string& r;
};
struct WithArray {
  int a;
  char name[16];
};
struct Base {
  int a;
};
struct Derived : Base {
  int b;
};
struct WithMutex {
  std::mutex m;
};
struct WithAtomic {
  std::atomic<int> a;
};
union Either {
  int a;
  float b;
};
class Hidden {
 public:
  explicit Hidden(int a) : a_(a) {}
  int a_;
};
struct WithHidden {
  Hidden hidden;
};
struct Polymorphic {
  virtual ~Polymorphic() = default;
};
struct Hundred {
  int a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, c0, c1, c2, c3, c4, c5, c6, c7,
      c8, c9, d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, e0, e1, e2, e3, e4, e5, e6, e7, e8, e9, f0, f1, f2, f3, f4, f5,
      f6, f7, f8, f9, g0, g1, g2, g3, g4, g5, g6, g7, g8, g9, h0, h1, h2, h3, h4, h5, h6, h7, h8, h9, i0, i1, i2, i3,
      i4, i5, i6, i7, i8, i9, j0, j1, j2, j3, j4, j5, j6, j7, j8, j9;
};
struct HundredAndOne {
  int a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, c0, c1, c2, c3, c4, c5, c6, c7,
      c8, c9, d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, e0, e1, e2, e3, e4, e5, e6, e7, e8, e9, f0, f1, f2, f3, f4, f5,
      f6, f7, f8, f9, g0, g1, g2, g3, g4, g5, g6, g7, g8, g9, h0, h1, h2, h3, h4, h5, h6, h7, h8, h9, i0, i1, i2, i3,
      i4, i5, i6, i7, i8, i9, j0, j1, j2, j3, j4, j5, j6, j7, j8, j9;
  std::string last;
};

}  // namespace

TEST(RawLayout, HoldsForPlainDataOnly) {
  static_assert(raw_layout<int> && raw_layout<const int> && raw_layout<bool> && raw_layout<double> &&
                raw_layout<std::byte>);
  static_assert(raw_layout<Two> && raw_layout<Nested> && raw_layout<std::array<Two, 4>> && raw_layout<Hundred>);
  static_assert(raw_layout<std::chrono::nanoseconds> && raw_layout<std::chrono::system_clock::time_point>);
  static_assert(raw_layout<std::complex<double>>);
  static_assert(!raw_layout<int*> && !raw_layout<WithPointer> && !raw_layout<WithView> && !raw_layout<WithReference>);
  static_assert(!raw_layout<std::span<int>> && !raw_layout<WithArray> && !raw_layout<Derived> && !raw_layout<Either>);
  static_assert(!raw_layout<std::string> && !raw_layout<WithString> && !raw_layout<std::optional<int>> &&
                !raw_layout<Hidden>);
  static_assert(!raw_layout<WithHidden> && !raw_layout<long double>);
  static_assert(padding_free<std::array<std::int32_t, 3>> && padding_free<Swapped> == false && !padding_free<Two>);
}

TEST(RawLayout, BytesAreStoredAndLoadedAtAnyAlignment) {
  const Nested value{{-5, 0.25}, {1, 2, 3}};
  std::array<std::byte, sizeof(Nested) + 1> buffer;
  buffer.fill(std::byte{0xcc});
  brood::detail::store_raw(buffer.data() + 1, value);
  const auto copy = brood::detail::load_raw<Nested>(buffer.data() + 1);
  EXPECT_EQ(copy.two.a, -5);
  EXPECT_EQ(copy.two.b, 0.25);
  EXPECT_EQ(copy.three, (std::array<std::uint16_t, 3>{1, 2, 3}));
  EXPECT_EQ(buffer[0], std::byte{0xcc});
  for (std::size_t i = 4; i < 8; ++i) EXPECT_EQ(buffer[1 + i], std::byte{0}) << "padding at " << i;
}

TEST(Fingerprint, FollowsTheStructureAndNothingElse) {
  EXPECT_EQ(type_fingerprint<Two>(), type_fingerprint<TwoAgain>());
  EXPECT_EQ(type_fingerprint<Two>(), type_fingerprint<const Two>());
  EXPECT_EQ(type_fingerprint<long>(), type_fingerprint<long long>());
  std::set<std::uint64_t> seen;
  const auto is_new = [&](std::uint64_t fingerprint) { return seen.insert(fingerprint).second; };
  EXPECT_TRUE(is_new(type_fingerprint<Two>()));
  EXPECT_TRUE(is_new(type_fingerprint<Swapped>()));
  EXPECT_TRUE(is_new(type_fingerprint<Narrow>()));
  EXPECT_TRUE(is_new(type_fingerprint<Signed>()));
  EXPECT_TRUE(is_new(type_fingerprint<Nested>()));
  EXPECT_TRUE(is_new(type_fingerprint<NestedLonger>()));
  EXPECT_TRUE(is_new(type_fingerprint<WithString>()));
  EXPECT_TRUE(is_new(type_fingerprint<WithText>()));
  EXPECT_TRUE(is_new(type_fingerprint<List>()));
  EXPECT_TRUE(is_new(type_fingerprint<std::string>()));
  EXPECT_TRUE(is_new(type_fingerprint<std::vector<int>>()));
  EXPECT_TRUE(is_new(type_fingerprint<std::vector<unsigned>>()));
  EXPECT_TRUE(is_new(type_fingerprint<std::vector<std::vector<int>>>()));
  EXPECT_TRUE(is_new(type_fingerprint<std::set<int>>()));
  EXPECT_TRUE(is_new((type_fingerprint<std::map<int, int>>())));
  EXPECT_TRUE(is_new((type_fingerprint<std::pair<int, int>>())));
  EXPECT_TRUE(is_new((type_fingerprint<std::variant<int, int>>())));
  EXPECT_TRUE(is_new(type_fingerprint<std::optional<int>>()));
  EXPECT_TRUE(is_new(type_fingerprint<std::bitset<5>>()));
  EXPECT_TRUE(is_new(type_fingerprint<std::bitset<6>>()));
  EXPECT_TRUE(is_new(type_fingerprint<std::chrono::seconds>()));
  EXPECT_TRUE(is_new(type_fingerprint<std::chrono::milliseconds>()));
  EXPECT_TRUE(is_new(type_fingerprint<std::int32_t>()));
  EXPECT_TRUE(is_new(type_fingerprint<std::uint32_t>()));
  EXPECT_TRUE(is_new(type_fingerprint<float>()));
  EXPECT_TRUE(is_new(type_fingerprint<bool>()));
}

// Numbers that are part of the format: they may not differ between compilers, builds or releases.
TEST(Fingerprint, IsTheSameUnderEveryCompiler) {
  EXPECT_EQ(type_fingerprint<std::int32_t>(), 0x4f8d5c1bd9e93dd2ULL);
  EXPECT_EQ(type_fingerprint<Two>(), 0x40bc7869f31cf136ULL);
  EXPECT_EQ(type_fingerprint<Nested>(), 0x984f8e6982fee595ULL);
  EXPECT_EQ(type_fingerprint<WithString>(), 0xcb7933f4bb640c72ULL);
  EXPECT_EQ(type_fingerprint<List>(), 0xf9881ed69ccbebdcULL);
  EXPECT_EQ((type_fingerprint<std::map<std::string, std::vector<double>>>()), 0x5530d42225342042ULL);
  EXPECT_EQ((type_fingerprint<std::tuple<std::byte, std::chrono::system_clock::time_point>>()), 0xf1de2d5f97b0fc3fULL);
}

TEST(TypeName, IsShortAndReadable) {
  EXPECT_EQ(type_name<int>(), "int");
  EXPECT_EQ(type_name<std::string>(), "std::string");
  EXPECT_EQ(type_name<std::vector<std::string>>(), "std::vector<std::string>");
  EXPECT_EQ((type_name<std::map<std::string, int>>()), "std::map<std::string, int>");
  EXPECT_EQ(type_name<Two>(), "(anonymous)::Two");
  EXPECT_EQ(type_name<brood::Handle>(), "brood::Handle");
  EXPECT_EQ(type_name<std::unique_ptr<int>>(), "std::unique_ptr<int>");
  using Long = std::tuple<std::map<std::string, int>, std::map<std::string, int>, std::map<std::string, int>>;
  EXPECT_EQ(type_name<Long>().size(), 60U);
  EXPECT_EQ(type_name<Long>().substr(57), "...");
}

TEST(Refusals, HaveTheRightReason) {
  static_assert(kRefusal<int> == Refusal::none && kRefusal<List> == Refusal::none &&
                kRefusal<Hundred> == Refusal::none);
  static_assert(kRefusal<int*> == Refusal::pointer && kRefusal<void (*)()> == Refusal::pointer);
  static_assert(kRefusal<int&> == Refusal::reference && kRefusal<std::nullptr_t> == Refusal::pointer);
  static_assert(kRefusal<WithPointer> == Refusal::pointer && kRefusal<DeepPointer> == Refusal::pointer);
  static_assert(kRefusal<std::vector<const char*>> == Refusal::pointer);
  static_assert(kRefusal<std::map<int, std::variant<int, int*>>> == Refusal::pointer);
  static_assert(kRefusal<std::string_view> == Refusal::view && kRefusal<std::span<int>> == Refusal::view);
  static_assert(kRefusal<std::span<const std::byte, 4>> == Refusal::view && kRefusal<WithView> == Refusal::view);
  static_assert(kRefusal<WithReference> == Refusal::reference && kRefusal<WithConstReference> == Refusal::reference);
  static_assert(kRefusal<std::function<void()>> == Refusal::function_object);
  static_assert(kRefusal<std::thread> == Refusal::thread && kRefusal<std::jthread> == Refusal::thread);
  static_assert(kRefusal<std::mutex> == Refusal::mutex && kRefusal<std::recursive_timed_mutex> == Refusal::mutex);
  static_assert(kRefusal<WithMutex> == Refusal::immovable && kRefusal<WithAtomic> == Refusal::immovable);
  static_assert(kRefusal<std::shared_ptr<int>> == Refusal::shared_pointer);
  static_assert(kRefusal<std::unique_ptr<Polymorphic>> == Refusal::polymorphic);
  static_assert(kRefusal<Either> == Refusal::union_type && kRefusal<WithArray> == Refusal::c_array);
  static_assert(kRefusal<Derived> == Refusal::base_class && kRefusal<Hidden> == Refusal::unknown);
  static_assert(kRefusal<WithHidden> == Refusal::unknown && kRefusal<HundredAndOne> == Refusal::too_many_fields);
  int n = 1;
  const auto captures = [&n] { return ++n; };
  static_assert(kRefusal<std::remove_const_t<decltype(captures)>> == Refusal::closure);
  EXPECT_EQ(captures(), 2);
}
