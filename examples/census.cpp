// census: counts the words of a tree of files with many processes, and proves that it counted right.
//
//   census [--workers N] [--kill] [TREE…]   default: two workers (or one a processor), the headers below /usr/include
//
// One queue carries paths to the workers, one carries their counts back. A progress bar on the terminal is guarded by a
// shared lock, an event stops everything early on Ctrl-C. The same count is made in-line, with workers under each start
// method, and by tr, sort and uniq; all must agree word by word. A word is [A-Za-z0-9_]+.
//
// With --kill the count is made once more, with workers that are killed at random while they count. Their files come from
// a WorkQueue: what a killed worker had not finished is given to another one, and a file that was reported twice counts
// once, so the counts still agree.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <iostream>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "brood/brood.hpp"

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

struct Hash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>{}(text); }
};
using Counts = std::unordered_map<std::string, std::uint64_t, Hash, std::equal_to<>>;

std::size_t shard_of(std::string_view word, std::size_t shards) { return (Hash{}(word) >> 32) % shards; }

void add(Counts& counts, std::string_view word, std::uint64_t count) {
  if (const auto it = counts.find(word); it != counts.end()) it->second += count;
  else counts.emplace(word, count);
}

/// What a worker sends to the reducer of one shard (the words whose hash falls there): a part of its counts, the words
/// in one text, each ended by a blank; the last part says that there are no more.
struct Partial {
  int worker = 0;
  bool last = false;
  std::string words;
  std::vector<std::uint64_t> counts;
};
struct Progress {
  std::uint64_t files = 0;
  std::int64_t shown_ns = 0;
};

// --- counting one file: the same code in-line and in the workers -----------------------------------------------------

constexpr std::array<bool, 256> word_characters() {
  std::array<bool, 256> is{};
  for (int c = 0; c < 256; ++c)
    is[static_cast<std::size_t>(c)] =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  return is;
}
constexpr auto kInWord = word_characters();

void count_words(std::string_view text, Counts& counts) {
  const auto in_word = [&](std::size_t i) { return kInWord[static_cast<unsigned char>(text[i])]; };
  for (std::size_t i = 0; i < text.size();) {
    while (i < text.size() && !in_word(i)) ++i;
    const std::size_t begin = i;
    while (i < text.size() && in_word(i)) ++i;
    if (i == begin) continue;
    add(counts, text.substr(begin, i - begin), 1);
  }
}

/// The file's bytes in `buffer`. False if it cannot be read.
bool read_file(const std::string& path, std::string& buffer) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  struct stat st {};
  bool whole = ::fstat(fd, &st) == 0;
  buffer.resize(whole ? static_cast<std::size_t>(st.st_size) : 0);
  for (std::size_t at = 0; whole && at < buffer.size();) {
    const ssize_t got = ::read(fd, buffer.data() + at, buffer.size() - at);
    if (got <= 0) whole = false;
    else at += static_cast<std::size_t>(got);
  }
  ::close(fd);
  return whole;
}

// --- the workers -----------------------------------------------------------------------------------------------------

void show_progress(brood::Lock& terminal, brood::Value<Progress>& progress, std::uint64_t total) {
  const std::int64_t now = Clock::now().time_since_epoch().count();
  const auto files = progress.with([&](Progress& p) -> std::uint64_t {
    ++p.files;
    if (now - p.shown_ns < 100'000'000 && p.files != total) return 0;
    p.shown_ns = now;
    return p.files;
  });
  if (files == 0) return;
  constexpr std::uint64_t kWidth = 40;
  const std::uint64_t filled = total == 0 ? 0 : files * kWidth / total;
  const std::scoped_lock guard(terminal);
  std::fprintf(stderr, "\r[%-*.*s] %llu/%llu files", static_cast<int>(kWidth), static_cast<int>(filled),
               "########################################", static_cast<unsigned long long>(files),
               static_cast<unsigned long long>(total));
}

using Results = std::vector<brood::Queue<Partial>>;  // one queue a shard

