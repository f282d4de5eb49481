// Every type that travels arrives as it was.
#include <bitset>
#include <chrono>
#include <cmath>
#include <complex>
#include <deque>
#include <filesystem>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "wire/round_trip.hpp"

using namespace wire_test;

namespace {

enum class Colour : std::uint8_t { red = 1, blue = 200 };
enum class Negative : std::int16_t { low = -300 };

struct Point {
  std::int32_t x;
  std::int32_t y;
  bool operator==(const Point&) const = default;
};
struct Padded {
  std::uint8_t tag;
  double weight;
  bool flag;
  Point at;
  bool operator==(const Padded&) const = default;
};
struct Person {
  std::string name;
  int age;
  std::vector<Point> path;
  std::optional<std::string> nick;
  bool operator==(const Person&) const = default;
};
struct Tree {
  int value;
  std::vector<Tree> children;
  bool operator==(const Tree&) const = default;
};
struct Link {
  int value;
  std::unique_ptr<Link> next;
};
struct Nothing {
  bool operator==(const Nothing&) const = default;
};
struct Fixed {
  const int id;
  std::string text;
};

class Account {
 public:
  Account() = default;
  Account(std::string owner, long balance) : owner_(std::move(owner)), balance_(balance) {}
  template <class Archive>
  void serialize(Archive& ar) {
    ar(owner_, balance_);
  }
  bool operator==(const Account& other) const { return owner_ == other.owner_ && balance_ == other.balance_; }

 private:
  std::string owner_;
  long balance_ = 0;
};

}  // namespace

namespace elsewhere {
struct Celsius {
  explicit Celsius(double d) : degrees(d) {}
  double degrees;
};
class Old {  // as written for Boost: a version and operator&
 public:
  int a = 0;
  std::string b;
  Old() = default;
  bool operator==(const Old& other) const { return a == other.a && b == other.b; }
};
template <class Archive>
void serialize(Archive& ar, Old& old, unsigned /*version*/) {
  ar& old.a& old.b;
}
struct Point3 {  // trivially copyable, but its author says what counts
  int x = 0, y = 0, cached = 0;
  template <class Archive>
  void serialize(Archive& ar) {
    ar(x, y);
  }
};
}  // namespace elsewhere

template <>
struct brood::Codec<elsewhere::Celsius> {
  static void encode(brood::Encoder& out, const elsewhere::Celsius& value) { out.f64(value.degrees); }
  static elsewhere::Celsius decode(brood::Decoder& in) { return elsewhere::Celsius(in.f64()); }
};

namespace {

template <class T>
void expect_same(const T& value) {
  EXPECT_EQ(round_trip(value), value);
}
template <class Int>
void expect_int_extremes() {
  using Limits = std::numeric_limits<Int>;
  for (const Int value :
       {Limits::min(), Limits::max(), Int(0), Int(1), Int(-1), Int(31), Int(32), Int(127), Int(-32), Int(-33)}) {
    expect_same(value);
  }
}

}  // namespace

TEST(Codec, IntegersOfEveryWidthAtTheirExtremes) {
  expect_int_extremes<char>();
  expect_int_extremes<signed char>();
  expect_int_extremes<unsigned char>();
  expect_int_extremes<short>();
  expect_int_extremes<unsigned short>();
  expect_int_extremes<int>();
  expect_int_extremes<unsigned>();
  expect_int_extremes<long>();
  expect_int_extremes<unsigned long>();
  expect_int_extremes<long long>();
  expect_int_extremes<unsigned long long>();
  expect_int_extremes<wchar_t>();
  expect_int_extremes<char16_t>();
  for (int shift = 0; shift < 64; ++shift) {
    const std::uint64_t power = std::uint64_t{1} << shift;
    for (const std::uint64_t value : {power - 1, power, power + 1}) {
      expect_same(value);
      expect_same(static_cast<std::int64_t>(value));
      expect_same(-static_cast<std::int64_t>(value >> 1));
    }
  }
}

TEST(Codec, ScalarsAndEnums) {
  expect_same(true);
  expect_same(false);
  expect_same(std::byte{0xa5});
  expect_same(Colour::blue);
  expect_same(Negative::low);
  for (const double value : {0.0, -0.0, 1.5, std::numeric_limits<double>::max(),
                             std::numeric_limits<double>::denorm_min(), std::numeric_limits<double>::infinity()}) {
    expect_same(value);
    expect_same(-value);
    expect_same(static_cast<long double>(value) / 3);
  }
  EXPECT_TRUE(std::signbit(round_trip(-0.0)));
  EXPECT_TRUE(std::isnan(round_trip(std::nan(""))));
  expect_same(std::numeric_limits<float>::max());
  expect_same(std::numeric_limits<float>::denorm_min());
  EXPECT_TRUE(std::isnan(round_trip(std::nanf(""))));
}

