#include "manager/objects.hpp"

#include <utility>

#include "base/hex.hpp"
#include "brood/error.hpp"
#include "manager/reference.hpp"
#include "shm/segment.hpp"

namespace brood::inline v1::manager {
namespace {

constexpr const char* kServerType = "Manager";

}  // namespace

Objects::Objects(std::uint64_t server, std::string address, std::optional<std::string> authkey)
    : server_(server),
      address_(std::move(address)),
      authkey_(std::move(authkey)),
      own_(Token::make({server_, 0, address_}, kServerType, authkey_)) {}

std::shared_ptr<Entry> Objects::add(std::string type, std::unique_ptr<Served> served) {
  auto entry = std::make_shared<Entry>();
  entry->type = std::move(type);
  entry->served = std::move(served);
  const std::lock_guard lock(mutex_);
  entry->id = ++last_id_;
  all_.emplace(entry->id, entry);
  return entry;
}

std::shared_ptr<Entry> Objects::look_for(std::uint64_t id) {
  const std::lock_guard lock(mutex_);
  const auto it = all_.find(id);
  if (it == all_.end()) return nullptr;
  if (auto entry = it->second.lock()) return entry;
  all_.erase(it);
  return nullptr;
}

std::shared_ptr<Entry> Objects::find(std::uint64_t id) {
  if (auto entry = look_for(id)) return entry;
  throw HandleError("the manager has no object number " + std::to_string(id) +
                    ": nobody referred to it any more, and it was freed");
}

std::vector<std::shared_ptr<Entry>> Objects::all() {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Entry>> out;
  for (auto it = all_.begin(); it != all_.end();) {
    if (auto entry = it->second.lock()) {
      out.push_back(std::move(entry));
      ++it;
    } else {
      it = all_.erase(it);
    }
  }
  return out;
}

detail::Object Objects::token(const std::shared_ptr<Entry>& entry) {
  const std::lock_guard lock(mutex_);
  if (const auto it = outside_.find(entry->id); it != outside_.end()) {
    try {
      return Token::open(Handle(Kind::managed, it->second.token));
    } catch (const HandleError&) {
      by_token_.erase(it->second.token);  // its last user has just gone
      outside_.erase(it);
    }
  }
  detail::Object made = Token::make({server_, entry->id, address_}, entry->type, authkey_);
  outside_.insert_or_assign(entry->id, Outside{made.id(), entry});
  by_token_.emplace(made.id(), entry->id);
  return made;
}

void Objects::file_gone(std::string_view file) {
  const auto token = base::parse_hex16(file);
  if (!token) return;
  std::shared_ptr<Entry> dropped;  // destroyed without the lock: its values may be the last reference to others
  const std::lock_guard lock(mutex_);
  const auto it = by_token_.find(*token);
  if (it == by_token_.end()) return;
  const auto outside = outside_.find(it->second);
  by_token_.erase(it);
  if (outside == outside_.end() || outside->second.token != *token) return;
  dropped = std::move(outside->second.entry);
  outside_.erase(outside);
}

void Objects::sweep() {
  std::vector<std::uint64_t> tokens;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [token, id] : by_token_) tokens.push_back(token);
  }
  for (const std::uint64_t token : tokens) {
    const std::string file = base::hex16(token);
    if (shm::reclaim(file) || !shm::exists(token)) file_gone(file);
  }
}

void Objects::publish(const std::string& name, const std::shared_ptr<Entry>& entry) {
  const std::lock_guard lock(mutex_);
  if (!published_.try_emplace(name, entry).second)
    throw AlreadyExists("the manager has an object of the name '" + name + "' already; unpublish it first");
}

bool Objects::unpublish(const std::string& name) {
  std::shared_ptr<Entry> dropped;
  const std::lock_guard lock(mutex_);
  const auto it = published_.find(name);
  if (it == published_.end()) return false;
  dropped = std::move(it->second);
  published_.erase(it);
  return true;
}

std::shared_ptr<Entry> Objects::published(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto it = published_.find(name);
  return it == published_.end() ? nullptr : it->second;
}

std::vector<std::string> Objects::published_names() {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> out;
  for (const auto& [name, entry] : published_) out.push_back(name);
  return out;
}

}  // namespace brood::inline v1::manager