void count_files(brood::Queue<std::string>& paths, Results results, brood::Lock& terminal,
                 brood::Value<Progress>& progress, brood::Event& stop, int worker, std::uint64_t total, bool bar) {
  std::signal(SIGINT, SIG_IGN);  // Ctrl-C reaches the whole group; the parent decides, and tells us by the event
  Counts counts;
  std::string buffer;
  for (const std::string& path : paths) {
    if (stop.is_set()) break;
    if (!read_file(path, buffer)) throw std::runtime_error("cannot read " + path);
    count_words(buffer, counts);
    if (bar) show_progress(terminal, progress, total);
  }
  constexpr std::size_t kWordsAtOnce = 4096;
  std::vector<Partial> partials(results.size());
  const auto send = [&](std::size_t shard, bool last) {
    partials[shard].worker = worker;
    partials[shard].last = last;
    results[shard].put(partials[shard]);
    partials[shard].words.clear();
    partials[shard].counts.clear();
  };
  for (const auto& [word, count] : counts) {
    const std::size_t shard = shard_of(word, results.size());
    partials[shard].words.append(word).push_back(' ');
    partials[shard].counts.push_back(count);
    if (partials[shard].counts.size() == kWordsAtOnce) send(shard, false);
  }
  for (std::size_t shard = 0; shard < results.size(); ++shard) send(shard, true);
}

// --- the counts
// --------------------------------------------------------------------------------------------------------

brood::Event* g_stop = nullptr;
void on_interrupt(int /*signal*/) { g_stop->set(); }

Counts count_inline(const std::vector<std::string>& files) {
  Counts counts;
  std::string buffer;
  for (const auto& path : files) {
    if (g_stop->is_set()) break;
    if (!read_file(path, buffer)) throw std::runtime_error("cannot read " + path);
    count_words(buffer, counts);
  }
  return counts;
}

/// Throws if a worker has ended without having sent all it counted.
void check_workers(const std::vector<brood::Process>& workers, const std::vector<bool>& reported) {
  for (std::size_t i = 0; i < workers.size(); ++i) {
    if (!reported[i] && !workers[i].is_alive()) {
      throw std::runtime_error(workers[i].name() + " ended with code " + std::to_string(workers[i].exitcode().value()) +
                               " before it had reported");
    }
  }
}

/// Adds up one shard of what the workers send.
Counts reduce(brood::Queue<Partial>& results, const std::vector<brood::Process>& workers) {
  Counts counts;
  std::vector<bool> reported(workers.size(), false);
  while (std::find(reported.begin(), reported.end(), false) != reported.end()) {
    const auto partial = results.try_get_for(200ms);
    if (!partial) {
      check_workers(workers, reported);
      continue;
    }
    std::string_view words = partial->words;
    for (const std::uint64_t count : partial->counts) {
      const auto blank = words.find(' ');
      add(counts, words.substr(0, blank), count);
      words.remove_prefix(blank + 1);
    }
    if (partial->last) reported[static_cast<std::size_t>(partial->worker)] = true;
  }
  return counts;
}

/// The counts, one map a shard.
std::vector<Counts> count_with_workers(const std::vector<std::string>& files, int worker_count,
                                       brood::StartMethod method, bool bar) {
  brood::Queue<std::string> paths(256);
  Results results(static_cast<std::size_t>(worker_count));
  brood::Lock terminal({.on_owner_death = brood::OwnerDeath::heal});
  brood::Value<Progress> progress;
  std::vector<brood::Process> workers;
  for (int i = 0; i < worker_count; ++i) {
    workers.emplace_back(brood::ProcessOptions{.start_method = method}, count_files, paths, results, terminal, progress,
                         *g_stop, i, static_cast<std::uint64_t>(files.size()), bar);
    workers.back().start();
  }
  const std::vector<bool> nobody_reported(workers.size(), false);
  for (const auto& path : files) {
    while (!g_stop->is_set() && !paths.try_put_for(path, 200ms)) check_workers(workers, nobody_reported);
    if (g_stop->is_set()) break;
  }
  paths.shutdown();

  // The workers are done soon, so their processors are free for the reducers.
  std::vector<std::future<Counts>> reducers;
  for (auto& shard : results)
    reducers.push_back(std::async(std::launch::async, [&] { return reduce(shard, workers); }));
  std::vector<Counts> shards;
  for (auto& reducer : reducers) shards.push_back(reducer.get());
  for (auto& worker : workers) worker.join();
  if (bar) std::fputc('\n', stderr);
  return shards;
}

// --- the same with workers that are killed ---------------------------------------------------------------------------

struct File {
  std::size_t number = 0;
  std::string path;
};
struct FileCounts {
  std::size_t file = 0;
  std::string words;  ///< each ended by a blank
  std::vector<std::uint64_t> counts;
};

