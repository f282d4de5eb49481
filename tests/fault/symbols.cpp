#include "fault/symbols.hpp"

#include <dlfcn.h>
#include <unistd.h>

#include <array>
#include <cstdio>

namespace fault {
namespace {

/// The first line that a command prints.
std::string output_of(const std::string& command) {
  std::FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return {};
  std::array<char, 1024> line{};
  std::string text = std::fgets(line.data(), line.size(), pipe) != nullptr ? line.data() : "";
  ::pclose(pipe);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

}  // namespace

std::string describe_address(std::uintptr_t address) {
  Dl_info info{};
  if (::dladdr(reinterpret_cast<void*>(address), &info) == 0 || info.dli_fname == nullptr) return "?";
  std::array<char, 32> offset{};
  std::snprintf(offset.data(), offset.size(), "0x%zx",
                static_cast<std::size_t>(address - reinterpret_cast<std::uintptr_t>(info.dli_fbase)));
  std::array<char, 4096> self{};
  const bool ours = info.dli_fname[0] != '/' || std::string(info.dli_fname).find(".so") == std::string::npos;
  const std::string file =
      ours && ::readlink("/proc/self/exe", self.data(), self.size() - 1) > 0 ? self.data() : info.dli_fname;
  const std::string found = output_of("addr2line -Cfipe '" + file + "' " + offset.data() + " 2>/dev/null | head -1");
  if (!found.empty() && found[0] != '?') return found;
  return std::string(info.dli_sname != nullptr ? info.dli_sname : info.dli_fname) + " " + offset.data();
}

}  // namespace fault
