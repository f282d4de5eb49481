// Random values of random shape survive the trip, and their encodings can be skipped and never be cut.
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <random>

#include "wire/round_trip.hpp"

using namespace wire_test;

namespace {

struct Leaf {
  std::uint16_t a;
  std::int64_t b;
  bool c;
  double d;
  bool operator==(const Leaf&) const = default;
};
struct Node {
  std::string name;
  std::variant<std::int32_t, std::string, Leaf, std::vector<std::uint8_t>> value;
  std::map<std::string, std::optional<std::int64_t>> table;
  std::vector<Leaf> leaves;
  std::vector<Node> children;
  std::array<std::vector<bool>, 2> flags;
  bool operator==(const Node&) const = default;
};

class Maker {
 public:
  explicit Maker(std::uint64_t seed) : random_(seed) {}
  std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
  std::int64_t number() {
    const auto bits = static_cast<int>(below(64));
    return static_cast<std::int64_t>(random_()) >> bits;
  }
  std::string text() {
    std::string text(below(below(20) == 0 ? 400 : 40), ' ');
    for (char& c : text) c = static_cast<char>(random_());
    return text;
  }
  Leaf leaf() {
    return {static_cast<std::uint16_t>(random_()), number(), below(2) == 1, static_cast<double>(number()) / 1024};
  }
  Node node(int depth) {
    Node node;
    node.name = text();
    switch (below(4)) {
      case 0: node.value = static_cast<std::int32_t>(number()); break;
      case 1: node.value = text(); break;
      case 2: node.value = leaf(); break;
      default: node.value = std::vector<std::uint8_t>(below(300), static_cast<std::uint8_t>(random_())); break;
    }
    for (std::uint64_t i = below(4); i > 0; --i) {
      node.table[text()] = below(3) == 0 ? std::nullopt : std::optional(number());
    }
    for (std::uint64_t i = below(4); i > 0; --i) node.leaves.push_back(leaf());
    for (auto& flags : node.flags) {
      for (std::uint64_t i = below(5); i > 0; --i) flags.push_back(below(2) == 1);
    }
    if (depth > 0) {
      for (std::uint64_t i = below(4); i > 0; --i) node.children.push_back(this->node(depth - 1));
    }
    return node;
  }

 private:
  std::mt19937_64 random_;
};

std::uint64_t first_seed() {
  const char* given = std::getenv("BROOD_TEST_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : 1;
}

}  // namespace

TEST(CodecProperty, RandomTreesSurviveTheTrip) {
  const std::uint64_t first = first_seed();
  for (std::uint64_t seed = first; seed < first + 300; ++seed) {
    SCOPED_TRACE("BROOD_TEST_SEED=" + std::to_string(seed));
    Maker maker(seed);
    const Node node = maker.node(3);
    const std::vector<std::byte> bytes = bytes_of(node);
    ASSERT_TRUE(from_bytes<Node>(bytes) == node);
    ASSERT_EQ(hex(bytes_of(from_bytes<Node>(bytes))), hex(bytes)) << "one value has one encoding";
    brood::Decoder in(bytes);
    in.skip();
    in.finish();
    for (int i = 0; i < 20; ++i) {
      const auto part = std::span(bytes).first(maker.below(bytes.size()));
      ASSERT_THROW(from_bytes<Node>(std::vector(part.begin(), part.end())), brood::DecodeError);
    }
  }
}

TEST(CodecProperty, RandomDamageIsReadOrRefused) {
  const std::uint64_t first = first_seed();
  int refused = 0;
  for (std::uint64_t seed = first; seed < first + 200; ++seed) {
    SCOPED_TRACE("BROOD_TEST_SEED=" + std::to_string(seed));
    Maker maker(seed);
    const std::vector<std::byte> bytes = bytes_of(maker.node(2));
    for (int i = 0; i < 50; ++i) {
      std::vector<std::byte> damaged = bytes;
      for (std::uint64_t n = 1 + maker.below(3); n > 0; --n) {
        damaged[maker.below(damaged.size())] = static_cast<std::byte>(maker.below(256));
      }
      try {
        (void)bytes_of(from_bytes<Node>(damaged));  // what was accepted is a whole value again
      } catch (const brood::DecodeError&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 100);
}