void count_leased_files(brood::WorkQueue<File>& files, brood::Queue<FileCounts>& results) {
  std::signal(SIGINT, SIG_IGN);
  Counts counts;
  std::string buffer;
  for (brood::Task<File>& file : files) {
    if (!read_file(file->path, buffer)) throw std::runtime_error("cannot read " + file->path);
    counts.clear();
    count_words(buffer, counts);
    FileCounts result{.file = file->number, .words = {}, .counts = {}};
    for (const auto& [word, count] : counts) {
      result.words.append(word).push_back(' ');
      result.counts.push_back(count);
    }
    results.put(result);  // killed between this and the next line, the file is counted again by another worker
    file.done();
  }
}

struct Killing {
  Counts counts;
  int killed = 0;
  int twice = 0;  ///< files that were reported more than once
};

Killing count_while_killing(const std::vector<std::string>& files, int worker_count) {
  brood::WorkQueue<File> paths({.max_deliveries = 0});  // we kill at random: no file is to blame
  brood::Queue<FileCounts> results;
  for (std::size_t i = 0; i < files.size(); ++i) paths.put({i, files[i]});
  paths.shutdown();  // workers end when all files are done, not before
  const auto start_worker = [&] {
    brood::Process worker(count_leased_files, paths, results);
    worker.start();
    return worker;
  };
  std::vector<brood::Process> workers;
  for (int i = 0; i < worker_count; ++i) workers.push_back(start_worker());

  Killing out;
  std::mt19937 random(std::random_device{}());
  std::vector<bool> seen(files.size(), false);
  std::size_t left = files.size();
  std::size_t until_kill = 0;
  while (left > 0 && !g_stop->is_set()) {
    const auto result = results.try_get_for(200ms);
    if (!result) {
      for (const auto& worker : workers) {
        if (!worker.is_alive() && worker.exitcode() != 0) throw std::runtime_error("a worker failed by itself");
      }
      continue;
    }
    if (until_kill-- == 0) {
      until_kill = 10 + random() % 50;
      brood::Process& victim = workers[random() % workers.size()];
      victim.kill();
      victim.join();
      victim = start_worker();
      ++out.killed;
    }
    if (seen[result->file]) {
      ++out.twice;
      continue;
    }
    seen[result->file] = true;
    --left;
    std::string_view words = result->words;
    for (const std::uint64_t count : result->counts) {
      const auto blank = words.find(' ');
      add(out.counts, words.substr(0, blank), count);
      words.remove_prefix(blank + 1);
    }
  }
  if (g_stop->is_set()) paths.shutdown(true);
  for (auto& worker : workers) worker.join();
  return out;
}

/// The same by tr, sort and uniq. The list of files goes through a temporary file; sed ends each file with a newline,
/// so that words of two files do not run together.
Counts count_by_other_code(const std::vector<std::string>& files) {
  std::string list = std::filesystem::temp_directory_path() / "census-XXXXXX";
  const int fd = ::mkstemp(list.data());
  if (fd < 0) throw std::runtime_error("cannot make a temporary file");
  std::unique_ptr<FILE, int (*)(FILE*)> out(::fdopen(fd, "w"), std::fclose);
  for (const auto& path : files) std::fwrite(path.c_str(), 1, path.size() + 1, out.get());
  out.reset();
  const std::string command = "LC_ALL=C; export LC_ALL; xargs -0 sed -s -e '$a\\' < '" + list +
                              "' | tr -cs 'A-Za-z0-9_' '\\n' | sort -S 1G | uniq -c";
  std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(command.c_str(), "r"), ::pclose);
  Counts counts;
  char* line = nullptr;
  std::size_t size = 0;
  while (pipe && ::getline(&line, &size, pipe.get()) > 0) {
    char* word = nullptr;
    const std::uint64_t count = std::strtoull(line, &word, 10);
    std::string_view text(word);
    while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
    while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
    if (!text.empty()) counts.emplace(text, count);
  }
  std::free(line);
  std::filesystem::remove(list);
  return counts;
}

// --- the program
// -------------------------------------------------------------------------------------------------------

bool looks_like_header(const std::filesystem::path& path) {
  const std::string extension = path.extension().string();
  return extension.empty() || extension == ".h" || extension == ".hpp" || extension == ".hh" || extension == ".ipp" ||
         extension == ".tcc" || extension == ".inc";
}

