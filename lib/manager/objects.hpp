// All objects of a server, and who still refers to them.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
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
  std::unique_ptr<Served> served;
};

/// An object lives as long as something refers to it: a token that anybody of the domain has open or that lies in a message, a client
/// from elsewhere, a published name, a value of another object, or a call that is under way. All members may be called by any
/// thread.
class Objects {
 public:
  /// `address`: what tokens say, for clients of the domain.
  Objects(std::uint64_t server, std::string address, std::optional<std::string> authkey);

  [[nodiscard]] std::uint64_t server() const noexcept { return server_; }
  /// In whose name the server pins what lies in values.
  [[nodiscard]] std::uint64_t container() const noexcept { return own_.id(); }

  [[nodiscard]] std::shared_ptr<Entry> add(std::string type, std::unique_ptr<Served> served);
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

  void publish(const std::string& name, const std::shared_ptr<Entry>& entry);
  bool unpublish(const std::string& name);
  /// Null if there is none.
  [[nodiscard]] std::shared_ptr<Entry> published(const std::string& name);
  [[nodiscard]] std::vector<std::string> published_names();

 private:
  const std::uint64_t server_;
  const std::string address_;
  const std::optional<std::string> authkey_;
  detail::Object own_;

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
};

}  // namespace brood::inline v1::manager
