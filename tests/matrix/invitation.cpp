#include "matrix/invitation.hpp"

#include <sstream>
#include <stdexcept>

#include "matrix/worker.hpp"

namespace matrix {
namespace {

template <class Object>
void open_and_work(const Invitation& told) {
  Object object = Object::open(told.subject);
  brood::Lock guard = brood::Lock::open(told.guard);
  brood::Value<std::int64_t> tally = brood::Value<std::int64_t>::open(told.tally);
  worker<Object>(object, guard, tally, told.address);
}

struct Entry {
  const char* object;
  void (*work)(const Invitation&);
};
constexpr Entry kEntries[] = {
    {Name<brood::Lock>::text, open_and_work<brood::Lock>},
    {Name<brood::RLock>::text, open_and_work<brood::RLock>},
    {Name<brood::Semaphore>::text, open_and_work<brood::Semaphore>},
    {Name<brood::BoundedSemaphore>::text, open_and_work<brood::BoundedSemaphore>},
    {Name<brood::Event>::text, open_and_work<brood::Event>},
    {Name<brood::Condition>::text, open_and_work<brood::Condition>},
    {Name<brood::Barrier>::text, open_and_work<brood::Barrier>},
    {Name<Letters>::text, open_and_work<Letters>},
    {Name<Jobs>::text, open_and_work<Jobs>},
    {Name<News>::text, open_and_work<News>},
    {Name<Wire>::text, open_and_work<Wire>},
    {Name<Account>::text, open_and_work<Account>},
};

}  // namespace

std::string Invitation::text() const {
  std::string all;
  for (const std::string& word : words()) all += word + '\n';
  return all;
}

Invitation Invitation::from_words(const std::vector<std::string>& words) {
  if (words.size() != 5) throw std::runtime_error("an invitation has five words, not " + std::to_string(words.size()));
  return {.object = words[0], .address = words[1], .subject = words[2], .guard = words[3], .tally = words[4]};
}

Invitation Invitation::from_text(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return from_words(words);
}

void accept_invitation(const Invitation& invitation) {
  for (const Entry& entry : kEntries) {
    if (invitation.object == entry.object) return entry.work(invitation);
  }
  throw std::runtime_error("there is no worker for '" + invitation.object + "'");
}

}  // namespace matrix
