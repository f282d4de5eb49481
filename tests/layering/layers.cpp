#include "layering/layers.hpp"

#include <algorithm>
#include <array>
#include <fstream>
#include <map>
#include <optional>
#include <regex>
#include <string_view>

namespace layering {
namespace {

namespace fs = std::filesystem;

/// Bottom-up; rooms of one level are strangers to each other.
const std::map<std::string, int, std::less<>> kLevels = {
    {"base", 0}, {"os", 1},      {"shm", 2},    {"registry", 3}, {"sync", 4}, {"wire", 4},
    {"pool", 9}, {"channel", 5}, {"shared", 5}, {"process", 6},  {"net", 6},  {"wait", 7},
    {"call", 7}, {"remote", 8},  {"cli", 11},   {"manager", 10}, {"log", 8},
};
/// The rooms that must be there.
constexpr std::array kBuilt = {"base",    "os",  "shm",  "registry", "sync",   "wire",    "channel", "shared",
                               "process", "net", "wait", "call",     "remote", "manager", "log",     "pool"};

/// What a public header may include although it is not of the standard library.
const std::map<std::string, std::string, std::less<>> kPublicExceptions = {
    {"include/brood/detail/codec_fields.hpp", "boost/pfr"},
    {"include/brood/asio.hpp", "boost/"},
    {"include/brood/log.hpp", "spdlog/"},
    {"include/brood/shared/allocator.hpp", "boost/"},
    {"include/brood/shared/layout.hpp", "boost/"},
    {"include/brood/shared/types.hpp", "boost/"},
};

struct Include {
  int line = 0;
  bool angled = false;
  std::string target;  ///< empty for `#include MACRO`
};

struct Source {
  std::string path;  ///< relative to the root
  std::string room;  ///< empty when it says none
  std::vector<Include> includes;
};

std::vector<std::string> lines_of(const fs::path& file) {
  std::ifstream in(file);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

bool starts_with(std::string_view text, std::string_view start) { return text.substr(0, start.size()) == start; }

/// "sync" of "sync/lock_core.hpp".
std::string first_part(const std::string& path) { return path.substr(0, path.find('/')); }

class Checker {
 public:
  explicit Checker(const fs::path& root) : root_(root) {}

  std::vector<std::string> run() {
    check_rooms();
    check_build_file();
    for (const auto& path : sources_below("include/brood")) read_public_header(path);
    for (const auto& header : headers_) check_public_header(header.second);
    for (const auto& path : sources_below("lib")) check_private(path);
    for (const auto& path : sources_below("examples")) check_example(path);
    std::sort(found_.begin(), found_.end());
    return std::move(found_);
  }

 private:
  void report(const std::string& file, int line, const std::string& what) {
    found_.push_back(file + ":" + std::to_string(line) + ": " + what);
  }

  std::vector<std::string> sources_below(const std::string& folder) const {
    std::vector<std::string> found;
    if (!fs::exists(root_ / folder)) return found;
    for (const auto& entry : fs::recursive_directory_iterator(root_ / folder)) {
      const auto extension = entry.path().extension();
      if (extension == ".hpp" || extension == ".cpp") found.push_back(entry.path().lexically_relative(root_).string());
    }
    return found;
  }

  Source read(const std::string& path) const {
    static const std::regex kInclude(R"re(^\s*#\s*include\s*(?:<([^>]+)>|"([^"]+)"|(\S)).*)re");
    static const std::regex kRoom(R"re(^//.*\(room: ([a-z]+)\)\s*$)re");
    Source source{path, {}, {}};
    int number = 0;
    for (const auto& line : lines_of(root_ / path)) {
      ++number;
      std::smatch match;
      if (source.room.empty() && std::regex_match(line, match, kRoom)) source.room = match[1];
      if (!std::regex_match(line, match, kInclude)) continue;
      source.includes.push_back({number, match[1].matched, match[1].matched ? match[1].str() : match[2].str()});
    }
    return source;
  }

  void check_rooms() {
    for (const std::string room : kBuilt) {
      if (!fs::exists(root_ / "lib" / room)) report("lib/" + room, 0, "the room is missing");
    }
    if (!fs::exists(root_ / "lib")) return;
    for (const auto& entry : fs::directory_iterator(root_ / "lib")) {
      if (!entry.is_directory()) continue;
      const std::string room = entry.path().filename().string();
      if (kLevels.find(room) == kLevels.end()) report("lib/" + room, 0, "is no room of the layer diagram");
      for (const char* file : {"README.md", "meson.build"}) {
        if (!fs::exists(entry.path() / file)) report("lib/" + room, 0, std::string("the room has no ") + file);
      }
    }
  }

  /// lib/meson.build enters the rooms bottom-up.
  void check_build_file() {
    static const std::regex kSubdir(R"re(^\s*subdir\('([a-z]+)'\).*)re");
    const std::string file = "lib/meson.build";
    int number = 0;
    int highest = -1;
    for (const auto& line : lines_of(root_ / file)) {
      ++number;
      std::smatch match;
      if (!std::regex_match(line, match, kSubdir)) continue;
      const auto level = kLevels.find(match[1].str());
      if (level == kLevels.end()) continue;
      if (level->second < highest) report(file, number, match[1].str() + " stands above a room that it lies below");
      highest = std::max(highest, level->second);
    }
    if (highest < 0) report(file, 0, "enters no room");
  }

  void read_public_header(const std::string& path) {
    Source header = read(path);
    const std::string name = path.substr(std::string("include/").size());
    // brood.hpp includes all the others, so it is above every room.
    if (header.room.empty() && name != "brood/brood.hpp")
      report(path, 1, "its first comment does not end in (room: …)");
    if (!header.room.empty() && kLevels.find(header.room) == kLevels.end()) {
      report(path, 1, "'" + header.room + "' is no room");
      header.room.clear();
    }
    headers_.emplace(name, std::move(header));
  }

  void check_public_header(const Source& header) {
    static const std::regex kStandard("[a-z_0-9]+");
    const auto exception = kPublicExceptions.find(header.path);
    for (const auto& include : header.includes) {
      const bool excepted = exception != kPublicExceptions.end() && starts_with(include.target, exception->second);
      if (include.angled) {
        if (!excepted && !std::regex_match(include.target, kStandard)) {
          report(header.path, include.line, "a public header includes <" + include.target + ">, which is not std");
        }
      } else if (first_part(include.target) != "brood") {
        report(header.path, include.line,
               "a public header includes \"" + include.target + "\", which is not installed");
      } else if (!header.room.empty()) {
        check_reach(header.path, header.room, include);
      }
    }
  }

  void check_private(const std::string& path) {
    const Source source = read(path);
    const std::string room = first_part(path.substr(std::string("lib/").size()));
    if (kLevels.find(room) == kLevels.end()) return;  // reported as no room already
    for (const auto& include : source.includes) {
      if (include.angled) {
        const bool raw = starts_with(include.target, "linux/") || include.target == "sys/syscall.h";
        if (raw && room != "os") {
          report(path, include.line, "<" + include.target + ">: only the room os makes raw system calls");
        }
      } else if (first_part(include.target) != "absl") {  // written with quotes, as Abseil itself does
        check_reach(path, room, include);
      }
    }
  }

  void check_example(const std::string& path) {
    for (const auto& include : read(path).includes) {
      if (include.angled) continue;
      if (first_part(include.target) != "brood" || starts_with(include.target, "brood/detail/")) {
        report(path, include.line, "an example includes \"" + include.target + "\", which is no public header");
      }
    }
  }

  /// `room` includes "<other room>/…" or "brood/…" of another room.
  void check_reach(const std::string& file, const std::string& room, const Include& include) {
    if (include.target.empty()) {
      report(file, include.line, "an include through a macro hides what it reaches");
      return;
    }
    const auto other = room_behind(include.target);
    if (!other) {
      report(file, include.line, "\"" + include.target + "\" names neither a room's file nor a public header");
      return;
    }
    if (*other == room) return;
    const int own = kLevels.find(room)->second;
    const int theirs = kLevels.find(*other)->second;
    if (theirs > own)
      report(file, include.line, "upward: " + room + " includes \"" + include.target + "\" of " + *other);
    if (theirs == own)
      report(file, include.line, "sideways: " + room + " includes \"" + include.target + "\" of " + *other);
    if (room == "cli" && first_part(include.target) != "brood") {
      report(file, include.line, "cli uses public headers only, not \"" + include.target + "\"");
    }
  }

  std::optional<std::string> room_behind(const std::string& target) const {
    const std::string first = first_part(target);
    if (first != "brood") {
      if (target.find('/') == std::string::npos || kLevels.find(first) == kLevels.end()) return std::nullopt;
      return first;
    }
    if (target == "brood/brood.hpp") return "cli";
    const auto header = headers_.find(target);
    if (header == headers_.end() || header->second.room.empty()) return std::nullopt;
    return header->second.room;
  }

  fs::path root_;
  std::map<std::string, Source, std::less<>> headers_;  ///< by the name they are included with
  std::vector<std::string> found_;
};

}  // namespace

std::vector<std::string> breaches(const fs::path& root) { return Checker(root).run(); }

}  // namespace layering
