// All objects of a server, and who still refers to them.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "brood/detail/object.hpp"
#include "manager/served.hpp"

namespace brood::inline v1::manager {

struct Entry {
  std::uint64_t id = 0;
  std::string type;
  std::string word;  ///< by which it was made
  std::unique_ptr<Served> served;
};

/// What is left of an object that needs time to end: nobody waits for it but the server, at its own end.
class Ending {
 public:
  Ending() = default;
  Ending(const Ending&) = delete;
  Ending& operator=(const Ending&) = delete;
  virtual ~Ending();
  [[nodiscard]] virtual bool is_over() = 0;
};

/// An object lives as long as something refers to it: a token that anybody of the domain has open or that lies in a message, a client
/// from elsewhere, a published name, a value of another object, or a call that is under way. All members may be called by any
/// thread.
class Objects {
 public:
  /// `address`: what tokens say, for clients of the domain. `journal` or null: to be told of everything; must live longer.
  Objects(std::uint64_t server, std::string address, std::optional<std::string> authkey, Journal* journal = nullptr);
  /// Waits for what is ending.
  ~Objects();
  Objects(const Objects&) = delete;
  Objects& operator=(const Objects&) = delete;

  /// As they were when the journal was left. Before anybody else is there. Errors: what reading it throws.
  void restore();
  /// References in values may be to what is no more.
  [[nodiscard]] bool is_restoring() const noexcept { return is_restoring_; }
  /// Writes the journal anew.
  void rewrite_journal(const Encoder& identity);

  [[nodiscard]] std::uint64_t server() const noexcept { return server_; }
  /// In whose name the server pins what lies in values.
  [[nodiscard]] std::uint64_t container() const noexcept { return own_.id(); }

  /// `word` and `arguments`: how it was made, for the journal; no word: it cannot be kept there.
  [[nodiscard]] std::shared_ptr<Entry> add(std::string type, std::unique_ptr<Served> served, std::string word = {},
                                           std::span<const std::byte> arguments = {});
  /// Errors: HandleError.
  [[nodiscard]] std::shared_ptr<Entry> find(std::uint64_t id);
  /// Null if it is gone.
  [[nodiscard]] std::shared_ptr<Entry> look_for(std::uint64_t id);
  [[nodiscard]] std::vector<std::shared_ptr<Entry>> all();

  /// The token of an object, opened: who is told of it must have opened it as well, or have it in a message, before this goes.
  [[nodiscard]] detail::Object token(const std::shared_ptr<Entry>& entry);
  /// A file of the domain is gone: perhaps a token.
  void file_gone(std::string_view file);
  /// Looks at all tokens: after deaths, which leave files behind.
  void sweep();

  /// Keeps it until it is over.
  void let_end(std::unique_ptr<Ending> ending);
  /// Lets go of what is over.
  void look_after_endings();

  void publish(const std::string& name, const std::shared_ptr<Entry>& entry);
  bool unpublish(const std::string& name);
  /// Null if there is none.
  [[nodiscard]] std::shared_ptr<Entry> published(const std::string& name);
  [[nodiscard]] std::vector<std::string> published_names();

 private:
  const std::uint64_t server_;
  const std::string address_;
  const std::optional<std::string> authkey_;
  Journal* const journal_;
  detail::Object own_;
  bool is_restoring_ = false;

  std::mutex mutex_;
  std::uint64_t last_id_ = 0;
  std::unordered_map<std::uint64_t, std::weak_ptr<Entry>> all_;
  struct Outside {
    std::uint64_t token;
    std::shared_ptr<Entry> entry;
  };
  std::unordered_map<std::uint64_t, Outside> outside_;  ///< by the object's id: those with a token that is used
  std::unordered_map<std::uint64_t, std::uint64_t> by_token_;
  std::unordered_map<std::string, std::shared_ptr<Entry>> published_;
  std::mutex endings_mutex_;
  std::vector<std::unique_ptr<Ending>> endings_;
  std::uint64_t copy_ = 0;  ///< of the journal: names and tokens have been written there

  using Restored = std::unordered_map<std::uint64_t, std::shared_ptr<Entry>>;
  void restore(Restored& restored, std::uint8_t word, Decoder& in);
  void restore_made(Restored& restored, Decoder& in);
  void adopt_token(const std::shared_ptr<Entry>& entry, std::uint64_t token);
  /// With the lock.
  void write(const Encoder& record);
};

}  // namespace brood::inline v1::manager
