// A list of items of several types in shared memory. Its length is fixed; an item may be replaced by one of another type, as
// long as it fits into its slot. A manager keeps lists and memory until it is shut down.
//
// Output:
// [1, 2.5, true, "text", none]
// the child put in: "four", and counted to 1001
// too long: the old item stays "four"
// 2 of 5 items are text
// after the shutdown nobody can open it
#include <algorithm>
#include <cstdint>
#include <iostream>
#include <sstream>
#include <string>
#include <variant>

#include "brood/brood.hpp"

using brood::ShareableList;

void edit(ShareableList& list) {
  list.set(1, "four");  // was a number
  for (int i = 0; i < 1000; ++i)
    list.update(0, [](const ShareableList::Item& item) { return std::get<std::int64_t>(item) + 1; });
}

int main(int argc, char** argv) {
  brood::init(argc, argv);
  auto manager = brood::SharedMemoryManager::started();
  brood::Handle handle;
  {
    ShareableList list = manager.shareable_list({1, 2.5, true, "text", std::monostate{}});
    handle = list.handle();
    std::ostringstream text;
    text << list;
    std::cout << text.str().substr(text.str().find('['), text.str().size() - text.str().find('[') - 1) << '\n';

    brood::Process child(edit, list);
    child.start();
    child.join();
  }
  // Nobody had it open just now; the manager has kept it.
  ShareableList list = ShareableList::open(handle);
  std::cout << "the child put in: \"" << list.get<std::string>(1) << "\", and counted to " << list.get<std::int64_t>(0)
            << '\n';
  try {
    list.set(1, "more than eight bytes");
  } catch (const brood::UsageError&) {
    std::cout << "too long: the old item stays \"" << list.get<std::string>(1) << "\"\n";
  }
  const auto texts = std::count_if(list.begin(), list.end(), [](const ShareableList::Item& item) {
    return std::holds_alternative<std::string>(item);
  });
  std::cout << texts << " of " << list.size() << " items are text\n";

  manager.shutdown();
  try {
    (void)ShareableList::open(handle);
  } catch (const brood::HandleError&) {
    std::cout << "after the shutdown nobody can open it\n";
  }
}
