#include "process/settings.hpp"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string_view>
#include <system_error>
#include <utility>

#include "brood/error.hpp"
#include "os/above_standard.hpp"
#include "os/program.hpp"
#include "process/entry.hpp"

namespace brood::inline v1::process {
namespace {

constexpr std::array<const char*, kStreams> kStreamNames{"standard input", "standard output", "standard error"};
constexpr unsigned kMostCpus = 8192;  // the most that a kernel can be built for
constexpr std::size_t kBitsOfWord = sizeof(unsigned long) * CHAR_BIT;

[[noreturn]] void misuse(const std::string& why) { throw UsageError("ProcessOptions: " + why); }

[[noreturn]] void fail_to(const std::string& what, int error) {
  throw StartError("cannot " + what + ": " + std::strerror(error));
}

const Stdio& stream_of(const ProcessOptions& options, std::size_t number) {
  return number == 0 ? options.standard_input : number == 1 ? options.standard_output : options.standard_error;
}

std::string number_list(const std::vector<std::int32_t>& numbers) {
  std::string out;
  for (const std::int32_t one : numbers) out += (out.empty() ? "" : ",") + std::to_string(one);
  return out;
}

/// "RLIMIT_NOFILE"; one that this was not written for: its number.
std::string limit_name(int resource) {
  static constexpr std::pair<int, const char*> kNames[] = {
      {RLIMIT_CPU, "CPU"},           {RLIMIT_FSIZE, "FSIZE"},
      {RLIMIT_DATA, "DATA"},         {RLIMIT_STACK, "STACK"},
      {RLIMIT_CORE, "CORE"},         {RLIMIT_RSS, "RSS"},
      {RLIMIT_NPROC, "NPROC"},       {RLIMIT_NOFILE, "NOFILE"},
      {RLIMIT_MEMLOCK, "MEMLOCK"},   {RLIMIT_AS, "AS"},
      {RLIMIT_LOCKS, "LOCKS"},       {RLIMIT_SIGPENDING, "SIGPENDING"},
      {RLIMIT_MSGQUEUE, "MSGQUEUE"}, {RLIMIT_NICE, "NICE"},
      {RLIMIT_RTPRIO, "RTPRIO"},     {RLIMIT_RTTIME, "RTTIME"},
  };
  for (const auto& [number, name] : kNames) {
    if (number == resource) return std::string("RLIMIT_") + name;
  }
  return std::to_string(resource);
}

std::string limit_text(std::uint64_t value) {
  return value == ResourceLimit::unlimited ? "unlimited" : std::to_string(value);
}

void check_stream(const ProcessOptions& options, std::size_t number) {
  const Stdio& stream = stream_of(options, number);
  const std::string name = kStreamNames[number];
  if (stream.kind() == Stdio::Kind::like_output && number != STDERR_FILENO)
    misuse(name + " cannot be like_output(): that is for standard error");
  if (stream.kind() == Stdio::Kind::descriptor && stream.fd() < 0)
    misuse(name + ": " + std::to_string(stream.fd()) + " is no descriptor");
  if (stream.kind() == Stdio::Kind::file && stream.path().empty()) misuse(name + ": the file has no name");
  if (number == 0 && stream.append() == Stdio::Append::yes) misuse(name + " is read, not appended to");
}

void check_variable(const std::string& name, const std::optional<std::string>& value) {
  if (name.empty() || name.find('=') != std::string::npos || name.find('\0') != std::string::npos)
    misuse("'" + name + "' cannot be the name of an environment variable");
  if (value && value->find('\0') != std::string::npos)
    misuse("the value of the environment variable " + name + " has a zero byte in it");
  if (name == kEntryVariable) misuse("the environment variable " + name + " is brood's own");
}

/// The kernel takes it for "leave that as it is", and a look-up that found nobody may have made it.
void check_id(const char* option, std::uint32_t id) {
  if (id != std::numeric_limits<std::uint32_t>::max()) return;
  misuse(std::string(option) + ": " + std::to_string(id) +
         " (-1) stands for nobody, and the child would stay who this process is; was somebody looked up who does not "
         "exist?");
}

std::pair<base::UniqueFd, base::UniqueFd> make_pipe(std::size_t number) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) fail_to(std::string("make a pipe for ") + kStreamNames[number], errno);
  std::pair<base::UniqueFd, base::UniqueFd> out(os::above_standard(ends[0]), os::above_standard(ends[1]));
  if (!out.first || !out.second) fail_to(std::string("make a pipe for ") + kStreamNames[number], EMFILE);
  return out;
}

