#include "log/record.hpp"

#include <spdlog/pattern_formatter.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <chrono>
#include <utility>

#include "brood/process.hpp"

namespace brood::inline v1 {
namespace log {
namespace {

using spdlog::details::log_msg;
using std::chrono::duration_cast;
using std::chrono::nanoseconds;

constexpr std::size_t kLongestName = 256;

thread_local constinit const LogOrigin* t_presented = nullptr;

/// The largest size of at most `most` at which no character of UTF-8 is cut in two; of other bytes, `most`.
std::size_t cut_before(std::string_view text, std::size_t most) {
  if (text.size() <= most) return text.size();
  std::size_t size = most;
  for (int back = 0; back < 3 && size > 1 && (static_cast<unsigned char>(text[size]) & 0xc0) == 0x80; ++back) --size;
  return (static_cast<unsigned char>(text[size]) & 0xc0) == 0x80 ? most : size;
}

std::string short_name(std::string_view name) { return std::string(name.substr(0, cut_before(name, kLongestName))); }
std::string short_name(const char* name) { return short_name(name != nullptr ? std::string_view(name) : ""); }

/// Where a file's name starts.
std::string_view base_name(std::string_view path) { return path.substr(path.find_last_of('/') + 1); }

using Append = void (*)(const log_msg& message, spdlog::memory_buf_t& out);

void append(spdlog::memory_buf_t& out, std::string_view text) { out.append(text.data(), text.data() + text.size()); }

class Flag final : public spdlog::custom_flag_formatter {
 public:
  explicit Flag(Append append) : append_(append) {}
  void format(const log_msg& message, const std::tm& /*time*/, spdlog::memory_buf_t& out) override {
    append_(message, out);
  }
  [[nodiscard]] std::unique_ptr<spdlog::custom_flag_formatter> clone() const override {
    return std::make_unique<Flag>(append_);
  }

 private:
  Append append_;
};

}  // namespace

LogOrigin origin_here() {
  char thread[16] = {};
  ::prctl(PR_GET_NAME, thread);
  // Not spdlog's number of the thread, which a forked child would have from its parent.
  return {short_name(current_process_name()), ::getpid(), thread, static_cast<std::uint64_t>(::gettid())};
}

Record record_of(const log_msg& message) {
  Record record;
  record.time_ns = duration_cast<nanoseconds>(message.time.time_since_epoch()).count();
  record.level = message.level;
  record.origin = origin_here();
  record.logger = short_name({message.logger_name.data(), message.logger_name.size()});
  if (!message.source.empty()) {
    record.file = short_name(message.source.filename);
    record.line = message.source.line;
    record.function = short_name(message.source.funcname);
  }
  record.text.assign(message.payload.data(), message.payload.size());
  return record;
}

Record warning(std::string text) {
  Record record;
  record.time_ns = duration_cast<nanoseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  record.level = spdlog::level::warn;
  record.origin = origin_here();
  record.logger = "brood";
  record.text = std::move(text);
  return record;
}

log_msg message_of(const Record& record) {
  const auto since_epoch = duration_cast<spdlog::log_clock::duration>(nanoseconds(record.time_ns));
  spdlog::source_loc place;
  if (!record.file.empty()) place = {record.file.c_str(), record.line, record.function.c_str()};
  log_msg message(spdlog::log_clock::time_point(since_epoch), place, record.logger,
                  static_cast<spdlog::level::level_enum>(record.level), record.text);
  message.thread_id = record.origin.thread_id;
  return message;
}

std::vector<Record> in_parts(Record record, std::size_t most_bytes) {
  const std::string whole = std::exchange(record.text, {});
  std::vector<std::string_view> texts;
  for (std::string_view rest = whole; !rest.empty(); rest.remove_prefix(texts.back().size()))
    texts.push_back(rest.substr(0, cut_before(rest, most_bytes)));
  std::vector<Record> parts;
  for (const std::string_view text : texts) {
    Record& part = parts.emplace_back(record);
    part.text = "[part " + std::to_string(parts.size()) + " of " + std::to_string(texts.size()) + "] ";
    part.text += text;
  }
  return parts;
}

Presented::Presented(const Record& record) noexcept : before_(std::exchange(t_presented, &record.origin)) {}
Presented::~Presented() { t_presented = before_; }

std::unique_ptr<spdlog::formatter> make_formatter(std::string_view pattern) {
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<Flag>('N', [](const log_msg&, spdlog::memory_buf_t& out) { append(out, log_origin().process); });
  formatter->add_flag<Flag>(
      'P', [](const log_msg&, spdlog::memory_buf_t& out) { append(out, std::to_string(log_origin().pid)); });
  formatter->add_flag<Flag>('K', [](const log_msg&, spdlog::memory_buf_t& out) { append(out, log_origin().thread); });
  formatter->add_flag<Flag>('G', [](const log_msg& message, spdlog::memory_buf_t& out) {
    if (message.source.empty()) return;
    append(out, base_name(message.source.filename));
    append(out, ":" + std::to_string(message.source.line) + ": ");
  });
  formatter->set_pattern(std::string(pattern));
  return formatter;
}

}  // namespace log

LogOrigin log_origin() { return log::t_presented != nullptr ? *log::t_presented : log::origin_here(); }

}  // namespace brood::inline v1
