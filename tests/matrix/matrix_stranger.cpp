// matrix_stranger: a program that is no relative of the one whose objects it opens. It has the handles from its command
// line, the domain from the environment, and types of its own that happen to look the same.
//
// Prints one line for each thing it did; the test compares.
#include <brood/brood.hpp>

#include <cstdint>
#include <exception>
#include <iostream>
#include <string>

namespace stranger {

/// The same fields under other names.
struct Parcel {
  std::string contents;
  std::int64_t serial_number = 0;
};
struct Books {
  std::int64_t total = 0;
  double total_again = 0;
  std::int32_t entries = 0;
};
/// Other fields.
struct OtherParcel {
  std::string contents;
  std::string serial_number;
};
struct OtherBooks {
  std::int64_t total = 0;
  std::int64_t total_again = 0;
  std::int32_t entries = 0;
};

template <class Wrong>
void open_wrong(const char* what, const char* handle) {
  try {
    (void)Wrong::open(handle);
    std::cout << what << " opened\n";
  } catch (const brood::TypeMismatch& error) {
    std::cout << what << " TypeMismatch " << error.what() << '\n';
  }
}

void use(brood::Lock& lock, brood::Semaphore& semaphore, brood::Event& event, brood::Queue<Parcel>& queue,
         brood::Value<Books>& books) {
  std::cout << "lock " << (lock.try_lock() ? "taken" : "refused") << '\n';
  semaphore.acquire();
  std::cout << "semaphore " << semaphore.get_value() << '\n';
  const Parcel parcel = queue.get();
  std::cout << "parcel " << parcel.serial_number << ' ' << parcel.contents << '\n';
  queue.put({.contents = "back to sender", .serial_number = parcel.serial_number + 1});
  books.with([](Books& b) {
    b.total += 40;
    b.total_again += 0.5;
    ++b.entries;
  });
  event.set();
}

}  // namespace stranger

int main(int argc, char** argv) {
  using namespace stranger;
  if (argc != 6) {
    std::cerr << "usage: matrix_stranger LOCK SEMAPHORE EVENT QUEUE VALUE\n";
    return 2;
  }
  try {
    brood::Lock lock = brood::Lock::open(argv[1]);
    brood::Semaphore semaphore = brood::Semaphore::open(argv[2]);
    brood::Event event = brood::Event::open(argv[3]);
    brood::Queue<Parcel> queue = brood::Queue<Parcel>::open(argv[4]);
    brood::Value<Books> books = brood::Value<Books>::open(argv[5]);
    use(lock, semaphore, event, queue, books);
    open_wrong<brood::Queue<OtherParcel>>("other-items", argv[4]);
    open_wrong<brood::Queue<int>>("queue-of-int", argv[4]);
    open_wrong<brood::Value<OtherBooks>>("other-books", argv[5]);
    open_wrong<brood::Value<double>>("value-of-double", argv[5]);
    open_wrong<brood::Lock>("queue-as-lock", argv[4]);
    open_wrong<brood::Semaphore>("lock-as-semaphore", argv[1]);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "matrix_stranger: " << error.what() << std::endl;
    return 1;
  }
}
