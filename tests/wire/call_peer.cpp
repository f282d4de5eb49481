// Packs calls, and unpacks and runs those that another process of this program packed.
//
//   call_peer pack CASE [PLUGIN]     writes the packed call in hexadecimal
//   call_peer run HEX                runs it; writes "result N", or "refused: …" (exit code 3), or "threw: …" (4)
//   call_peer                        writes which build this is
#include <dlfcn.h>

#include <cstdio>
#include <stdexcept>
#include <string>

#include "brood/detail/callable.hpp"

#ifndef PEER_TEXT
#define PEER_TEXT "original"
#endif

namespace {

// The only difference of a rebuilt program: constants, of the same length; no byte of code differs.
const char kText[] = PEER_TEXT;

int plain(int n) { return n + 1; }
int with_text(int n, const std::string& text) { return n + static_cast<int>(text.size()); }
template <class T>
int instance(T n) {
  return static_cast<int>(n) + static_cast<int>(sizeof(T));
}
struct Type {
  static int member(int n) { return n + 77; }
};
int throws(int n) { throw std::runtime_error("target " + std::to_string(n)); }

std::string hex(const std::vector<std::byte>& bytes) {
  std::string text;
  char digits[3];
  for (std::byte b : bytes) {
    std::snprintf(digits, sizeof digits, "%02x", std::to_integer<unsigned>(b));
    text += digits;
  }
  return text;
}

std::vector<std::byte> from_hex(const std::string& text) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoi(text.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

using Function = int (*)(int);
template <class F = Function>
F from_plugin(const char* path, const char* symbol) {
  void* module = ::dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (module == nullptr) throw std::runtime_error(::dlerror());
  void* found = ::dlsym(module, symbol);
  if (found == nullptr) throw std::runtime_error(::dlerror());
  return reinterpret_cast<F>(found);
}

brood::detail::PackedCall pack(const std::string& name, const char* plugin) {
  using brood::detail::pack_call;
  if (name == "plain") return pack_call(plain, 5);
  if (name == "text") return pack_call(with_text, 5, "four");
  if (name == "instance") return pack_call(instance<long>, 5);
  if (name == "member") return pack_call(&Type::member, 5);
  if (name == "lambda") return pack_call([](int n) { return n * 3; }, 5);
  if (name == "same_shape") return pack_call([](int n) { return n * 4; }, 5);
  if (name == "generic")
    return pack_call([](auto n, auto text) { return n + static_cast<int>(text.size()); }, 5, "text");
  if (name == "throws") return pack_call(throws, 5);
  if (name == "plugin") return pack_call(from_plugin(plugin, "plugin_twice"), 5);
  if (name == "plugin_hidden") {
    return pack_call(from_plugin<Function (*)()>(plugin, "plugin_hidden")(), 5);
  }
  throw std::runtime_error("no such case: " + name);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string verb = argc > 2 ? argv[1] : "version";
  if (verb == "version") return std::puts(kText) < 0;
  if (verb == "pack") {
    std::puts(hex(pack(argv[2], argc > 3 ? argv[3] : nullptr).bytes).c_str());
    return 0;
  }
  if (verb != "run") return 2;
  std::unique_ptr<brood::detail::UnpackedCall> call;
  try {
    call = brood::detail::unpack_call(from_hex(argv[2]));
  } catch (const std::exception& error) {
    std::printf("refused: %s\n", error.what());
    return 3;
  }
  try {
    (*call)();
  } catch (const std::exception& error) {
    std::printf("threw: %s\n", error.what());
    return 4;
  }
  brood::Encoder result;
  call->encode_result(result);
  brood::Decoder in(result.bytes());
  std::printf("result %d\n", brood::decode<int>(in));
  return 0;
}