TEST(Codec, TextOfEveryLengthClass) {
  for (const std::size_t size : {0UL, 1UL, 31UL, 32UL, 255UL, 256UL, 65535UL, 65536UL, 100000UL}) {
    std::string text(size, 'x');
    if (size > 2) text[1] = '\0';
    expect_same(text);
    expect_same(std::vector<char>(size, 'y'));
    expect_same(std::vector<std::byte>(size, std::byte{7}));
    expect_same(std::vector<std::uint8_t>(size, 200));
  }
  EXPECT_TRUE(round_trip(std::u8string(u8"gr\u00fc\u00dfe")) == u8"gr\u00fc\u00dfe");  // gtest cannot print it
  expect_same(std::u16string(u"gr\u00fc\u00dfe"));
  expect_same(std::wstring(L"gr\u00fc\u00dfe"));
}

TEST(Codec, Containers) {
  expect_same(std::vector<int>{});
  expect_same(std::vector<int>{1, -2, 3});
  expect_same(std::vector<double>(1000, 0.25));
  expect_same(std::vector<bool>{true, false, true});
  expect_same(std::vector<std::string>{"a", "", "c"});
  expect_same(std::vector<Point>{{1, 2}, {3, 4}});
  expect_same(std::vector<Padded>{{1, 2.5, true, {3, 4}}, {5, 6.5, false, {7, 8}}});
  expect_same(std::vector<Nothing>(3));
  expect_same(std::vector<std::vector<std::vector<int>>>{{{1}, {}}, {}, {{2, 3}}});
  expect_same(std::array<int, 3>{1, 2, 3});
  expect_same(std::array<std::string, 2>{"a", "b"});
  expect_same(std::array<std::string, 0>{});
  expect_same(std::list<int>{1, 2, 3});
  expect_same(std::list<std::string>{"x"});
  expect_same(std::deque<Point>{{1, 2}});
  expect_same(std::map<int, std::string>{{1, "a"}, {-1, "b"}});
  expect_same(std::multimap<int, int>{{1, 1}, {1, 2}});
  expect_same(std::unordered_map<std::string, std::vector<int>>{{"a", {1}}, {"b", {}}});
  expect_same(std::set<std::string>{"a", "b"});
  expect_same(std::multiset<int>{1, 1, 2});
  expect_same(std::unordered_set<int>{1, 2, 3});
  expect_same(std::pair<int, std::string>{1, "a"});
  expect_same(std::tuple<int, std::string, bool>{1, "a", true});
  expect_same(std::tuple<>{});
  expect_same(std::vector<std::array<bool, 2>>{{true, false}});
}

TEST(Codec, OptionalsVariantsAndOwners) {
  expect_same(std::optional<int>{});
  expect_same(std::optional<int>{7});
  using Twice = std::optional<std::optional<int>>;
  expect_same(Twice{});
  expect_same(Twice{std::in_place});
  expect_same(Twice{std::in_place, 5});
  EXPECT_TRUE(round_trip(Twice{std::in_place}).has_value()) << "an inner nothing is not an outer nothing";
  using Either = std::variant<std::monostate, int, std::string, Point>;
  expect_same(Either{});
  expect_same(Either{3});
  expect_same(Either{"text"});
  expect_same(Either{Point{1, 2}});
  EXPECT_EQ(round_trip(std::unique_ptr<int>()), nullptr);
  EXPECT_EQ(*round_trip(std::make_unique<std::string>("owned")), "owned");
}

TEST(Codec, LibraryValues) {
  using namespace std::chrono;
  expect_same(nanoseconds::min());
  expect_same(hours::max());
  expect_same(duration<double, std::milli>(1.25));
  expect_same(system_clock::now());
  expect_same(steady_clock::now());
  expect_same(std::filesystem::path("/a/b c/\xff"));
  expect_same(std::make_error_code(std::errc::no_space_on_device));
  expect_same(std::error_code(EPIPE, std::system_category()));
  expect_same(std::complex<double>(1.5, -2));
  expect_same(std::vector<std::complex<float>>{{1, 2}, {3, 4}});
  expect_same(std::bitset<0>{});
  expect_same(std::bitset<13>(0x1555));
  expect_same(std::bitset<200>{}.set());
}

TEST(Codec, ErrorCodeOfAnUnknownCategoryIsRefusedBySender) {
  struct Mine : std::error_category {
    [[nodiscard]] const char* name() const noexcept override { return "mine"; }
    [[nodiscard]] std::string message(int) const override { return "?"; }
  };
  static const Mine mine;
  const std::string what = message_of<brood::UsageError>([] { bytes_of(std::error_code(1, mine)); });
  EXPECT_CONTAINS(what, "category 'mine'");
}

