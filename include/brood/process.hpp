// Process: a function running in a process of its own.                                           (room: process)
//
//   #include <iostream>
//   #include "brood/brood.hpp"
//
//   void greet(brood::Lock& terminal, const std::string& whom) {
//     std::scoped_lock guard(terminal);
//     std::cout << "hello " << whom << '\n';
//   }
//   int main(int argc, char** argv) {
//     brood::init(argc, argv);
//     brood::Lock terminal;
//     brood::Process p(greet, terminal, "world");
//     p.start();
//     p.join();
//     return p.exitcode() == 0 ? 0 : 1;
//   }
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "brood/deadline.hpp"
#include "brood/descriptor.hpp"
#include "brood/detail/callable.hpp"
#include "brood/init.hpp"
#include "brood/process_options.hpp"
#include "brood/relatives.hpp"

namespace brood::inline v1 {

/// The method of processes that name none; forkserver unless chosen otherwise. Asking settles it.
[[nodiscard]] StartMethod get_start_method();
/// The same without settling anything: nothing if nobody has chosen, asked, or started a process
/// without naming one yet.
[[nodiscard]] std::optional<StartMethod> get_start_method_if_set();
/// All methods of this platform, the default first.
[[nodiscard]] std::vector<StartMethod> get_all_start_methods();
/// Choose the method once, early in main(). Children inherit the choice.
/// Errors: UsageError if it was settled before (chosen, asked for, or used by a start() that named none), unless forced.
void set_start_method(StartMethod method, bool force = false);
/// As if nobody had chosen yet.
void reset_start_method();
/// The program that spawn executes, and the forkserver from its next start on, in place of this one's own file; empty: back
/// to that. It must be this very build (start() compares build ids): a copy, a link, a wrapper that ends in exec. start() waits
/// for it: a program that never comes to init() holds start() up until it ends.
/// Errors: UsageError if the path is not absolute.
void set_executable(const std::filesystem::path& path);

namespace detail {

/// While it lives, the next CustomProcess that this thread makes stands for the calling process.
class MakesCurrentProcess {
 public:
  MakesCurrentProcess() noexcept;
  ~MakesCurrentProcess();
  MakesCurrentProcess(const MakesCurrentProcess&) = delete;
  MakesCurrentProcess& operator=(const MakesCurrentProcess&) = delete;
};

}  // namespace detail

/// Runs f(args…) in a process of its own.
///
/// f is a function or a lambda without captures; nothing needs to be registered. Arguments are converted to the types
/// of f's parameters and encoded by the constructor; shared objects (Lock, Queue, …) travel as handles and are opened
/// in the child while start() waits, so they must live until start() has returned.
///
///   state     start()      join, exitcode…            terminate…   close()     set_daemon()
///   initial   → started    join, sentinel: NotStarted NotStarted   → closed    yes
///   started   UsageError   yes                        yes          UsageError  UsageError
///   stopped   UsageError   yes                        no effect    → closed    UsageError
///   closed    UsageError   UsageError                 UsageError   no effect   UsageError
///
/// The child: standard input is /dev/null unless the options say otherwise; signal handlers are the default ones and nothing is blocked (ignored signals
/// stay ignored, except SIGCHLD); all descriptors but the standard ones are closed if they are close-on-exec — under
/// fork all of the application's stay open. When f returns, its arguments are destroyed and the process ends as by
/// exit(0), after its own children: a child of spawn, forkserver or light destroys its static objects, a child of fork runs
/// only the exit handlers that it registered itself, and neither the parent's handlers nor its static objects. exit(n)
/// in f works the same way with code n & 255. An exception that leaves f (or pthread_exit in it) is printed to standard error, with the stack where it
/// was thrown, and ends the process at once with code 1: the guards in f have released by then, but the arguments are not destroyed, and what is
/// still held counts as held by a dead process, so that peers learn of it.
///
/// Only the process that made the object may use it, whatever fork copied; others get UsageError. Threads: safe, except
/// that moving and destroying need that nobody else uses the object.
/// Shape: two descriptors from start() until close() or destruction.
/// Crash: when this process is killed, a child that has not received its call yet ends quietly; daemons are sent SIGTERM
///        and, one second later, SIGKILL; other children go on.
/// Source: Python multiprocessing.Process.
class Process {
 public:
  template <class F, class... Args>
  requires(!std::same_as<std::remove_cvref_t<F>, Process> && !std::same_as<std::remove_cvref_t<F>, ProcessOptions>)
      [[gnu::visibility("hidden")]] explicit Process(F&& f, Args&&... args)
      : Process(ProcessOptions{}, detail::pack_call(std::forward<F>(f), std::forward<Args>(args)...)) {}
  template <class F, class... Args>
  requires(!std::same_as<std::remove_cvref_t<F>, detail::PackedCall>)
      [[gnu::visibility("hidden")]] Process(ProcessOptions options, F&& f, Args&&... args)
      : Process(std::move(options), detail::pack_call(std::forward<F>(f), std::forward<Args>(args)...)) {}
  /// Without a target: the child ends at once with code 0.
  explicit Process(ProcessOptions options = {});