std::vector<std::string> list_files(const std::vector<std::string>& trees, bool headers_only) {
  namespace fs = std::filesystem;
  std::vector<std::string> files;
  for (const auto& tree : trees) {
    if (fs::is_regular_file(tree)) {
      files.push_back(tree);
      continue;
    }
    for (const auto& entry : fs::recursive_directory_iterator(tree, fs::directory_options::skip_permission_denied)) {
      if (entry.is_regular_file() && !entry.is_symlink() && (!headers_only || looks_like_header(entry.path())))
        files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::uint64_t total_of(const Counts& counts) {
  std::uint64_t total = 0;
  for (const auto& [word, count] : counts) total += count;
  return total;
}

void print_top(const Counts& counts) {
  std::vector<std::pair<std::uint64_t, std::string>> order;
  for (const auto& [word, count] : counts) order.emplace_back(count, word);
  constexpr std::size_t kShown = 10;
  const auto end = order.begin() + static_cast<std::ptrdiff_t>(std::min(kShown, order.size()));
  std::partial_sort(order.begin(), end, order.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  });
  std::printf("\nmost frequent words\n");
  for (auto it = order.begin(); it != end; ++it)
    std::printf("  %10llu  %s\n", static_cast<unsigned long long>(it->first), it->second.c_str());
}

template <class F>
double seconds(F&& work) {
  const auto start = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Arguments {
  int workers = 2;
  bool kill = false;
  std::vector<std::string> trees;
};

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  arguments.workers = std::max(2, static_cast<int>(std::thread::hardware_concurrency()));
  for (int i = 1; i < argc; ++i) {
    const std::string_view text = argv[i];
    if (text == "--workers" && i + 1 < argc) arguments.workers = std::atoi(argv[++i]);
    else if (text == "--kill") arguments.kill = true;
    else if (text.substr(0, 2) == "--") arguments.workers = 0;
    else arguments.trees.emplace_back(text);
  }
  if (arguments.workers < 1) {
    std::fprintf(stderr, "usage: census [--workers N] [--kill] [TREE…]     N at least 1\n");
    std::exit(2);
  }
  return arguments;
}

int run(const Arguments& arguments) {
  const bool given = !arguments.trees.empty();
  const auto files = list_files(given ? arguments.trees : std::vector<std::string>{"/usr/include"}, !given);
  if (files.empty()) {
    std::fprintf(stderr, "census: there are no files to count\n");
    return 2;
  }
  brood::Event stop;
  g_stop = &stop;
  std::signal(SIGINT, on_interrupt);
  const bool bar = ::isatty(STDERR_FILENO) != 0;
  std::printf("census of %zu files with %d workers\n", files.size(), arguments.workers);
  std::fflush(stdout);

  struct Row {
    std::string how;
    double seconds;
    bool equal;
  };
  std::vector<Row> rows;
  Counts reference;
  (void)count_inline(files);  // once unmeasured, so that all runs find the files in the page cache
  rows.push_back({"in-line", seconds([&] { reference = count_inline(files); }), true});
  for (const auto method : {brood::StartMethod::fork, brood::StartMethod::spawn, brood::StartMethod::forkserver}) {
    std::vector<Counts> shards;
    const double time = seconds([&] { shards = count_with_workers(files, arguments.workers, method, bar); });
    Counts counts;
    for (auto& shard : shards) counts.merge(shard);
    rows.push_back({std::string(to_string(method)), time, counts == reference});
    if (stop.is_set()) {
      std::printf("\nstopped early by Ctrl-C; %llu words counted so far in this run\n",
                  static_cast<unsigned long long>(total_of(counts)));
      return 130;
    }
  }
  if (arguments.kill) {
    Killing killing;
    const double time = seconds([&] { killing = count_while_killing(files, arguments.workers); });
    rows.push_back({std::to_string(killing.killed) + " killed", time, killing.counts == reference});
    std::printf("killed %d workers while they counted; %d files were reported twice, and counted once\n",
                killing.killed, killing.twice);
    if (stop.is_set()) return 130;
  }
  Counts independent;
  const double time = seconds([&] { independent = count_by_other_code(files); });
  rows.push_back({"tr | sort | uniq", time, independent == reference});

  print_top(reference);
  std::printf("\n%llu words, %zu different\n\n", static_cast<unsigned long long>(total_of(reference)),
              reference.size());
  std::printf("%-18s %9s  %8s  %s\n", "how", "seconds", "speed-up", "same counts");
  bool all_equal = true;
  for (const auto& row : rows) {
    std::printf("%-18s %9.3f  %7.2fx  %s\n", row.how.c_str(), row.seconds, rows.front().seconds / row.seconds,
                row.equal ? "yes" : "NO");
    all_equal = all_equal && row.equal;
  }
  if (!all_equal) std::fprintf(stderr, "census: the counts differ\n");
  return all_equal ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  brood::init(argc, argv);
  try {
    return run(parse(argc, argv));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "census: %s\n", error.what());
    return 1;
  }
}
