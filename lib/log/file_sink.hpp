// FileSink: records to the end of a file. Nothing is kept back, so that neither a fork nor a killing finds half of it.
#pragma once

#include <spdlog/sinks/base_sink.h>

#include <mutex>
#include <string>

#include "base/unique_fd.hpp"

namespace brood::inline v1::log {

/// Not spdlog's basic_file_sink: that buffers, and leaves its descriptor to every program that is executed.
class FileSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  /// Errors: OsError.
  explicit FileSink(const std::string& path);

 private:
  void sink_it_(const spdlog::details::log_msg& message) override;
  void flush_() override {}

  std::string path_;
  base::UniqueFd fd_;
};

}  // namespace brood::inline v1::log