/// As it is for this process now: that of a forkserver may be elsewhere.
std::filesystem::path from_here(const std::filesystem::path& directory) {
  if (directory.empty() || directory.is_absolute()) return directory;
  std::error_code error;
  const std::filesystem::path here = std::filesystem::current_path(error);
  if (error) {
    fail_to("change to the working directory '" + directory.string() +
                "', which is relative, since that of this process cannot be found",
            error.value());
  }
  return here / directory;
}

base::UniqueFd open_file(const Stdio& stream, std::size_t number) {
  const int flags = number == 0                             ? O_RDONLY
                    : stream.append() == Stdio::Append::yes ? O_WRONLY | O_CREAT | O_APPEND
                                                            : O_WRONLY | O_CREAT | O_TRUNC;
  const int opened = ::open(stream.path().c_str(), flags | O_CLOEXEC, 0666);
  const int fd = os::above_standard(opened < 0 ? -errno : opened);
  if (fd < 0) fail_to("open '" + stream.path().string() + "' for " + kStreamNames[number], -fd);
  return base::UniqueFd(fd);
}

/// A copy, so that it does not matter what the caller does with his.
base::UniqueFd copy_of(int fd, std::size_t number) {
  base::UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, static_cast<int>(kStreams)));
  if (!copy) fail_to("use descriptor " + std::to_string(fd) + " for " + kStreamNames[number], errno);
  return copy;
}

std::int32_t open_stream(const Stdio& stream, std::size_t number, Streams& streams) {
  base::UniqueFd& theirs = streams.theirs[number];
  switch (stream.kind()) {
    case Stdio::Kind::inherit:
      // A clone of the forkserver has the server's standard input.
      if (number != 0 || ::fcntl(STDIN_FILENO, F_GETFD) < 0) return os::kStreamStays;
      theirs = copy_of(STDIN_FILENO, number);
      break;
    case Stdio::Kind::null: return os::kStreamNull;
    case Stdio::Kind::like_output: return os::kStreamLikeOutput;
    case Stdio::Kind::file: theirs = open_file(stream, number); break;
    case Stdio::Kind::descriptor: theirs = copy_of(stream.fd(), number); break;
    case Stdio::Kind::pipe:
      auto [reader, writer] = make_pipe(number);
      streams.ours[number] = std::move(number == 0 ? writer : reader);
      theirs = std::move(number == 0 ? reader : writer);
      break;
  }
  return theirs.get();
}

std::string step_text(const os::SettingsFailure& failure, const Settings& settings) {
  switch (failure.step) {
    case os::SettingsStep::none: break;
    case os::SettingsStep::session: return "make a new session";
    case os::SettingsStep::process_group: return "join the process group " + std::to_string(*settings.process_group);
    case os::SettingsStep::nice: return "set the nice value " + std::to_string(*settings.nice);
    case os::SettingsStep::cpus: return "run on the CPUs " + number_list(settings.cpus) + " only";
    case os::SettingsStep::limit: {
      const ResourceLimit& limit = settings.limits.at(failure.which);
      return "set resource limit " + limit_name(limit.resource) + " to " + limit_text(limit.soft) + " (hard " +
             limit_text(limit.hard) + ")";
    }
    case os::SettingsStep::stream: return std::string("set ") + kStreamNames.at(failure.which);
    case os::SettingsStep::directory: return "change to the working directory '" + settings.directory + "'";
    case os::SettingsStep::groups: return "set the supplementary groups";
    case os::SettingsStep::group: return "become group " + std::to_string(*settings.group);
    case os::SettingsStep::user: return "become user " + std::to_string(*settings.user);
  }
  return "prepare it";
}

}  // namespace

