// How a Process is started, and what it finds when it begins.                                    (room: process)
//
//   brood::Process p({.name = "indexer",
//                     .start_method = brood::StartMethod::spawn,
//                     .standard_output = brood::Stdio::file("index.log", brood::Stdio::Append::yes),
//                     .standard_error = brood::Stdio::like_output(),
//                     .working_directory = "/srv/data",
//                     .environment = {{"LANG", "C"}, {"DISPLAY", std::nullopt}},
//                     .nice = 10},
//                    index, files);
//
// Complete example: examples/20_streams_and_settings.cpp
#pragma once

#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace brood::inline v1 {

/// How children come to be.
///
///   method      the child is                                       main() and statics            cost of a start
///   fork        a clone of this process and of the calling thread  neither; the parent's copies  grows with our memory
///   spawn       this program executed again                        statics run, main() does not  constant, highest
///   forkserver  a clone of a server that was spawned once and      statics ran in the server,    constant, lowest
///               waits in init()                                    main() does not
///   light       one library, loaded by a tiny program              neither; the library's run   constant, whatever the
///               that is part of brood                                                           size of this program
///
/// Users, groups, capabilities and resource limits are this process's at start(), under forkserver, too: when they have
/// changed, the next start makes a new server. Umask, nice value and CPUs are those that the server was made with.
///
/// In every one of them the target and its arguments travel the same way, so code that works under one works under all. But
/// a light child loads nothing of the program: its target lies in a shared library, which is linked with brood, and so
/// does the code that makes the Process. (A function of the library that makes and returns it will do; of a CustomProcess
/// constructors and destructor are the library's, not inline in a header that the program sees.) The program needs
/// no init(). Children of a light process are light unless it names another method: fork works, spawn and forkserver, for
/// which there is no program to execute, are a UsageError.
enum class StartMethod : std::uint8_t { fork, spawn, forkserver, light };
[[nodiscard]] std::string_view to_string(StartMethod method) noexcept;
std::ostream& operator<<(std::ostream& out, StartMethod method);

/// Where one of the standard streams of a child comes from or goes to.
class Stdio {
 public:
  enum class Append : bool { no, yes };

  /// This process's own stream of that number, as it is at start(). (Output under forkserver: as it was when the server
  /// was made, with the first start.)
  [[nodiscard]] static Stdio inherit() { return Stdio(Kind::inherit); }
  /// /dev/null.
  [[nodiscard]] static Stdio null() { return Stdio(Kind::null); }
  /// A pipe; the parent gets the other end from Process::take_stdin(), take_stdout(), take_stderr().
  [[nodiscard]] static Stdio pipe() { return Stdio(Kind::pipe); }
  /// A file, opened by the parent at each start(): for reading, or created (mode 0666 less the umask) and emptied, or
  /// appended to.
  [[nodiscard]] static Stdio file(std::filesystem::path path, Append append = Append::no) {
    Stdio out(Kind::file);
    out.path_ = std::move(path);
    out.append_ = append;
    return out;
  }
  /// A copy of a descriptor of this process, which must be open until start() has returned.
  [[nodiscard]] static Stdio descriptor(int fd) {
    Stdio out(Kind::descriptor);
    out.fd_ = fd;
    return out;
  }
  /// Standard error only: the same as the child's standard output, one stream for both.
  [[nodiscard]] static Stdio like_output() { return Stdio(Kind::like_output); }

  enum class Kind : std::uint8_t { inherit, null, pipe, file, descriptor, like_output };
  [[nodiscard]] Kind kind() const noexcept { return kind_; }
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  [[nodiscard]] Append append() const noexcept { return append_; }
  [[nodiscard]] int fd() const noexcept { return fd_; }

 private:
  explicit Stdio(Kind kind) : kind_(kind) {}
  Kind kind_;
  Append append_ = Append::no;
  int fd_ = -1;
  std::filesystem::path path_;
};

/// A limit as setrlimit(2) knows it.
struct ResourceLimit {
  static constexpr std::uint64_t unlimited = ~std::uint64_t{0};
  int resource = 0;  ///< RLIMIT_NOFILE, RLIMIT_AS, …
  std::uint64_t soft = unlimited;
  std::uint64_t hard = unlimited;
};

/// Options of a Process, for designated initialisers: Process({.name = "reader", .daemon = true}, f, args…).
///
/// What follows start_method is done in the child before anything of the program runs in it (spawn: between fork and exec;
/// fork and forkserver: before the arguments are decoded), in this order: session, process group, nice, CPUs, limits,
/// streams, directory, groups, group, user. If a step fails, start() throws StartError that names the step, its value and
/// the kernel's reason, and there is no child.
struct ProcessOptions {
  /// Free text; empty: "Process-N" by order of construction, "Process-3:1" for the first child of Process-3.
  std::string name = {};
  /// A daemon is ended before its creator ends, and may not start children itself (what it forks by hand is no daemon, and may).
  /// Default: as its creator, that is no.
  std::optional<bool> daemon = {};
  /// Default: get_start_method() at the time of start().
  std::optional<StartMethod> start_method = {};
  /// What a light child loads; the other methods ignore it. Empty: the library that makes the Process, which must be on
  /// disk as it was loaded. Else a file, relative to the working directory of this process at start(): a copy of that
  /// library, or one that loads more than it does. The target is found by build id, so it is always the same build.
  std::filesystem::path library = {};

  Stdio standard_input = Stdio::null();
  Stdio standard_output = Stdio::inherit();
  Stdio standard_error = Stdio::inherit();
  /// Empty: the parent's (forkserver: as it was when the server was made). A relative one is relative to the parent's at start().
  std::filesystem::path working_directory = {};
  /// Variables to set; those with no value are removed.
  std::map<std::string, std::optional<std::string>> environment = {};
  /// Begin with no variables at all instead of the parent's.
  bool clear_environment = false;
  /// Numbers of the CPUs that the child may run on; empty: as the parent.
  std::vector<int> cpus = {};
  /// -20 (served first; needs rights) to 19.
  std::optional<int> nice = {};
  std::vector<ResourceLimit> limits = {};
  /// Leader of a new session without a terminal, and of a new process group.
  bool new_session = false;
  /// The process group to join; 0: a new one, led by the child. Not together with new_session.
  std::optional<int> process_group = {};
  /// To run as another user (root only). Supplementary groups are given up unless they are named; the group itself stays the
  /// parent's (root's!) unless `group` is named, too. The child shares no objects with its parent, whose domain is closed to
  /// other users: it has a domain of its own user, and shared objects as arguments are a UsageError of start().
  std::optional<std::uint32_t> user = {};
  std::optional<std::uint32_t> group = {};
  std::optional<std::vector<std::uint32_t>> groups = {};
};

}  // namespace brood::inline v1