TEST(Codec, StructsNeedNothing) {
  expect_same(Point{-1, std::numeric_limits<int>::max()});
  expect_same(Padded{9, -0.5, true, {1, 2}});
  expect_same(Person{"Ada", 36, {{1, 2}, {3, 4}}, "al"});
  expect_same(Person{});
  expect_same(Nothing{});
  expect_same(Tree{1, {{2, {}}, {3, {{4, {}}}}}});
  const Fixed fixed = round_trip(Fixed{4, "four"});
  EXPECT_EQ(fixed.id, 4);
  EXPECT_EQ(fixed.text, "four");
  Link list{1, std::make_unique<Link>(Link{2, nullptr})};
  const Link copy = round_trip(list);
  ASSERT_TRUE(copy.next);
  EXPECT_EQ(copy.next->value, 2);
  EXPECT_FALSE(copy.next->next);
}

TEST(Codec, SerializeMembersAndFunctions) {
  expect_same(Account("ada", 1815));
  elsewhere::Old old;
  old.a = 7;
  old.b = "old";
  expect_same(old);
  expect_same(std::vector<Account>{{"a", 1}, {"b", 2}});
  const elsewhere::Point3 point = round_trip(elsewhere::Point3{1, 2, 99});
  EXPECT_EQ(point.x, 1);
  EXPECT_EQ(point.y, 2);
  EXPECT_EQ(point.cached, 0) << "what the author left out must not travel";
  EXPECT_FALSE(brood::detail::raw_layout<elsewhere::Point3>);
}

TEST(Codec, SpecialisationComesFirst) {
  EXPECT_EQ(round_trip(elsewhere::Celsius(36.6)).degrees, 36.6);
  EXPECT_EQ(hex(bytes_of(elsewhere::Celsius(1.0))), "cb3ff0000000000000");
  EXPECT_EQ(round_trip(std::optional(elsewhere::Celsius(1.0)))->degrees, 1.0);
  EXPECT_EQ(round_trip(std::vector{elsewhere::Celsius(1.0)}).at(0).degrees, 1.0);
}

TEST(Codec, PaddingDoesNotCarryTheSendersMemory) {
  using Storage = std::array<std::byte, sizeof(Padded)>;
  const auto with_noise = [](std::byte noise) {
    alignas(Padded) Storage storage;
    storage.fill(noise);
    auto* padded = ::new (storage.data()) Padded;
    padded->tag = 1;
    padded->weight = 2;
    padded->flag = true;
    padded->at = {3, 4};
    return bytes_of(*padded);
  };
  EXPECT_EQ(hex(with_noise(std::byte{0x00})), hex(with_noise(std::byte{0xff})));
}

TEST(Codec, RawArraysAlsoReadFromPlainArrays) {
  brood::Encoder out;
  out.array_header(3);
  for (const int value : {1, 2, -3}) out.sint(value);
  EXPECT_EQ(from_bytes<std::vector<int>>(out.bytes()), (std::vector<int>{1, 2, -3}));
}

// --- shared objects --------------------------------------------------------------------------------------------------

namespace {
/// A shared object of this test: opening it is counted.
class Gate {
 public:
  explicit Gate(std::uint64_t id) : id_(id) {}
  Gate(Gate&& other) noexcept : id_(std::exchange(other.id_, 0)) {}
  Gate& operator=(Gate&&) = delete;
  [[nodiscard]] brood::Handle handle() const { return {brood::Kind::event, id_}; }
  static Gate open(const brood::Handle& handle) {
    ++opened;
    return Gate(handle.id());
  }
  [[nodiscard]] std::uint64_t id() const { return id_; }
  static inline int opened = 0;

 private:
  std::uint64_t id_;
};
struct Job {
  int id;
  Gate reply;
  std::string text;
};
}  // namespace

static_assert(brood::Shareable<Gate> && !brood::Serializable<Gate> && brood::Transferable<Gate>);
static_assert(brood::Serializable<Job> && brood::Transferable<Job>);

TEST(Codec, SharedObjectsTravelAsHandles) {
  brood::Encoder out;
  Gate::opened = 0;
  brood::encode(out, Job{7, Gate(0xabc), "seven"});
  ASSERT_EQ(out.handles().size(), 1U);
  EXPECT_EQ(out.handles()[0], brood::Handle(brood::Kind::event, 0xabc));
  EXPECT_EQ(Gate::opened, 0);
  const Job job = from_bytes<Job>(out.bytes());
  EXPECT_EQ(Gate::opened, 1);
  EXPECT_EQ(job.id, 7);
  EXPECT_EQ(job.reply.id(), 0xabcU);
  EXPECT_EQ(job.text, "seven");
  out.clear();
  EXPECT_TRUE(out.handles().empty());
  EXPECT_TRUE(out.bytes().empty());
}

TEST(Codec, ContainersOfSharedObjects) {
  std::vector<Gate> gates;
  gates.emplace_back(1);
  gates.emplace_back(2);
  brood::Encoder out;
  brood::encode(out, gates);
  EXPECT_EQ(out.handles().size(), 2U);
  EXPECT_EQ(from_bytes<std::vector<Gate>>(out.bytes()).at(1).id(), 2U);
}
