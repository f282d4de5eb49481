#include "manager/objects.hpp"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "base/hex.hpp"
#include "brood/error.hpp"
#include "brood/remote_error.hpp"
#include "manager/journal.hpp"
#include "manager/reference.hpp"
#include "manager/served_class.hpp"
#include "shm/segment.hpp"

namespace brood::inline v1::manager {
namespace {

constexpr const char* kServerType = "Manager";

Encoder made(const Entry& entry, std::span<const std::byte> arguments) {
  Encoder record = Journal::begin(Journal::Word::made, 4);
  record.uint(entry.id);
  record.str(entry.type);
  record.str(entry.word);
  record.value(arguments, {});
  return record;
}
Encoder published(const std::string& name, std::uint64_t object) {
  Encoder record = Journal::begin(Journal::Word::published, 2);
  record.str(name);
  record.uint(object);
  return record;
}
Encoder token_of(std::uint64_t object, std::uint64_t token) {
  Encoder record = Journal::begin(Journal::Word::token, 2);
  record.uint(object);
  record.uint(token);
  return record;
}

}  // namespace

Objects::Objects(std::uint64_t server, std::string address, std::optional<std::string> authkey, Journal* journal)
    : server_(server),
      address_(std::move(address)),
      authkey_(std::move(authkey)),
      journal_(journal),
      own_(Token::make({server_, 0, address_}, kServerType, authkey_)) {}

Ending::~Ending() = default;

Objects::~Objects() {
  // What goes with the last references may need time to end, and then us.
  std::exchange(published_, {}).clear();
  std::exchange(outside_, {}).clear();
  std::exchange(endings_, {}).clear();
}

void Objects::let_end(std::unique_ptr<Ending> ending) {
  const std::lock_guard lock(endings_mutex_);
  endings_.push_back(std::move(ending));
}

void Objects::look_after_endings() {
  std::vector<std::unique_ptr<Ending>> over;
  const std::lock_guard lock(endings_mutex_);
  for (auto& it : endings_) {
    if (it->is_over()) over.push_back(std::move(it));
  }
  std::erase(endings_, nullptr);
}

std::shared_ptr<Entry> Objects::add(std::string type, std::unique_ptr<Served> served, std::string word,
                                    std::span<const std::byte> arguments) {
  auto entry = std::make_shared<Entry>();
  entry->type = std::move(type);
  entry->word = std::move(word);
  entry->served = std::move(served);
  const std::lock_guard lock(mutex_);
  entry->id = ++last_id_;
  if (journal_ != nullptr && !entry->word.empty()) {
    journal_->append(made(*entry, arguments), true);
    entry->served->begin_journal(journal_, entry->id);
    entry->served->set_copy(journal_->copy_number());
  }
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
  write(token_of(entry->id, made.id()));
  adopt_token(entry, made.id());
  return made;
}

void Objects::adopt_token(const std::shared_ptr<Entry>& entry, std::uint64_t token) {
  outside_.insert_or_assign(entry->id, Outside{token, entry});
  by_token_.emplace(token, entry->id);
}

void Objects::write(const Encoder& record) {
  if (journal_ != nullptr) journal_->append(record, copy_ == journal_->copy_number());
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
  if (published_.contains(name))
    throw AlreadyExists("the manager has an object of the name '" + name + "' already; unpublish it first");
  write(manager::published(name, entry->id));
  published_.emplace(name, entry);
}

bool Objects::unpublish(const std::string& name) {
  std::shared_ptr<Entry> dropped;
  const std::lock_guard lock(mutex_);
  const auto it = published_.find(name);
  if (it == published_.end()) return false;
  Encoder record = Journal::begin(Journal::Word::unpublished, 1);
  record.str(name);
  write(record);
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

// --- the journal -----------------------------------------------------------------------------------------------------------

void Objects::restore() {
  Restored restored;
  // First who there was, and what failed: values may name objects that come later.
  std::unordered_map<std::uint64_t, std::uint64_t> last_call;
  std::unordered_set<std::uint64_t> failed;
  std::uint64_t number = 0;
  journal_->read([&](Journal::Word word, Decoder& in) {
    ++number;
    const bool has_object = word == Journal::Word::made || word == Journal::Word::called ||
                            word == Journal::Word::failed || word == Journal::Word::last_id;
    if (!has_object) return;
    const std::uint64_t object = in.uint();
    if (word == Journal::Word::called) last_call[object] = number;
    else if (word == Journal::Word::failed) failed.insert(last_call[object]);
    else last_id_ = std::max(last_id_, object);
    if (word != Journal::Word::made) return;
    const auto [it, is_new] = restored.try_emplace(object, std::make_shared<Entry>());
    it->second->id = object;
    if (is_new) all_.emplace(object, it->second);
  });
  number = 0;
  is_restoring_ = true;
  journal_->read([&](Journal::Word word, Decoder& in) {
    if (!failed.contains(++number)) restore(restored, static_cast<std::uint8_t>(word), in);
  });
  is_restoring_ = false;
  for (const auto& [id, entry] : restored) entry->served->begin_journal(journal_, id);
  // What nobody refers to goes now: those who had it have died meanwhile.
  restored.clear();
  sweep();
}

void Objects::restore(Restored& restored, std::uint8_t word, Decoder& in) {
  const auto entry_of = [&](std::uint64_t id) {
    const auto it = restored.find(id);
    return it == restored.end() ? nullptr : it->second;
  };
  switch (static_cast<Journal::Word>(word)) {
    case Journal::Word::made: return restore_made(restored, in);
    case Journal::Word::called: {
      const auto entry = entry_of(in.uint());
      const std::string method(in.str());
      if (!entry || !entry->served) return;
      Encoder result;
      Call call{*this, nullptr, in, result};
      try {
        entry->served->repeat(method, call);
      } catch (const std::exception&) {
        // It threw the first time, too, and the server ended before it could write that down.
        return;
      }
      return;
    }
    case Journal::Word::published: {
      const std::string name(in.str());
      if (auto entry = entry_of(in.uint())) published_.insert_or_assign(name, std::move(entry));
      return;
    }
    case Journal::Word::unpublished: published_.erase(std::string(in.str())); return;
    case Journal::Word::token: {
      const auto entry = entry_of(in.uint());
      const std::uint64_t token = in.uint();
      if (entry && shm::exists(token)) adopt_token(entry, token);
      return;
    }
    case Journal::Word::identity:
    case Journal::Word::failed:
    case Journal::Word::last_id: return;
  }
}

void Objects::restore_made(Restored& restored, Decoder& in) {
  const std::shared_ptr<Entry> entry = restored.at(in.uint());
  if (entry->served) return;  // it was made while the journal was being written anew
  entry->type = in.str();
  entry->word = in.str();
  Encoder nothing;
  Decoder again = in;
  const std::span<const std::byte> arguments = again.value([](const detail::Ext&) {});
  Call call{*this, nullptr, in, nothing};
  try {
    entry->served = make_builtin(entry->word, call);
    if (!entry->served) entry->served = restore_class(entry->word, in);
  } catch (const std::exception&) {
    entry->served = make_lost("the manager's object number " + std::to_string(entry->id) + ", a " + entry->word +
                                  ", could not be made again from the journal: " +
                                  detail::describe_exception(std::current_exception(), " <- "),
                              arguments);
  }
}

namespace {

class Copyist final : public Saver {
 public:
  Copyist(Journal& journal, std::uint64_t number) : journal_(journal), number_(number) {}
  void set_entry(const Entry& entry) noexcept { entry_ = &entry; }
  void save(Served& served, const Encoder& arguments) override {
    journal_.write(made(*entry_, arguments.bytes()));
    served.set_copy(number_);
  }

 private:
  Journal& journal_;
  const std::uint64_t number_;
  const Entry* entry_ = nullptr;
};

}  // namespace

void Objects::rewrite_journal(const Encoder& identity) {
  std::uint64_t number = 0;
  {
    const std::lock_guard lock(mutex_);
    number = journal_->begin_copy();
    journal_->write(identity);
    Encoder last = Journal::begin(Journal::Word::last_id, 1);
    last.uint(last_id_);
    journal_->write(last);
    for (const auto& [name, entry] : published_) journal_->write(manager::published(name, entry->id));
    for (const auto& [token, id] : by_token_) journal_->write(token_of(id, token));
    copy_ = number;
  }
  Copyist copyist(*journal_, number);
  for (const auto& entry : all()) {
    if (entry->word.empty()) continue;
    copyist.set_entry(*entry);
    entry->served->save(copyist);
  }
  journal_->finish_copy();
}

}  // namespace brood::inline v1::manager
