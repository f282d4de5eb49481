#include "shm/domain.hpp"

#include <unistd.h>

#include <cstdlib>
#include <memory>

#include "base/hex.hpp"
#include "base/made_once.hpp"
#include "brood/domain.hpp"
#include "brood/error.hpp"
#include "os/files.hpp"

namespace brood::inline v1 {
namespace {

constinit base::MadeOnce<const std::string> g_chosen;

std::string default_path() {
  // secure_getenv: a setuid program must not be pointed to somebody else's directory.
  if (const char* set = ::secure_getenv("BROOD_DOMAIN"); set != nullptr && *set != '\0') {
    if (*set != '/') {
      throw UsageError(
          "BROOD_DOMAIN must be an absolute path, since all processes of the domain must mean the same; got '" +
          std::string(set) + "'");
    }
    return set;
  }
  return "/dev/shm/brood-" + std::to_string(::geteuid());
}

}  // namespace

const std::string& domain_directory() {
  return g_chosen.get([] { return std::make_unique<const std::string>(default_path()); });
}

void set_domain_directory(std::string_view path) {
  if (path.empty() || path.front() != '/')
    throw UsageError("set_domain_directory: the path must be absolute, got '" + std::string(path) + "'");
  const std::string& chosen = g_chosen.offer(std::make_unique<const std::string>(path));
  if (chosen != path)
    throw UsageError("set_domain_directory: this process already uses the domain " + chosen +
                     "; choose before the first shared object");
}

namespace shm {

namespace {

[[noreturn]] void refuse_domain(int error) {
  const std::string& path = domain_directory();
  if (error == -EPERM) {
    throw PermissionDenied("the domain directory " + path +
                           " belongs to another user or is open to others; brood shares only between processes of one "
                           "user: remove it, or set BROOD_DOMAIN to a directory of your own with mode 0700");
  }
  const char* why = error == -ENOTDIR  ? " (it is a symbolic link or no directory)"
                    : error == -ENOENT ? " (its parent directory does not exist)"
                                       : "";
  throw OsError(-error, "cannot use the domain directory " + path + why +
                            "; set BROOD_DOMAIN to a directory on a tmpfs that you may write");
}

}  // namespace

void ensure_domain() {
  const int error = os::ensure_private_directory(domain_directory().c_str());
  if (error != 0) refuse_domain(error);
}

bool domain_exists() {
  const int error = os::check_private_directory(domain_directory().c_str());
  if (error != 0 && error != -ENOENT) refuse_domain(error);
  return error == 0;
}

void remove_domain_if_empty() noexcept { ::rmdir(domain_directory().c_str()); }

std::string domain_path(std::string_view file) { return std::string(domain_directory()).append("/").append(file); }

std::string object_file(std::uint64_t id, std::string_view name) {
  return name.empty() ? base::hex16(id) : std::string("=").append(name);
}

std::string object_path(const Handle& handle) { return domain_path(object_file(handle.id(), handle.name())); }

namespace {
constexpr std::string_view kPin = "pin.";
constexpr std::size_t kPinLength = kPin.size() + 3 * base::kHexDigits + 2;
}  // namespace

std::string pin_file(const PinName& pin) {
  return std::string(kPin)
      .append(base::hex16(pin.container))
      .append(".")
      .append(base::hex16(pin.message))
      .append(".")
      .append(base::hex16(pin.target));
}

std::optional<PinName> parse_pin_file(std::string_view file) noexcept {
  if (file.size() != kPinLength || file.substr(0, kPin.size()) != kPin) return std::nullopt;
  file.remove_prefix(kPin.size());
  const auto field = [&](std::size_t i) {
    return base::parse_hex16(file.substr(i * (base::kHexDigits + 1), base::kHexDigits));
  };
  const auto container = field(0), message = field(1), target = field(2);
  if (!container || !message || !target) return std::nullopt;
  return PinName{*container, *message, *target};
}

}  // namespace shm
}  // namespace brood::inline v1
