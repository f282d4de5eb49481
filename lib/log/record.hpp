// Record: what was logged, as it travels.
#pragma once

#include <spdlog/details/log_msg.h>
#include <spdlog/formatter.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "brood/log.hpp"

namespace brood::inline v1::log {

struct Record {
  std::int64_t time_ns = 0;  ///< since 1970
  std::int32_t level = 0;
  LogOrigin origin;
  std::string logger;
  std::string file;  ///< empty: no place in the source is known
  std::int32_t line = 0;
  std::string function;
  std::string text;
};

/// Of the calling thread.
[[nodiscard]] LogOrigin origin_here();
[[nodiscard]] Record record_of(const spdlog::details::log_msg& message);
/// Of the library itself, in this process.
[[nodiscard]] Record warning(std::string text);

/// As spdlog knows it; refers to the record.
[[nodiscard]] spdlog::details::log_msg message_of(const Record& record);

/// Several records for a long one: with at most so many bytes of its text each, and a mark that says which part it is.
[[nodiscard]] std::vector<Record> in_parts(Record record, std::size_t most_bytes);

/// While it lives, log_origin() and the formatters of this thread tell of this record.
class Presented {
 public:
  explicit Presented(const Record& record) noexcept;
  ~Presented();
  Presented(const Presented&) = delete;
  Presented& operator=(const Presented&) = delete;

 private:
  const LogOrigin* before_;
};

/// spdlog's patterns with the flags of kLogPattern.
[[nodiscard]] std::unique_ptr<spdlog::formatter> make_formatter(std::string_view pattern);

}  // namespace brood::inline v1::log
