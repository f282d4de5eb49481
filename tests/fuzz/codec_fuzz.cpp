// Hostile bytes against the codec: any input is either refused with DecodeError or is a value that travels again.
// The first byte of the input picks the type.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>

#include "brood/detail/codec.hpp"
#include "fuzz/replay.hpp"

namespace {

struct Plain {
  std::uint8_t a;
  bool b;
  double c;
  std::array<std::uint16_t, 3> d;
};
struct Tree {
  std::string name;
  std::vector<Tree> children;
  std::unique_ptr<Tree> next;
};
enum class Colour : std::uint8_t { red, green };
struct Everything {
  std::string text;
  std::vector<Plain> plain;
  std::vector<std::string> names;
  std::map<std::string, std::optional<std::int64_t>> table;
  std::unordered_map<std::int32_t, float> numbers;
  std::set<std::uint16_t> ids;
  std::list<bool> flags;
  std::variant<std::monostate, int, std::string, Plain> either;
  std::tuple<Colour, std::byte, char16_t> three;
  std::filesystem::path path;
  std::error_code code;
  std::chrono::milliseconds pause;
  std::optional<std::optional<int>> twice;
  long double wide;
};
/// A shared object that opens whatever handle it is given.
struct Any {
  brood::Handle kept;
  [[nodiscard]] brood::Handle handle() const { return kept; }
  static Any open(const brood::Handle& handle) { return {handle}; }
};

[[noreturn]] void fault(const char* what) {
  std::fprintf(stderr, "codec_fuzz: %s\n", what);
  std::abort();
}

template <class T>
void try_as(std::span<const std::byte> bytes) {
  brood::Decoder in(bytes);
  try {
    const T value = brood::decode<T>(in);
    if (in.offset() > bytes.size()) fault("read behind the end");
    brood::Encoder out;
    brood::encode(out, value);
    brood::Decoder again(out.bytes());
    brood::Encoder second;
    brood::encode(second, brood::decode<T>(again));
    again.finish();
    if (!std::ranges::equal(out.bytes(), second.bytes())) fault("one value, two encodings");
  } catch (const brood::DecodeError& error) {
    if (std::string_view(error.what()).empty()) fault("an error without words");
    if (in.offset() > bytes.size()) fault("read behind the end");
  }
}

void try_skip(std::span<const std::byte> bytes) {
  brood::Decoder in(bytes);
  try {
    while (in.remaining() > 0) in.skip();
    in.finish();
  } catch (const brood::DecodeError&) {}
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto bytes = std::as_bytes(std::span(data, size)).subspan(1);
  switch (data[0] % 8) {
    case 0: try_as<Everything>(bytes); break;
    case 1: try_as<Tree>(bytes); break;
    case 2: try_as<std::vector<Plain>>(bytes); break;
    case 3: try_as<std::vector<std::variant<std::int8_t, std::string, std::vector<double>>>>(bytes); break;
    case 4: try_as<std::map<std::string, std::map<std::string, std::string>>>(bytes); break;
    case 5: try_as<std::tuple<std::int64_t, std::uint64_t, float, double, bool>>(bytes); break;
    case 6: try_as<std::vector<Any>>(bytes); break;
    default: try_skip(bytes); break;
  }
  return 0;
}
