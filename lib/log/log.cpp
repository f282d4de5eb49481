#include "brood/log.hpp"

#include <spdlog/sinks/stdout_color_sinks.h>

#include <algorithm>
#include <cstdlib>
#include <new>
#include <span>
#include <utility>
#include <vector>

#include "base/made_once.hpp"
#include "brood/detail/codec.hpp"
#include "brood/error.hpp"
#include "log/file_sink.hpp"
#include "log/gatherer.hpp"
#include "log/hold.hpp"
#include "log/last_resort.hpp"
#include "log/record.hpp"
#include "log/route.hpp"
#include "process/legacy.hpp"

namespace brood::inline v1 {
namespace log {
namespace {

constexpr std::string_view kRoom = "log";
constexpr std::size_t kSmallestBudget = std::size_t{64} << 10;

using Routes = std::vector<Route*>;

// All under the room's mutex, except what the pointers point to; nothing is ever destroyed.
constinit QueueOptions g_options{.byte_budget = std::size_t{16} << 20};
constinit Gatherer* g_gatherer = nullptr;
constinit const Routes* g_routes = nullptr;  ///< a new list for each change: who logs has left the mutex
constinit std::vector<Gatherer*>* g_of_parents = nullptr;

void set_routes(Routes routes) { g_routes = new Routes(std::move(routes)); }

/// At exit of a process whose records go to another one: was that killed meanwhile?
void look_back() {
  const Routes* routes = nullptr;
  {
    const Hold hold;
    routes = g_routes;
  }
  if (routes == nullptr) return;
  for (Route* route : *routes) route->salvage_if_dead();
}

void look_back_at_exit() {
  if (std::atexit(look_back) != 0) throw std::bad_alloc();
}

void retire(Gatherer* gatherer) {
  if (g_of_parents == nullptr) g_of_parents = new std::vector<Gatherer*>;
  g_of_parents->push_back(gatherer);
}

/// Mutex held. A process that the application has forked logs to its parent.
void adopt() {
  if (g_gatherer == nullptr || g_gatherer->is_mine()) return;
  Routes routes = g_routes != nullptr ? *g_routes : Routes();
  routes.push_back(g_gatherer->route_to_it().release());
  set_routes(std::move(routes));
  retire(std::exchange(g_gatherer, nullptr));
}

void deliver(const spdlog::details::log_msg& message) {
  const Routes* routes = nullptr;
  Record record;
  {
    const Hold hold;
    if (hold.is_nested()) return write_to_stderr(record_of(message));
    adopt();
    routes = g_routes;
    if (g_gatherer == nullptr && routes == nullptr) return;
    record = record_of(message);
    if (g_gatherer != nullptr) g_gatherer->log(record);
  }
  if (routes == nullptr) return;
  // Without the mutex: who waits for room here must not keep others from forking.
  bool missed = false;
  for (Route* route : *routes) {
    if (message.level >= route->to().level) missed = !route->take(record) || missed;
  }
  if (missed) write_to_stderr(record);
}

void flush_all() {
  const Hold hold;
  if (hold.is_nested()) return;
  adopt();
  if (g_gatherer != nullptr) g_gatherer->flush();
}

/// spdlog's, with one more way out.
class Logger final : public spdlog::logger {
 public:
  explicit Logger(std::string name) : spdlog::logger(std::move(name)) { set_level(spdlog::level::trace); }
  [[nodiscard]] std::shared_ptr<spdlog::logger> clone(std::string name) override {
    auto cloned = std::make_shared<Logger>(*this);
    cloned->name_ = std::move(name);
    return cloned;
  }

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    deliver(message);
    spdlog::logger::sink_it_(message);
  }
  void flush_() override {
    flush_all();
    spdlog::logger::flush_();
  }
};

constinit base::MadeOnce<std::shared_ptr<spdlog::logger>> g_logger;

std::shared_ptr<spdlog::logger>& logger() {
  return g_logger.get(
      [] { return std::make_unique<std::shared_ptr<spdlog::logger>>(std::make_shared<Logger>("brood")); });
}

// --- what children are left

struct Estate {
  std::int32_t level = spdlog::level::trace;
  std::vector<Destination> destinations;
};

std::vector<std::byte> will() {
  Estate estate;
  estate.level = logger()->level();
  {
    const Hold hold;
    adopt();
    if (g_routes != nullptr) {
      for (const Route* route : *g_routes) estate.destinations.push_back(route->to());
    }
    if (g_gatherer != nullptr) estate.destinations.push_back(g_gatherer->destination());
  }
  if (estate.destinations.empty() && estate.level == spdlog::level::trace) return {};
  Encoder out;
  detail::encode(out, estate);
  return out.take_bytes();
}

void inherit(std::span<const std::byte> bytes) {
  Decoder in(bytes);
  auto estate = detail::decode<Estate>(in);
  in.finish();
  logger()->set_level(static_cast<spdlog::level::level_enum>(estate.level));
  Routes routes;
  for (Destination& to : estate.destinations) routes.push_back(std::make_unique<Route>(std::move(to)).release());
  if (!routes.empty()) look_back_at_exit();
  const Hold hold;
  // Under fork this process has copies of its parent's.
  if (g_gatherer != nullptr) retire(std::exchange(g_gatherer, nullptr));
  set_routes(std::move(routes));
}

[[maybe_unused]] const bool g_heir = process::expect_legacy(kRoom, inherit);
[[maybe_unused]] const bool g_will = process::bequeath_at_start(kRoom, will);

}  // namespace
}  // namespace log

std::shared_ptr<spdlog::logger> get_logger() { return log::logger(); }

std::shared_ptr<spdlog::logger> log_to(std::shared_ptr<spdlog::sinks::sink> sink, spdlog::level::level_enum level,
                                       std::string_view pattern) {
  if (!sink) throw UsageError("log_to(): there is no sink");
  auto formatter = pattern.empty() ? nullptr : log::make_formatter(pattern);
  const log::Hold hold;
  if (hold.is_nested()) throw UsageError("log_to(): called by a sink; add sinks elsewhere");
  log::adopt();
  if (log::g_gatherer == nullptr) {
    auto* const made = new log::Gatherer(log::g_options);
    log::g_gatherer = made;
    log::look_back_at_exit();  // of processes that are forked off
  }
  if (formatter) sink->set_formatter(std::move(formatter));
  sink->set_level(level);
  log::g_gatherer->add(std::move(sink));
  std::int32_t lowest = log::g_gatherer->destination().level;
  if (log::g_routes != nullptr) {
    for (const log::Route* route : *log::g_routes) lowest = std::min(lowest, route->to().level);
  }
  log::logger()->set_level(static_cast<spdlog::level::level_enum>(lowest));
  return log::logger();
}

std::shared_ptr<spdlog::logger> log_to_stderr(spdlog::level::level_enum level) {
  return log_to(std::make_shared<spdlog::sinks::stderr_color_sink_mt>(), level);
}

std::shared_ptr<spdlog::logger> log_to_file(const std::string& path, spdlog::level::level_enum level) {
  return log_to(std::make_shared<log::FileSink>(path), level);
}

void set_log_queue(const QueueOptions& options) {
  if (options.byte_budget < log::kSmallestBudget)
    throw UsageError("set_log_queue(): records need at least 64 KiB, got " + std::to_string(options.byte_budget));
  const log::Hold hold;
  log::adopt();
  if (log::g_gatherer != nullptr) throw UsageError("set_log_queue(): call it before the first log_to…()");
  log::g_options = options;
}

}  // namespace brood::inline v1
