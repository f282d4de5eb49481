#include "os/function_id.hpp"

#include <dlfcn.h>
#include <limits.h>
#include <link.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <memory>
#include <mutex>
#include <sstream>
#include <vector>

#include "base/fork_order.hpp"
#include "base/hex.hpp"
#include "brood/error.hpp"
#include "os/elf_identity.hpp"

namespace brood::inline v1::os {

namespace {

struct Part {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
  bool executable = false;
};

/// One loaded module. What costs (identity, path) is found out when it is first asked for.
class Module {
 public:
  Module(const dl_phdr_info& info, bool is_main) : info_(info), name_(info.dlpi_name), is_main_(is_main) {
    for (int i = 0; i < info.dlpi_phnum; ++i) {
      const ElfW(Phdr)& header = info.dlpi_phdr[i];
      if (header.p_type != PT_LOAD) continue;
      const std::uintptr_t begin = info.dlpi_addr + header.p_vaddr;
      parts_.push_back({begin, begin + header.p_memsz, (header.p_flags & PF_X) != 0});
    }
  }

  [[nodiscard]] const Part* part_at(std::uintptr_t address) const {
    for (const Part& part : parts_) {
      if (address >= part.begin && address < part.end) return &part;
    }
    return nullptr;
  }
  [[nodiscard]] std::uintptr_t base() const { return info_.dlpi_addr; }
  [[nodiscard]] bool is_main() const { return is_main_; }
  [[nodiscard]] const std::string& identity() const {
    if (identity_.empty()) identity_ = module_identity(info_);
    return identity_;
  }
  [[nodiscard]] const std::string& path() const {
    if (path_.empty()) path_ = find_path();
    return path_;
  }

 private:
  [[nodiscard]] std::string find_path() const;

  dl_phdr_info info_;  // its pointers are valid as long as the module stays loaded, which LoadedModules checks
  std::string name_;
  bool is_main_;
  std::vector<Part> parts_;
  mutable std::string identity_;
  mutable std::string path_;
};

/// The file that is mapped at this address, from the kernel's own list.
std::string mapped_file(std::uintptr_t address) {
  std::ifstream maps("/proc/self/maps");
  std::string line;
  while (std::getline(maps, line)) {
    std::istringstream fields(line);
    std::uintptr_t begin = 0;
    std::uintptr_t end = 0;
    char dash = 0;
    std::string skipped;
    std::string path;
    fields >> std::hex >> begin >> dash >> end >> skipped >> skipped >> skipped >> skipped;
    if (address < begin || address >= end) continue;
    std::getline(fields >> std::ws, path);
    return path;
  }
  return {};
}

std::string Module::find_path() const {
  if (is_main_) {
    char buffer[PATH_MAX];
    const ssize_t length = ::readlink("/proc/self/exe", buffer, sizeof buffer);
    return length > 0 ? std::string(buffer, static_cast<std::size_t>(length)) : "the program";
  }
  // A relative name was relative to the working directory at the time of dlopen; only the kernel still knows.
  if (name_.empty() || name_.front() != '/') {
    if (std::string file = mapped_file(parts_.empty() ? base() : parts_.front().begin); !file.empty()) return file;
  }
  const std::unique_ptr<char, decltype(&::free)> real(::realpath(name_.c_str(), nullptr), &::free);
  return real ? std::string(real.get()) : name_;
}

/// True from the fork on, in the child. Watched from the load on: a fork by one thread must not meet another that registers.
constinit std::atomic<bool> g_forked = false;
[[maybe_unused]] const int g_watched = ::pthread_atfork(nullptr, nullptr, [] { g_forked = true; });

/// The modules of this process, remembered for as long as none is loaded or unloaded. One list for all threads, never
/// destroyed: exit() destroys what is a thread's before it calls the exit handlers, and those start processes, too.
class LoadedModules {
 public:
  /// Held while the list is used. Fork takes it: no thread of ours is then inside dl_iterate_phdr, whose own lock glibc does
  /// not reset in the child.
  static constinit std::mutex mutex;

  static LoadedModules& current() {
    LoadedModules& modules = mine();
    // A forked child uses what its parent knew: a thread of the application may have held the lock of dl_iterate_phdr at
    // the moment of the fork (dlopen, dladdr), and asking would never return.
    if (modules.modules_.empty() || !g_forked.load()) modules.refresh();
    return modules;
  }
  /// For when what is known does not do: a module was loaded since.
  static LoadedModules& reread() {
    LoadedModules& modules = mine();
    modules.refresh();
    return modules;
  }
  [[nodiscard]] const std::vector<Module>& all() const { return modules_; }
  [[nodiscard]] const Module* holding(std::uintptr_t address) const {
    for (const Module& module : modules_) {
      if (module.part_at(address) != nullptr) return &module;
    }
    return nullptr;
  }
  [[nodiscard]] const Module* with_identity(const std::string& build_id, bool is_main) const {
    for (const Module& module : modules_) {
      if (module.is_main() == is_main && module.identity() == build_id) return &module;
    }
    return nullptr;
  }

