// A plain main() for libFuzzer-style targets: replays a corpus directory, then mutates its files a fixed number of
// times with a fixed seed. So every compiler runs the targets as ordinary tests; with clang's libFuzzer, compile with
// -fsanitize=fuzzer -DBROOD_LIBFUZZER instead.
//
//   codec_fuzz CORPUS [ROUNDS] [SEED]
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

#ifndef BROOD_LIBFUZZER

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace replay {

using Bytes = std::vector<std::uint8_t>;

inline Bytes read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// One to eight small changes: bytes set, bits flipped, pieces cut out, doubled, or taken from another input.
inline Bytes mutated(const std::vector<Bytes>& corpus, std::mt19937_64& random) {
  const auto below = [&](std::size_t limit) { return limit == 0 ? 0 : static_cast<std::size_t>(random() % limit); };
  Bytes bytes = corpus[below(corpus.size())];
  for (std::size_t changes = 1 + below(8); changes > 0; --changes) {
    const std::size_t at = below(bytes.size() + 1);
    const auto here = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    const auto length = static_cast<std::ptrdiff_t>(below(std::min<std::size_t>(bytes.size() - at, 16) + 1));
    switch (below(6)) {
      case 0:
        if (at < bytes.size()) *here = static_cast<std::uint8_t>(random());
        break;
      case 1:
        if (at < bytes.size()) *here = static_cast<std::uint8_t>(*here ^ (1U << below(8)));
        break;
      case 2: bytes.erase(here, here + length); break;
      case 3: {
        const Bytes piece(here, here + length);
        bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at), piece.begin(), piece.end());
        break;
      }
      case 4: {
        static constexpr std::uint8_t kHeads[] = {0xc0, 0xc1, 0xc4, 0xc7, 0xcf, 0xd3,
                                                  0xd9, 0xdb, 0xdc, 0xdd, 0xdf, 0xff};
        if (at < bytes.size()) *here = kHeads[below(std::size(kHeads))];
        break;
      }
      default: {
        const Bytes& other = corpus[below(corpus.size())];
        bytes.resize(at);
        bytes.insert(bytes.end(), other.begin() + static_cast<std::ptrdiff_t>(below(other.size())), other.end());
        break;
      }
    }
  }
  return bytes;
}

}  // namespace replay

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s CORPUS [ROUNDS] [SEED]\n", argv[0]);
    return 2;
  }
  const std::uint64_t rounds = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 100000;
  const std::uint64_t seed = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 1;
  std::set<std::filesystem::path> files;  // sorted: the same rounds on every machine
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) files.insert(entry.path());
  std::vector<replay::Bytes> corpus;
  for (const auto& file : files) corpus.push_back(replay::read(file));
  if (corpus.empty()) {
    std::fprintf(stderr, "%s: no inputs\n", argv[1]);
    return 2;
  }
  for (const replay::Bytes& input : corpus) LLVMFuzzerTestOneInput(input.data(), input.size());
  std::mt19937_64 random(seed);
  for (std::uint64_t round = 0; round < rounds; ++round) {
    const replay::Bytes input = replay::mutated(corpus, random);
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
  std::printf("%zu inputs, %llu mutations, seed %llu\n", corpus.size(), static_cast<unsigned long long>(rounds),
              static_cast<unsigned long long>(seed));
  return 0;
}

#endif
