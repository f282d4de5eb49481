#include "net/challenge.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <array>
#include <cerrno>

#include "brood/error.hpp"
#include "net/frame.hpp"

namespace brood::inline v1 {

std::string_view to_string(Digest digest) noexcept {
  switch (digest) {
    case Digest::sha256: return "sha256";
    case Digest::sha384: return "sha384";
    case Digest::sha3_256: return "sha3-256";
    case Digest::sha3_384: return "sha3-384";
  }
  return "unknown";
}

namespace net {
namespace {

/// Threads may talk until the process has ended; without this, exit() takes OpenSSL away from under them. (It counts if nobody has
/// used OpenSSL here before this library was loaded.)
[[maybe_unused]] const int g_stays_until_the_end = OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, nullptr);

constexpr std::size_t kRandomBytes = 40;

const EVP_MD* algorithm(std::string_view name) {
  // Not by EVP_get_digestbyname: that would let the other end choose md5, or whatever else is compiled in.
  if (name == "sha256") return EVP_sha256();
  if (name == "sha384") return EVP_sha384();
  if (name == "sha3-256") return EVP_sha3_256();
  if (name == "sha3-384") return EVP_sha3_384();
  return nullptr;
}

}  // namespace

std::string make_challenge(Digest digest) {
  std::string challenge = '{' + std::string(to_string(digest)) + '}';
  if (algorithm(to_string(digest)) == nullptr) throw UsageError("unknown digest for the handshake");
  std::array<unsigned char, kRandomBytes> random{};
  if (RAND_bytes(random.data(), static_cast<int>(random.size())) != 1)
    throw OsError(EIO, "no random bytes for the handshake");
  challenge.append(reinterpret_cast<const char*>(random.data()), random.size());
  return challenge;
}

std::string answer_to(std::string_view challenge, std::string_view key, Asked asked, std::string_view binding) {
  const std::size_t end = challenge.starts_with('{') ? challenge.find('}') : std::string_view::npos;
  const EVP_MD* const md = end == std::string_view::npos ? nullptr : algorithm(challenge.substr(1, end - 1));
  if (md == nullptr || challenge.size() - end - 1 < kRandomBytes)
    throw AuthenticationError("the other end's challenge is none that this library answers");
  std::string text = "brood handshake ";
  text += static_cast<char>(asked);
  text += static_cast<char>(binding.size());
  text += binding;
  // HMAC pads keys with zeros and hashes long ones: keys of different lengths could be equal to it.
  text += std::to_string(key.size());
  text += challenge;
  std::array<unsigned char, EVP_MAX_MD_SIZE> mac{};
  unsigned size = 0;
  // An empty key is a key; HMAC() takes a null pointer for "the key of last time".
  const char* const key_bytes = key.empty() ? "" : key.data();
  if (HMAC(md, key_bytes, static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(text.data()),
           text.size(), mac.data(), &size) == nullptr) {
    throw OsError(EIO, "OpenSSL cannot compute the answer to a challenge");
  }
  return {reinterpret_cast<const char*>(mac.data()), size};
}

bool is_answer(std::string_view answer, std::string_view challenge, std::string_view key, Asked asked,
               std::string_view binding) {
  const std::string right = answer_to(challenge, key, asked, binding);
  return answer.size() == right.size() && CRYPTO_memcmp(answer.data(), right.data(), right.size()) == 0;
}

}  // namespace net
}  // namespace brood::inline v1