  Process(Process&& other) noexcept;
  /// Ends what this object stood for as the destructor does, then takes over.
  Process& operator=(Process&& other) noexcept;
  /// Joins a started process; a daemon is sent SIGTERM and, if it is still there one second later, SIGKILL. In a
  /// process other than the creator: does nothing.
  virtual ~Process();

  /// Start the child and wait until it has found the target, decoded the arguments and opened the shared objects.
  ///
  /// Standard output and error are flushed first. At normal exit of this process its daemons are ended and its other
  /// children joined.
  /// Errors: UsageError (started before, closed, not the creator, called in a daemon; spawn or forkserver without
  ///         init() or in a light process, light for a target of the program: the message names the cures and no child
  ///         was made); StartError with the child's own words, or how
  ///         it ended, if it could not get ready; OsError (processes, descriptors or memory exhausted). After an error
  ///         there is no child, and start() may be called again.
  /// Threads: several processes may be started from several threads at once.
  void start();

  /// Sleep until the process has ended. May be repeated. Signals do not end the wait.
  /// Errors: NotStarted, UsageError (closed, not the creator).
  void join();
  /// Sleep at most so long; true once the process has ended. Zero and less poll once; never overflows.
  template <class Rep, class Period>
  bool join_for(std::chrono::duration<Rep, Period> timeout) {
    return join_deadline(Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  bool join_until(std::chrono::time_point<Clock, Duration> when) {
    return detail::attempt_until(when, [this](Deadline deadline) { return join_deadline(deadline); });
  }

  /// True from start() until the process has ended; false before.
  [[nodiscard]] bool is_alive() const;
  /// How it ended: 0..255, or -N after signal N; nothing before the start and while it runs. 255 if nobody knows:
  /// somebody else reaped it on a kernel before 6.15 and it was killed, or the forkserver was killed with it.
  [[nodiscard]] std::optional<int> exitcode() const;
  /// It has ended, and the kernel has written a core of it or handed it to whoever collects them here. False if that is not
  /// known: a forkserver's child on a kernel before 6.15.
  [[nodiscard]] bool core_dumped() const;
  /// Process id; nothing before the start.
  [[nodiscard]] std::optional<std::int64_t> pid() const;

  /// Usable in every state, closed too.
  [[nodiscard]] std::string name() const;
  /// Free text; what others see of a child that runs already does not change.
  void set_name(std::string_view name);
  [[nodiscard]] bool daemon() const;
  /// Errors: UsageError after start().
  void set_daemon(bool daemon);

  /// Send SIGTERM, SIGKILL, SIGINT. No effect on a process that has ended, even if its pid belongs to another one now.
  /// The child cleans up nothing; its own children go on, except daemons.
  /// Errors: NotStarted, UsageError (closed, not the creator), OsError (no permission: it changed its user).
  void terminate();
  void kill();
  void interrupt();

  /// Give the descriptors back. Afterwards only name, daemon and the printed form work.
  /// Errors: UsageError while it runs.
  void close();

  /// The parent's end of a stream that was made with Stdio::pipe(): to write the child's input, to read its output or
  /// errors. The caller's from now on; closing the first is the child's end-of-file. Read what a child prints before, or
  /// while, it is joined: one whose pipe is full waits for a reader. A child that is made by fork afterwards has a copy of what
  /// was taken, as of every descriptor of yours, so that the end-of-file waits for its end, too.
  /// Errors: NotStarted, UsageError (the stream is no pipe, or was taken before).
  [[nodiscard]] Descriptor take_stdin();
  [[nodiscard]] Descriptor take_stdout();
  [[nodiscard]] Descriptor take_stderr();

  /// A descriptor that is readable (poll, epoll) once the process has ended, and stays so; belongs to this object.
  /// Errors: NotStarted, UsageError.
  [[nodiscard]] int sentinel() const;

  /// `<Process name='Process-1' pid=71 parent=70 stopped exitcode=-SIGTERM daemon>`; the state is initial, started,
  /// stopped or closed.
  friend std::ostream& operator<<(std::ostream& out, const Process& process);

 protected:
  /// For CustomProcess: default names begin with the type's name.
  Process(ProcessOptions options, std::string_view type_name);

 private:
  struct Impl;
  /// The call that start() sends; nothing: the one that the constructor packed.
  [[nodiscard]] virtual std::optional<detail::PackedCall> pack_run() const;
  Process(ProcessOptions options, detail::PackedCall call);
  bool join_deadline(Deadline deadline);
  Descriptor take_stream(std::size_t number, const char* operation);
  [[nodiscard]] Impl& impl() const;
  void finish() noexcept;
  std::unique_ptr<Impl> impl_;
};

/// Called, at most once in a process, when start() forks while the application has other threads (start method fork
/// only): locks that those hold stay locked in the child for ever. The default prints a line to standard error; null
/// turns it off. The library's own threads do not count. Set it before other threads start processes.
using ForkWarning = std::function<void(const std::string& text)>;
void set_fork_warning(ForkWarning hook);

}  // namespace brood::inline v1