 private:
  /// Under the mutex, not the guard of a static variable, which a fork could leave half made.
  static LoadedModules& mine() {
    static constinit LoadedModules* modules = nullptr;
    if (modules == nullptr) modules = new LoadedModules;
    return *modules;
  }

  void refresh() {
    struct Counters {
      unsigned long long loads = 0;
      unsigned long long unloads = 0;
    } now;
    ::dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* out) {
          *static_cast<Counters*>(out) = {info->dlpi_adds, info->dlpi_subs};
          return 1;
        },
        &now);
    if (!modules_.empty() && now.loads == loads_ && now.unloads == unloads_) return;
    modules_.clear();
    ::dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* out) {
          auto& modules = *static_cast<std::vector<Module>*>(out);
          modules.emplace_back(*info, modules.empty());  // the program itself comes first
          return 0;
        },
        &modules_);
    loads_ = now.loads;
    unloads_ = now.unloads;
  }

  std::vector<Module> modules_;
  unsigned long long loads_ = 0;
  unsigned long long unloads_ = 0;
};
constinit std::mutex LoadedModules::mutex;

[[maybe_unused]] const bool g_held_across_fork =
    (base::hold_across_fork(base::ForkOrder::modules,
                            {[] { LoadedModules::mutex.lock(); }, [] { LoadedModules::mutex.unlock(); }}),
     true);

const void* code_in(const Module& module, const FunctionId& id) {
  const std::uintptr_t address = module.base() + id.offset;
  const Part* part = module.part_at(address);
  if (part == nullptr || !part->executable) {
    throw StartError("the target's place is damaged: " + module.path() + " (build id " + id.build_id +
                     ") has no code at offset 0x" + base::hex16(id.offset));
  }
  return reinterpret_cast<const void*>(address);
}

/// Loads a plugin that the sender has and this process has not. Without the mutex: its static objects may use brood.
void load_module(const FunctionId& id) {
  if (id.path.empty() || id.path.front() != '/') {
    throw StartError("the target lies in a module with build id " + id.build_id +
                     " that is not loaded here, and its path is not known ('" + id.path + "')");
  }
  const std::string on_disk = file_identity(id.path);
  if (on_disk != id.build_id) {
    throw StartError("the module " + id.path +
                     " that holds the target was rebuilt or replaced: the sender has build id " + id.build_id +
                     ", the file has build id " + on_disk + "; restart the sender");
  }
  // Never closed: code in it is about to run, and may leave threads and destructors behind.
  if (::dlopen(id.path.c_str(), RTLD_NOW | RTLD_LOCAL) == nullptr) {
    const char* why = ::dlerror();
    throw StartError("cannot load the module " + id.path +
                     " that holds the target: " + (why != nullptr ? why : "unknown"));
  }
}

}  // namespace

FunctionId identify(const void* code) {
  const auto address = reinterpret_cast<std::uintptr_t>(code);
  const std::lock_guard guard(LoadedModules::mutex);
  const Module* module = LoadedModules::current().holding(address);
  if (module == nullptr) module = LoadedModules::reread().holding(address);
  if (module == nullptr) {
    throw UsageError(
        "the target at address 0x" + base::hex16(address) +
        " belongs to no loaded module, so no other process can find it (made at run time, or a null or dangling "
        "pointer?); pass a function of the program or of a library");
  }
  if (!module->part_at(address)->executable) {
    throw UsageError("the target at address 0x" + base::hex16(address) + " is data of " + module->path() +
                     ", not code; pass a function");
  }
  return {module->identity(), address - module->base(), module->is_main(), module->path()};
}

void learn_modules() {
  const std::lock_guard guard(LoadedModules::mutex);
  (void)LoadedModules::current().all().front().identity();
}

const void* resolve(const FunctionId& id) {
  {
    const std::lock_guard guard(LoadedModules::mutex);
    const LoadedModules& modules = LoadedModules::current();
    if (const Module* module = modules.with_identity(id.build_id, id.is_main_program)) return code_in(*module, id);
    if (id.is_main_program) {
      const Module& mine = modules.all().front();
      throw StartError("the target belongs to another program, or to another build of this one: the sender's program " +
                       id.path + " has build id " + id.build_id + ", this program " + mine.path() + " has build id " +
                       mine.identity() + "; start both from the same file");
    }
  }
  load_module(id);
  const std::lock_guard guard(LoadedModules::mutex);
  const Module* module = LoadedModules::reread().with_identity(id.build_id, false);
  if (module == nullptr) {
    throw StartError("the module " + id.path +
                     " that holds the target was replaced while it was being loaded: the sender has build id " +
                     id.build_id + ", another file was loaded; restart the sender");
  }
  return code_in(*module, id);
}

}  // namespace brood::inline v1::os
