#include "log/gatherer.hpp"

#include <algorithm>
#include <exception>
#include <limits>
#include <string>
#include <utility>

#include "brood/error.hpp"
#include "brood/process.hpp"
#include "brood/wait.hpp"
#include "log/hold.hpp"
#include "log/last_resort.hpp"
#include "os/program.hpp"
#include "registry/registry.hpp"

namespace brood::inline v1::log {
namespace {

/// Records written with the mutex in hand; who else wants to log, or to fork, waits for them.
constexpr std::size_t kBatch = 128;

/// Before children are joined; and after that, behind all other finalizers.
constexpr int kFirst = std::numeric_limits<int>::max();
constexpr int kLast = std::numeric_limits<int>::min();

std::string current_exception_text() {
  try {
    throw;
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "something that is no std::exception";
  }
}

}  // namespace

Gatherer::Gatherer(const QueueOptions& options) : queue_(std::make_shared<Queue<Record>>(options)) {
  self_ = {queue_->handle().str(), registry::self(), process_, current_process_name(), 0};
  at_exit_ = Finalizer([this] { begin_to_end(); }, kFirst);
  at_end_ = Finalizer([this] { end(); }, kLast);
  try {
    launch();
  } catch (const OsError&) {
    at_exit_.cancel();
    at_end_.cancel();
    throw;
  }
}

Destination Gatherer::destination() const {
  Destination to = self_;
  to.level = spdlog::level::off;
  for (const Output& output : outputs_) to.level = std::min(to.level, std::int32_t{output.sink->level()});
  return to;
}

void Gatherer::launch() {
  // Born with all signals blocked: the application's handlers run on the application's threads.
  const os::AllSignalsBlocked blocked;
  const auto body = [](void* self) -> void* {
    static_cast<Gatherer*>(self)->run();
    return nullptr;
  };
  // A stack of the usual size: the application's sinks run on it.
  if (const int error = ::pthread_create(&thread_, nullptr, body, this); error != 0)
    throw OsError(error, "cannot start the thread that gathers the log");
  // By us: it shall have its name before anybody counts threads (start method fork).
  ::pthread_setname_np(thread_, "brood-log");
}

/// The thread. It takes under the room's mutex, so that records are written in the order in which they arrived.
void Gatherer::run() {
  try {
    for (;;) {
      (void)wait_any(*queue_);
      const Hold hold;
      take(kBatch);
    }
  } catch (const QueueClosed&) {
    // end() has shut it down, and all of it is written.
  } catch (const Error& error) {
    tell(std::string("the log is gathered no longer: ") + error.what());
    queue_->shutdown();  // the others write to their own standard error
  }
}

/// A sink has called exit(): nobody reads any more, and children that find the queue full could not be joined.
void Gatherer::begin_to_end() noexcept {
  if (Hold().is_nested()) queue_->shutdown();
}

/// At exit, when children have been joined. Who is still there writes to its own standard error from now on.
void Gatherer::end() noexcept {
  queue_->shutdown();
  if (Hold().is_nested()) {
    // The thread is this one, or waits for the mutex that this one will not give back.
    ::pthread_detach(thread_);
    write_rest_to_stderr();
  } else {
    ::pthread_join(thread_, nullptr);
  }
  const Hold hold;
  // The queue ends in the middle of what the thread takes: that is not flushed yet. (Or the thread had failed.)
  if (!hold.is_nested()) flush();
  has_ended_ = true;
}

void Gatherer::write_rest_to_stderr() noexcept {
  try {
    for (;;) write_to_stderr(queue_->get());
  } catch (const QueueClosed&) {
    // That was all.
  } catch (const Error& error) {
    tell(std::string("the log's queue cannot be read: ") + error.what());
  }
}

void Gatherer::log(const Record& record) {
  take_what_has_arrived();
  write(record);
  flush_sinks();
}

void Gatherer::flush() {
  take_what_has_arrived();
  flush_sinks();
}

void Gatherer::take_what_has_arrived() {
  if (has_ended_) return;
  try {
    const std::size_t arrived = queue_->qsize();
    if (arrived != 0) take(arrived);
  } catch (const QueueClosed&) {
    // Shut down, and the thread has written what there was.
  } catch (const Error& error) {
    tell(std::string("the log's queue cannot be read: ") + error.what());
  }
}

/// Writes up to so many records. One by one: what this process has taken out would be lost if it were killed.
void Gatherer::take(std::size_t most) {
  for (std::size_t i = 0; i < most; ++i) {
    try {
      const auto record = queue_->try_get();
      if (!record) break;
      write(*record);
    } catch (const DecodeError& error) {
      tell(std::string("a record of another process cannot be read: ") + error.what());
    }
  }
  report_dropped();
  flush_sinks();
}

void Gatherer::report_dropped() {
  const std::uint64_t dropped = queue_->dropped();
  if (dropped == dropped_) return;
  write(warning(std::to_string(dropped - dropped_) + " records were dropped: the log's queue was full"));
  dropped_ = dropped;
}

void Gatherer::write(const Record& record) {
  const Presented presented(record);
  const auto message = message_of(record);
  for (Output& output : outputs_) {
    if (output.sink->should_log(message.level)) attempt(output, &record, [&](auto& sink) { sink.log(message); });
  }
}

void Gatherer::flush_sinks() {
  for (Output& output : outputs_) attempt(output, nullptr, [](auto& sink) { sink.flush(); });
}

/// What the sink throws is told, and the record is written elsewhere: neither the thread nor who logs can do more about it.
template <class Action>
void Gatherer::attempt(Output& output, const Record* record, Action action) {
  try {
    action(*output.sink);
    if (record != nullptr) output.told = false;
  } catch (...) {
    if (!std::exchange(output.told, true))
      tell("a sink of the log has failed (" + current_exception_text() + "); what it does not take follows here");
    if (record != nullptr) write_to_stderr(*record);
  }
}

}  // namespace brood::inline v1::log
