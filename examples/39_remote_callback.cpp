// The object calls back: progress of a long call, a question in the middle of one; and an object that does several calls at the same
// time.
//
// Output:
// 25 % 50 % 75 % 100 % found 4 in this process's thread
// stopped by the callback: enough
// three calls met: 6
#include <iostream>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "brood/brood.hpp"

class Index {
 public:
  explicit Index(brood::Barrier& three) : three_(three) {}
  /// Asks `wanted` for each text, and tells how far it is.
  int build(const std::vector<std::string>& texts, brood::Callback<void(int)> progress,
            brood::Callback<bool(std::string)> wanted) {
    int found = 0;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      if (wanted(texts[i])) ++found;
      progress(static_cast<int>(100 * (i + 1) / texts.size()));
    }
    return found;
  }
  /// Waits until three of its calls are here at the same time.
  int meet(int n) {
    three_.wait();
    const std::scoped_lock guard(mutex_);  // several threads: the object locks for itself
    return sum_ += n;
  }
  int sum() const { return sum_; }

 private:
  brood::Barrier& three_;
  std::mutex mutex_;
  int sum_ = 0;
};

int main(int argc, char** argv) {
  brood::init(argc, argv);
  brood::Barrier three(3);
  auto index = brood::Remote<Index>::with({.threads = 3}, three);
  const std::vector<std::string> texts = {"one", "two", "three", "four"};

  // Called here, in this thread, while it waits for build().
  const auto me = std::this_thread::get_id();
  bool in_this_thread = true;
  const int found = index.call<&Index::build>(
      texts, [](int percent) { std::cout << percent << " % "; },
      [&](const std::string& text) {
        in_this_thread = in_this_thread && std::this_thread::get_id() == me;
        return !text.empty();
      });
  std::cout << "found " << found << (in_this_thread ? " in this process's thread\n" : " elsewhere\n");

  // What a callback throws passes through the call.
  try {
    index.call<&Index::build>(
        texts, [](int) {}, [](const std::string&) -> bool { throw std::runtime_error("enough"); });
  } catch (const std::runtime_error& error) {
    std::cout << "stopped by the callback: " << error.what() << '\n';
  }

  std::vector<brood::Future<int>> meetings;
  for (int n = 1; n <= 3; ++n) meetings.push_back(index.async<&Index::meet>(n));
  for (const auto& meeting : meetings) meeting.wait();
  std::cout << "three calls met: " << index.call<&Index::sum>() << '\n';
}
