#include "manager/reference.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "brood/error.hpp"
#include "registry/objects.hpp"
#include "shm/segment.hpp"

namespace brood::inline v1::manager {
namespace {

constexpr std::size_t kNumbers = 2 * sizeof(std::uint64_t);

/// Only its own user can read it: the domain directory is closed to others.
struct TokenBody {
  std::uint64_t server;
  std::uint64_t object;
  std::uint32_t address_bytes;
  std::uint32_t has_key;
  std::uint32_t key_bytes;
  std::uint32_t type_bytes;
  std::array<char, 256> address;  ///< a Unix path has 107 bytes at most, a host name 253
  std::array<char, 384> key;
  std::array<char, 352> type;
};
static_assert(sizeof(TokenBody) == shm::smallest_body(Kind::managed));

template <std::size_t N>
std::uint32_t store(std::array<char, N>& to, std::string_view text) {
  const std::size_t bytes = std::min(text.size(), N);
  std::memcpy(to.data(), text.data(), bytes);
  return static_cast<std::uint32_t>(bytes);
}
template <std::size_t N>
std::string load(const detail::Object& token, const std::array<char, N>& from, std::uint32_t bytes) {
  if (bytes > N) throw HandleError(token.handle().str() + " is damaged: a text in it is longer than its place");
  return {from.data(), bytes};
}

const TokenBody& body_of(const detail::Object& token) { return *static_cast<const TokenBody*>(token.body()); }

}  // namespace

Reference Reference::read(std::span<const std::byte> bytes) {
  if (bytes.size() < kNumbers) throw DecodeError("a reference to a managed object is cut short");
  Reference out;
  std::memcpy(&out.server, bytes.data(), sizeof out.server);
  std::memcpy(&out.object, bytes.data() + sizeof out.server, sizeof out.object);
  out.address.assign(reinterpret_cast<const char*>(bytes.data()) + kNumbers, bytes.size() - kNumbers);
  return out;
}

void Reference::write(Encoder& out) const {
  const std::span<std::byte> space = out.ext_space(detail::kExtManaged, kNumbers + address.size());
  std::memcpy(space.data(), &server, sizeof server);
  std::memcpy(space.data() + sizeof server, &object, sizeof object);
  std::memcpy(space.data() + kNumbers, address.data(), address.size());
}

detail::Object Token::make(const Reference& reference, const std::string& type,
                           const std::optional<std::string>& authkey) {
  const shm::CreateRequest request{.kind = Kind::managed, .body_bytes = sizeof(TokenBody)};
  return registry::create(request, [&](void* memory) {
    auto* body = static_cast<TokenBody*>(memory);
    body->server = reference.server;
    body->object = reference.object;
    body->address_bytes = store(body->address, reference.address);
    body->type_bytes = store(body->type, type);
    if (!authkey || authkey->size() > body->key.size()) return;
    body->has_key = 1;
    body->key_bytes = store(body->key, *authkey);
  });
}

detail::Object Token::open(const Handle& handle) { return registry::open(handle, Kind::managed); }

Reference Token::reference(const detail::Object& token) {
  const TokenBody& body = body_of(token);
  return {body.server, body.object, load(token, body.address, body.address_bytes)};
}

std::string Token::type(const detail::Object& token) {
  const TokenBody& body = body_of(token);
  return load(token, body.type, body.type_bytes);
}

std::optional<std::string> Token::authkey(const detail::Object& token) {
  const TokenBody& body = body_of(token);
  if (body.has_key == 0) return std::nullopt;
  return load(token, body.key, body.key_bytes);
}

}  // namespace brood::inline v1::manager
