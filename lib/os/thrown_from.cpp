#include "os/thrown_from.hpp"

#include <cxxabi.h>
#include <elf.h>
#include <unwind.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "brood/error.hpp"
#include "os/elf_file.hpp"
#include "os/elf_identity.hpp"
#include "os/function_id.hpp"

namespace brood::inline v1::os {
namespace {

#if defined(__x86_64__) || defined(__aarch64__)
#define BROOD_NOTES_THROWS 1
/// Where the stack of this thread's innermost call_and_note_throw goes. Trivial, so that using it allocates nothing.
thread_local constinit ThrownFrom* t_from = nullptr;
#endif

}  // namespace
}  // namespace brood::inline v1::os

#ifdef BROOD_NOTES_THROWS

extern "C" {

/// Calls body(context), and is known to the unwinder by the routine below.
void brood_v1_noting_call(void (*body)(void*), void* context);
extern const char brood_v1_noting_call_returns[];  // NOLINT(readability-identifier-naming): a label

__attribute__((used, visibility("hidden"))) _Unwind_Reason_Code brood_v1_note_throw(int version, _Unwind_Action actions,
                                                                                    _Unwind_Exception_Class kind,
                                                                                    _Unwind_Exception* exception,
                                                                                    _Unwind_Context* context);
}

#if defined(__x86_64__)
__asm__(R"(
  .pushsection .text.brood_v1_noting_call,"ax",@progbits
  .globl brood_v1_noting_call
  .hidden brood_v1_noting_call
  .globl brood_v1_noting_call_returns
  .hidden brood_v1_noting_call_returns
  .type brood_v1_noting_call, @function
brood_v1_noting_call:
  .cfi_startproc
  .cfi_personality 0x1b, brood_v1_note_throw
  endbr64
  pushq %rbp
  .cfi_def_cfa_offset 16
  .cfi_offset %rbp, -16
  movq %rsp, %rbp
  .cfi_def_cfa_register %rbp
  movq %rdi, %rax
  movq %rsi, %rdi
  call *%rax
brood_v1_noting_call_returns:
  popq %rbp
  .cfi_def_cfa %rsp, 8
  ret
  .cfi_endproc
  .size brood_v1_noting_call, . - brood_v1_noting_call
  .popsection
)");
#else
__asm__(R"(
  .pushsection .text.brood_v1_noting_call,"ax",@progbits
  .globl brood_v1_noting_call
  .hidden brood_v1_noting_call
  .globl brood_v1_noting_call_returns
  .hidden brood_v1_noting_call_returns
  .type brood_v1_noting_call, @function
brood_v1_noting_call:
  .cfi_startproc
  .cfi_personality 0x1b, brood_v1_note_throw
  hint #34
  stp x29, x30, [sp, #-16]!
  .cfi_def_cfa_offset 16
  .cfi_offset 29, -16
  .cfi_offset 30, -8
  mov x29, sp
  .cfi_def_cfa_register 29
  mov x2, x0
  mov x0, x1
  blr x2
brood_v1_noting_call_returns:
  ldp x29, x30, [sp], #16
  .cfi_restore 30
  .cfi_restore 29
  .cfi_def_cfa 31, 0
  ret
  .cfi_endproc
  .size brood_v1_noting_call, . - brood_v1_noting_call
  .popsection
)");
#endif

namespace {

namespace os = brood::os;

/// One function of the stack; stops at our own instructions.
_Unwind_Reason_Code note_frame(_Unwind_Context* context, void* into) {
  auto& from = *static_cast<os::ThrownFrom*>(into);
  const auto* address = reinterpret_cast<const void*>(_Unwind_GetIP(context));
  if (address == static_cast<const void*>(brood_v1_noting_call_returns)) return _URC_END_OF_STACK;
  if (from.count == os::ThrownFrom::kMost) {
    from.is_cut = true;
    return _URC_END_OF_STACK;
  }
  from.addresses[from.count++] = address;
  return _URC_NO_REASON;
}

}  // namespace

_Unwind_Reason_Code brood_v1_note_throw(int /*version*/, _Unwind_Action actions, _Unwind_Exception_Class /*kind*/,
                                        _Unwind_Exception* /*exception*/, _Unwind_Context* /*context*/) {
  if ((actions & _UA_SEARCH_PHASE) != 0 && os::t_from != nullptr) {
    *os::t_from = {};
    _Unwind_Backtrace(&note_frame, os::t_from);
  }
  return _URC_CONTINUE_UNWIND;
}

#endif

namespace brood::inline v1::os {
namespace {

/// Where the functions of one module lie, and where in its file their names are. Reading this takes milliseconds, so it is
/// done once in a process; tables are never changed nor freed, and found without a lock that a fork could leave locked.
class Functions {
 public:
  /// Of the module that holds `place`.
  static const Functions& of(const FunctionId& place) {
    const Functions* const newest = g_newest.load(std::memory_order_acquire);
    for (const Functions* it = newest; it != nullptr; it = it->next_) {
      if (it->build_id_ == place.build_id && it->path_ == place.path) return *it;
    }
    auto made = std::make_unique<Functions>(place);
    made->next_ = newest;
    // SYNC function-table: release publishes the table; pairs with the acquire above. Two threads may both make one.
    while (!g_newest.compare_exchange_weak(made->next_, made.get(), std::memory_order_release,
                                           std::memory_order_relaxed)) {}
    return *made.release();
  }

  explicit Functions(const FunctionId& place)
      : build_id_(place.build_id), path_(place.path), file_(place.is_main_program ? "/proc/self/exe" : place.path) {
    try {
      // A file that has been replaced knows nothing about what was loaded.
      if (place.is_main_program || file_identity(file_) == build_id_) read(ElfFile(file_));
    } catch (const StartError&) {
      all_.clear();  // unreadable by now: offsets are said without names
    } catch (const OsError&) {
      all_.clear();
    }
  }

  /// `name+0x1c`; empty if no function is known there.
  [[nodiscard]] std::string at(std::uint64_t offset) const {
    auto after = std::ranges::upper_bound(all_, offset, {}, &Function::begin);
    if (after == all_.begin()) return {};
    const Function& function = *--after;
    if (offset - function.begin >= function.size_bytes) return {};
    const std::string name = name_of(function);
    if (name.empty()) return {};
    int status = 0;
    const std::unique_ptr<char, void (*)(void*)> readable(abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status),
                                                          std::free);
    char more[32];
    std::snprintf(more, sizeof more, "+0x%zx", static_cast<std::size_t>(offset - function.begin));
    return (status == 0 ? readable.get() : name) + std::string(more);
  }

 private:
  struct Function {
    std::uint64_t begin;
    std::uint64_t size_bytes;
    std::uint64_t name_at;    ///< in the file
    std::uint64_t name_most;  ///< bytes until the end of the names
  };

  void read(const ElfFile& file) {
    const std::vector<ElfW(Shdr)> sections = file.sections();
    for (const ElfW(Shdr) & section : sections) {
      if (section.sh_type != SHT_SYMTAB && section.sh_type != SHT_DYNSYM) continue;
      if (section.sh_link >= sections.size() || section.sh_entsize != sizeof(ElfW(Sym))) continue;
      const ElfW(Shdr)& names = sections[section.sh_link];
      const std::vector<std::byte> symbols = file.read(section.sh_offset, section.sh_size);
      for (std::size_t at = 0; at + sizeof(ElfW(Sym)) <= symbols.size(); at += sizeof(ElfW(Sym))) {
        ElfW(Sym) symbol;
        std::memcpy(&symbol, symbols.data() + at, sizeof symbol);
        if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC || symbol.st_shndx == SHN_UNDEF) continue;
        if (symbol.st_name >= names.sh_size) continue;
        all_.push_back(
            {symbol.st_value, symbol.st_size, names.sh_offset + symbol.st_name, names.sh_size - symbol.st_name});
      }
    }
    std::ranges::stable_sort(all_, {}, &Function::begin);
    const auto same = [](const Function& a, const Function& b) { return a.begin == b.begin; };
    all_.erase(std::unique(all_.begin(), all_.end(), same), all_.end());
    all_.shrink_to_fit();
  }

  [[nodiscard]] std::string name_of(const Function& function) const {
    constexpr std::uint64_t kMost = 4096;
    try {
      const std::vector<std::byte> bytes = ElfFile(file_).read(function.name_at, std::min(function.name_most, kMost));
      const auto* text = reinterpret_cast<const char*>(bytes.data());
      return {text, ::strnlen(text, bytes.size())};
    } catch (const StartError&) {
      return {};
    } catch (const OsError&) {
      return {};
    }
  }

  static constinit std::atomic<const Functions*> g_newest;
  const std::string build_id_;
  const std::string path_;
  const std::string file_;
  std::vector<Function> all_;  ///< by where they begin
  const Functions* next_ = nullptr;
};
constinit std::atomic<const Functions*> Functions::g_newest = nullptr;

/// What is said of one function of a stack; remembered, since programs throw from few places. One copy for each thread.
const std::string& describe_place(const FunctionId& place) {
  constexpr std::size_t kMostRemembered = 1024;
  thread_local std::map<std::pair<const Functions*, std::uint64_t>, std::string> remembered;
  const Functions& functions = Functions::of(place);
  const auto [it, is_new] = remembered.try_emplace({&functions, place.offset});
  if (!is_new) return it->second;
  if (remembered.size() > kMostRemembered) {
    remembered.clear();
    return describe_place(place);
  }
  const std::string name = functions.at(place.offset);
  char offset[32];
  std::snprintf(offset, sizeof offset, " (0x%zx)", static_cast<std::size_t>(place.offset));
  it->second = (name.empty() ? "?" : name) + " in " + place.path + offset;
  return it->second;
}

/// The runtime's own part of a throw says nothing about where it was.
bool belongs_to_throwing(std::string_view line) {
  for (const std::string_view begin : {"brood_v1_note_throw", "_Unwind_", "__cxa_throw", "__cxa_rethrow"}) {
    if (line.substr(0, begin.size()) == begin) return true;
  }
  return false;
}

}  // namespace

