// Logging: the records of all processes in one place, through spdlog. Link brood-log.               (room: log)
//
//   brood::log_to_stderr();                                   // or log_to_file(path), log_to(any sink of spdlog's)
//   brood::get_logger()->info("{} files to go", files);       // here and in every child
//
// Complete example: examples/22_logging.cpp
#pragma once

#include <spdlog/logger.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "brood/detail/queue_core.hpp"

namespace brood::inline v1 {

/// The logger of this process, named "brood": all of spdlog's ways to log (`info("x {}", n)`, `SPDLOG_LOGGER_INFO` with the
/// place in the source, backtraces). It is not in spdlog's registry, so spdlog::set_level() and the like leave it alone.
///
/// Until somebody calls log_to…(), here or in a process above, it has no level (everything passes), no sink, and writes
/// nothing. From then on a record goes to the sinks of every process that called log_to…() and is this process or one
/// above it at the time. clone("name") makes further loggers that do the same under names of their own. Sinks added to
/// logger->sinks() are this process's alone, as everywhere in spdlog.
///
/// Threads:   safe. A signal handler must not log.
/// Processes: each has its own; level and destinations are left to every child at its start (all start methods), and to
///            its children. A process that the application forks itself goes on as its parent.
/// Ordering:  records of one thread stay in order; those of several processes are merged as they arrive.
/// Errors:    none reach the caller of a log function: a record that cannot be brought to a sink is written to standard
///            error of this process, after one line that says why.
/// Crash:     when the log call returns, the record is in shared memory: killing the process that logged does not lose it.
///            When the process with the sinks has died, records, also those that it had not written yet, go to
///            standard error of the processes that remain.
/// Source:    Python multiprocessing.get_logger.
[[nodiscard]] std::shared_ptr<spdlog::logger> get_logger();

/// What a line looks like unless a log_to…() says otherwise:
///
///     [2026-01-31 12:00:00.123] [brood] [info] [Process-3 4711] [main 4711] job.cpp:17: text
///
/// spdlog's pattern language, in which these flags tell of the process that logged: %N its name, %P its pid, %K name of
/// the thread, %t number of the thread, %G "file:line: " if the record has a place in the source. (Without padding.)
inline constexpr std::string_view kLogPattern = "[%Y-%m-%d %H:%M:%S.%e] [%n] [%^%l%$] [%N %P] [%K %t] %G%v";

/// Write the records of this process, and of the children that are started from now on and of theirs, to this sink.
///
/// Only records of this level and above go there. Several calls add several sinks, the same one twice as well. The
/// logger's level becomes the lowest that any sink wants; logger->set_level() may raise it afterwards, also for children
/// started after that.
///
/// The first call makes a queue and a thread named brood-log, which writes what others have logged. What this process logs
/// is written by the call itself, after what has arrived until then. A sink is used by one thread at a time (if nobody
/// else uses it), and flushed when what there was is written. logger->flush() returns when everything that
/// was logged before, by whomever, is written and flushed; in a process without sinks it does nothing.
///
/// Called in a child, it adds to what the child was left: its records go to its own sinks, and to those above.
/// At exit the sinks are served until all children have been ended or joined, and then by this process alone.
///
/// pattern:   of the lines; empty: the sink keeps its formatter. A sink that makes no lines asks log_origin().
/// Errors:    UsageError (no sink; called by a sink), NoSpace, PermissionDenied, OsError. Then nothing has changed.
/// A sink that throws: the record goes to standard error, after a line that says so; it is asked again for the next one.
/// A sink must not start processes. What it logs itself goes to standard error.
/// Returns the logger.
std::shared_ptr<spdlog::logger> log_to(std::shared_ptr<spdlog::sinks::sink> sink,
                                       spdlog::level::level_enum level = spdlog::level::info,
                                       std::string_view pattern = kLogPattern);
/// To standard error of this process, in colour if that is a terminal.
std::shared_ptr<spdlog::logger> log_to_stderr(spdlog::level::level_enum level = spdlog::level::info);
/// To the end of a file, which is made if there is none; each record by one write(2). Errors: also OsError (open).
std::shared_ptr<spdlog::logger> log_to_file(const std::string& path,
                                            spdlog::level::level_enum level = spdlog::level::info);

/// The queue through which records of other processes come: its limits, and what they do while it is full. Default: 16 MiB
/// of records, and who logs waits, as long as the process with the sinks lives. With WhenFull::fail records that find no
/// room go to standard error of the process that logs; those that are dropped by another policy are counted, and the count
/// is logged. Texts of more than a quarter of the bytes, or of more than 1 MiB, arrive as several records that say "[part
/// 1 of 3] ".
///
/// Before the first log_to…() of this process. Errors: UsageError (too late; less than 64 KiB).
void set_log_queue(const QueueOptions& options);

/// Who logged.
struct LogOrigin {
  std::string process;  ///< its name; names of more than 256 bytes are cut, here and elsewhere in a record
  std::int64_t pid = 0;
  std::string thread;
  std::uint64_t thread_id = 0;
};
/// Called by a sink (in its log or sink_it_): the origin of the record it is given. Elsewhere: the caller.
[[nodiscard]] LogOrigin log_origin();

}  // namespace brood::inline v1
