#include <deque>
#include <utility>

#include "brood/detail/future_core.hpp"

namespace brood::inline v1::detail {
namespace {

/// Settled once one of several futures is. It is waited for as those are: so whoever reads for them reads now.
class Gate final : public FutureCore {
 public:
  using FutureCore::FutureCore;
  void open() {
    (void)succeed_with([] {});
  }

 private:
  void accept(Decoder& /*in*/) override {}
};

}  // namespace

/// Lives on in the futures that are not settled, which may outlive the set.
struct FutureSet::Arrivals {
  std::mutex mutex;
  std::deque<std::size_t> places;
  std::shared_ptr<Gate> gate;  ///< somebody sleeps

  void add(std::size_t place) {
    std::shared_ptr<Gate> opens;
    {
      const std::lock_guard lock(mutex);
      places.push_back(place);
      opens = std::exchange(gate, nullptr);
    }
    if (opens) opens->open();
  }
};

FutureSet::FutureSet(std::vector<std::shared_ptr<FutureCore>> futures)
    : futures_(std::move(futures)), arrivals_(std::make_shared<Arrivals>()) {
  for (std::size_t i = 0; i < futures_.size(); ++i)
    futures_[i]->when_settled([arrivals = arrivals_, i] { arrivals->add(i); });
}
FutureSet::~FutureSet() = default;

std::optional<std::size_t> FutureSet::next(Deadline deadline) {
  while (told_ != futures_.size()) {
    std::shared_ptr<Gate> gate;
    {
      const std::lock_guard lock(arrivals_->mutex);
      if (!arrivals_->places.empty()) {
        const std::size_t place = arrivals_->places.front();
        arrivals_->places.pop_front();
        ++told_;
        futures_[place] = nullptr;  // who was told has it
        return place;
      }
      FutureSource* source = nullptr;
      for (const auto& future : futures_) {
        if (source == nullptr && future != nullptr && !future->is_settled()) source = future->source();
      }
      gate = std::make_shared<Gate>(source);
      arrivals_->gate = gate;
    }
    if (!gate->wait(deadline)) {
      const std::lock_guard lock(arrivals_->mutex);
      arrivals_->gate = nullptr;
      if (arrivals_->places.empty()) return std::nullopt;
    }
  }
  return std::nullopt;
}

}  // namespace brood::inline v1::detail