void call_and_note_throw(void (*body)(void* context), void* context, ThrownFrom& from) {
#ifdef BROOD_NOTES_THROWS
  struct Restore {
    explicit Restore(ThrownFrom& now) : before(std::exchange(t_from, &now)) {}
    ~Restore() { t_from = before; }
    Restore(const Restore&) = delete;
    Restore& operator=(const Restore&) = delete;
    ThrownFrom* before;
  };
  const Restore restore(from);
  brood_v1_noting_call(body, context);
#else
  (void)from;
  body(context);
#endif
}

std::string describe(const ThrownFrom& from, const std::string& indent) {
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < from.count; ++i) {
    // What lies before a return address is the call.
    const auto* call = static_cast<const char*>(from.addresses[i]) - 1;
    FunctionId place;
    try {
      place = identify(call);
    } catch (const UsageError&) {
      lines.emplace_back("?");  // code that no module holds
      continue;
    }
    lines.push_back(describe_place(place));
    if (belongs_to_throwing(lines.back())) lines.clear();
  }
  std::string out;
  for (std::size_t i = 0; i < lines.size(); ++i) out += indent + '#' + std::to_string(i) + ' ' + lines[i] + '\n';
  if (from.is_cut) out += indent + "…\n";
  return out;
}

}  // namespace brood::inline v1::os
