// Who an ELF module is: its build id, else a hash of everything in it that does not change at run time. (room: os)
#pragma once

#include <link.h>

#include <string>
#include <vector>

namespace brood::inline v1::os {

/// Identity of a module that is mapped. The build-id note in lower-case hexadecimal; without one "hash-…" over all
/// read-only segments (code alone would miss a rebuild that changes only constants).
[[nodiscard]] std::string module_identity(const dl_phdr_info& module);

/// The same for a file on disk, read without mapping or running any of it.
/// Errors: StartError naming the file if it cannot be read or is not an ELF module of this machine's word size; OsError if no
/// descriptor is free.
[[nodiscard]] std::string file_identity(const std::string& path);

}  // namespace brood::inline v1::os
