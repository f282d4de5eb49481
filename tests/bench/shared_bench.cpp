// Contents in shared memory: transactions of a container against Boost.Interprocess, which changes them in place.
#include <unistd.h>

#include <boost/container/map.hpp>
#include <boost/container/vector.hpp>
#include <boost/interprocess/allocators/allocator.hpp>
#include <boost/interprocess/managed_shared_memory.hpp>
#include <boost/interprocess/sync/named_mutex.hpp>
#include <boost/interprocess/sync/scoped_lock.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <utility>

#include "brood/shared/container.hpp"
#include "topics.hpp"

namespace bench {
namespace {

namespace bip = boost::interprocess;

constexpr std::size_t kBudget = std::size_t{128} << 20;

/// A container of brood.
template <class Contents>
class Ours {
 public:
  template <class Change>
  void write(Change change) {
    const auto guard = container_.write();
    change(*guard);
  }
  template <class Look>
  void read(Look look) {
    const auto guard = container_.read();
    look(*guard);
  }

 private:
  brood::shared::Container<Contents> container_{{.budget_bytes = kBudget}};
};

using BipSegment = bip::managed_shared_memory::segment_manager;
template <class T>
using BipAllocator = bip::allocator<T, BipSegment>;

/// The same contents in Boost's managed memory, under its named mutex. Nothing of a change is undone, and a death inside
/// locks it for ever.
template <class Contents>
class Boosts {
 public:
  Boosts()
      : name_("brood-bench-" + std::to_string(::getpid())),
        removed_(name_),
        memory_(bip::create_only, name_.c_str(), kBudget),
        mutex_(bip::create_only, (name_ + "-mutex").c_str()),
        contents_(*memory_.construct<Contents>("contents")(memory_.get_segment_manager())) {}

  template <class Change>
  void write(Change change) {
    const bip::scoped_lock<bip::named_mutex> guard(mutex_);
    change(contents_);
  }
  template <class Look>
  void read(Look look) {
    write(look);
  }

 private:
  struct Removed {
    explicit Removed(std::string of) : name(std::move(of)) { remove(); }
    ~Removed() { remove(); }
    Removed(const Removed&) = delete;
    Removed& operator=(const Removed&) = delete;
    void remove() const {
      bip::shared_memory_object::remove(name.c_str());
      bip::named_mutex::remove((name + "-mutex").c_str());
    }
    std::string name;
  };
  std::string name_;
  Removed removed_;
  bip::managed_shared_memory memory_;
  bip::named_mutex mutex_;
  Contents& contents_;
};

using Number = std::uint64_t;
constexpr std::size_t kNumbersInAPage = 4096 / sizeof(Number);

/// One number in each of so many pages.
template <class Place>
Samples pages_cell(int batches, std::size_t pages) {
  pin(0);
  Place place;
  place.write([](auto& numbers) { numbers.resize(64 * kNumbersInAPage); });
  Number n = 0;
  return time_batches(batches, [&] {
    ++n;
    place.write([&](auto& numbers) {
      for (std::size_t page = 0; page < pages; ++page) numbers[4 * page * kNumbersInAPage] = n;
    });
  });
}

template <class Place>
Samples read_cell(int batches) {
  pin(0);
  Place place;
  place.write([](auto& numbers) { numbers.resize(kNumbersInAPage); });
  return time_batches(batches, [&] { place.read([](const auto& numbers) { work(static_cast<int>(numbers[7])); }); });
}

/// An insertion of a random key into a map of so many; the mean of a few, one sample each. `together`: in one transaction.
template <class Place>
Samples insert_cell(int samples, int entries, int together) {
  pin(0);
  Place place;
  std::mt19937_64 random(1);
  place.write([&](auto& map) {
    for (int i = 0; i < entries; ++i) map.emplace(random(), 1);
  });
  Samples out;
  for (int i = 0; i < samples; ++i) {
    const std::uint64_t from = now_ns();
    place.write([&](auto& map) {
      for (int k = 0; k < together; ++k) map.emplace(random(), 1);
    });
    out.push_back(static_cast<double>(now_ns() - from) / 1e3 / together);
  }
  return out;
}

using OurVector = Ours<brood::shared::vector<Number>>;
using OurMap = Ours<brood::shared::map<Number, Number>>;
using BoostVector = Boosts<boost::container::vector<Number, BipAllocator<Number>>>;
using BoostMap =
    Boosts<boost::container::map<Number, Number, std::less<>, BipAllocator<std::pair<const Number, Number>>>>;
constexpr const char* kBoost = "boost-managed-named_mutex";

}  // namespace

void shared_cases(Report& report, const Settings& settings) {
  const int batches = settings.count(200, 5);
  for (const auto& [name, pages] : {std::pair{"container.write.1page", 1}, std::pair{"container.write.10pages", 10}}) {
    const auto count = static_cast<std::size_t>(pages);
    report.measure({.topic = "shared",
                    .figures = {{name}},
                    .unit = "ns",
                    .ours = [=] { return pages_cell<OurVector>(batches, count); },
                    .peers = {{kBoost, [=] { return pages_cell<BoostVector>(batches, count); }}}});
  }
  report.measure({.topic = "shared",
                  .figures = {{"container.read"}},
                  .unit = "ns",
                  .ours = [=] { return read_cell<OurVector>(batches); },
                  .peers = {{kBoost, [=] { return read_cell<BoostVector>(batches); }}}});
  const int samples = settings.count(1000, 10);
  struct Size {
    const char* name;
    int entries;
    int together;
  };
  for (const Size& one : {Size{"map.insert.1k", 1000, 1}, Size{"map.insert.1m", settings.count(1'000'000, 20'000), 1},
                          Size{"map.insert.1m.by100", settings.count(1'000'000, 20'000), 100}}) {
    const int taken = one.together > 1 ? samples / 10 : samples;
    report.measure({.topic = "shared",
                    .figures = {{one.name}},
                    .unit = "µs",
                    .ours = [=] { return insert_cell<OurMap>(taken, one.entries, one.together); },
                    .peers = {{kBoost, [=] { return insert_cell<BoostMap>(taken, one.entries, one.together); }}}});
  }
}

}  // namespace bench