OsSettings::OsSettings(const Settings& settings) {
  std::copy(settings.streams.begin(), settings.streams.end(), it_.streams);
  it_.new_session = settings.new_session;
  if (settings.process_group) it_.process_group = &*settings.process_group;
  if (settings.nice) it_.nice = &*settings.nice;
  for (const std::int32_t cpu : settings.cpus) {
    const auto number = static_cast<std::size_t>(cpu);
    if (cpus_.size() <= number / kBitsOfWord) cpus_.resize(number / kBitsOfWord + 1);
    cpus_[number / kBitsOfWord] |= 1UL << (number % kBitsOfWord);
  }
  if (!cpus_.empty()) it_.cpus = cpus_.data();
  it_.cpu_bytes = cpus_.size() * sizeof(unsigned long);
  for (const ResourceLimit& limit : settings.limits) limits_.push_back({limit.resource, limit.soft, limit.hard});
  it_.limits = limits_.data();
  it_.limit_count = limits_.size();
  if (!settings.directory.empty()) it_.directory = settings.directory.c_str();
  if (settings.groups) {
    it_.groups = settings.groups->data();
    it_.group_count = settings.groups->size();
  }
  it_.replace_groups = settings.groups.has_value() || settings.user.has_value();
  if (settings.group) it_.group = &*settings.group;
  if (settings.user) it_.user = &*settings.user;
}

void Streams::close() noexcept {
  for (auto* ends : {&ours, &theirs}) {
    for (base::UniqueFd& end : *ends) end.reset();
  }
}

void check(const ProcessOptions& options) {
  if (options.name.find('\0') != std::string::npos) misuse("the name has a zero byte in it");
  if (options.library.native().find('\0') != std::string::npos) misuse("the path of the library has a zero byte in it");
  for (std::size_t number = 0; number < kStreams; ++number) check_stream(options, number);
  for (const auto& [name, value] : options.environment) check_variable(name, value);
  for (const int cpu : options.cpus) {
    if (cpu < 0 || static_cast<unsigned>(cpu) >= kMostCpus) misuse(std::to_string(cpu) + " is no number of a CPU");
  }
  if (options.nice && (*options.nice < -20 || *options.nice > 19))
    misuse("nice is " + std::to_string(*options.nice) + ", and goes from -20 to 19");
  for (const ResourceLimit& limit : options.limits) {
    if (limit.soft > limit.hard) {
      misuse("resource limit " + limit_name(limit.resource) + ": the soft limit " + limit_text(limit.soft) +
             " is above the hard one, " + limit_text(limit.hard));
    }
  }
  if (options.user) check_id("user", *options.user);
  if (options.group) check_id("group", *options.group);
  if (options.groups) {
    for (const std::uint32_t id : *options.groups) check_id("groups", id);
  }
  if (options.process_group && *options.process_group < 0)
    misuse(std::to_string(*options.process_group) + " is no process group");
  if (options.process_group && options.new_session)
    misuse("new_session makes a process group of its own; leave process_group out");
}

Settings open_streams(const ProcessOptions& options, Streams& streams) {
  Settings out;
  for (std::size_t number = 0; number < kStreams; ++number)
    out.streams[number] = open_stream(stream_of(options, number), number, streams);
  out.directory = from_here(options.working_directory).string();
  out.environment = options.environment;
  out.clear_environment = options.clear_environment;
  out.cpus = options.cpus;
  out.nice = options.nice;
  out.limits = options.limits;
  out.new_session = options.new_session;
  out.process_group = options.process_group;
  out.user = options.user;
  out.group = options.group;
  out.groups = options.groups;
  return out;
}

void apply(const Settings& settings) {
  const bool gets_input = settings.streams[0] != os::kStreamStays;
  const os::SettingsFailure failure = os::apply_settings(OsSettings(settings).get());
  if (failure.step != os::SettingsStep::none) throw StartError("cannot " + describe(failure, settings));
  if (gets_input) os::forget_read_ahead();
  if (settings.clear_environment && ::clearenv() != 0) throw StartError("cannot clear the environment");
  for (const auto& [name, value] : settings.environment) {
    if ((value ? ::setenv(name.c_str(), value->c_str(), 1) : ::unsetenv(name.c_str())) != 0)
      fail_to("set the environment variable " + name, errno);
  }
}

std::string describe(const os::SettingsFailure& failure, const Settings& settings) {
  return step_text(failure, settings) + ": " + std::strerror(failure.error);
}

std::vector<std::string> environment_for(const Settings& settings) {
  std::vector<std::string> out;
  for (char** it = environ; !settings.clear_environment && it != nullptr && *it != nullptr; ++it) {
    const std::string_view variable(*it);
    const std::string name(variable.substr(0, variable.find('=')));
    if (!settings.environment.contains(name)) out.emplace_back(variable);
  }
  for (const auto& [name, value] : settings.environment) {
    if (value) out.push_back(name + "=" + *value);
  }
  return out;
}

}  // namespace brood::inline v1::process
