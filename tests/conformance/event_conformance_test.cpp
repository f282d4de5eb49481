// CPython's _TestEvent, and the EVT rows.
#include "brood/event.hpp"

#include "brood/value.hpp"
#include "conformance/bodies.hpp"

namespace conformance {
namespace {

class EventConformance : public Bodies {};
BROOD_BODIES(EventConformance);

void wait_forms_of_an_unset(brood::Event& event) {
  require(!event.is_set(), "a new event is unset");
  require(!event.wait_for(0s), "zero polls");
  require(!event.wait_for(-1s), "negative polls");
  const Stopwatch watch;
  require(!event.wait_for(30ms), "a timed wait of an unset event is false");
  require(watch.elapsed() >= 30ms, "a timed wait lasts its whole timeout");
}
void wait_forms_of_a_set(brood::Event& event) {
  require(event.is_set(), "it is set");
  require(event.wait_for(0s), "zero");
  require(event.wait_for(-1s), "negative");
  require(event.wait_for(std::chrono::hours::max()), "huge");
  event.wait();
}

// _TestEvent.test_event, EVT-04
TEST_P(EventConformance, UnsetTimesOutSetWakesClearRearmsAndAChildCanSet) {
  brood::Event event;
  worker(wait_forms_of_an_unset, event).join();
  event.set();
  worker(wait_forms_of_a_set, event).join();
  wait_forms_of_a_set(event);
  event.clear();
  worker(wait_forms_of_an_unset, event).join();
  auto setter = worker([](brood::Event& one) { one.set(); }, event);
  event.wait();
  EXPECT_TRUE(event.is_set());
  setter.join();
}

// _TestEvent.test_repr
TEST_P(EventConformance, PrintedFormTellsSetOrUnset) {
  brood::Event event;
  EXPECT_EQ(printed(event), "<Event " + event.handle().str() + " unset>");
  worker([](brood::Event& one) { one.set(); }, event).join();
  EXPECT_EQ(printed(event), "<Event " + event.handle().str() + " set>");
}

// EVT-01
TEST_P(EventConformance, IsSetIsTheCurrentFlagEverywhere) {
  brood::Event event;
  EXPECT_FALSE(event.is_set());
  worker(
      [](brood::Event& one) {
        require(!one.is_set(), "unset");
        one.set();
        require(one.is_set(), "set");
      },
      event)
      .join();
  EXPECT_TRUE(event.is_set());
  worker([](brood::Event& one) { one.clear(); }, event).join();
  EXPECT_FALSE(event.is_set());
}

void wait_and_count(brood::Event& event, brood::Value<long>& counter) {
  event.wait();
  *counter.lock() += 1;
}

// EVT-02
TEST_P(EventConformance, SetWakesAllAndIsIdempotent) {
  brood::Event event;
  brood::Value<long> counter;
  auto waiters = workers(5, wait_and_count, event, counter);
  support::await_sleepers(event.handle(), 5);
  EXPECT_EQ(counter.get(), 0);
  event.set();
  event.set();
  for (auto& waiter : waiters) waiter->join();
  EXPECT_EQ(counter.get(), 5);
  EXPECT_TRUE(event.is_set());
}

// EVT-02, better than Python's: a waiter never misses a set that is followed by a clear
TEST_P(EventConformance, SetThenClearStillWakesThoseWhoWaited) {
  brood::Event event;
  brood::Value<long> counter;
  auto waiters = workers(3, wait_and_count, event, counter);
  support::await_sleepers(event.handle(), 3);
  event.set();
  event.clear();
  for (auto& waiter : waiters) waiter->join();
  EXPECT_EQ(counter.get(), 3);
  EXPECT_FALSE(event.is_set());
}

// EVT-03
TEST_P(EventConformance, ClearIsIdempotent) {
  brood::Event event;
  event.clear();
  EXPECT_FALSE(event.is_set());
  event.set();
  event.clear();
  event.clear();
  worker(wait_forms_of_an_unset, event).join();
}

}  // namespace
}  // namespace conformance
