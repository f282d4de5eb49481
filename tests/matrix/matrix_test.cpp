// Each object in each way of making a process: 96 cells, each a test of its own. None of them can be skipped.
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <exception>
#include <string>
#include <string_view>

#include "matrix/test_side.hpp"
#include "matrix/ways.hpp"
#include "support/leak_check.hpp"

namespace {

using namespace matrix;

template <class Object>
void run_cell(Way way) {
  auto object = make<Object>();
  brood::Lock guard;
  Tally tally(0);
  const Doorway doorway;
  const auto peer = start(way, object, guard, tally, doorway.address());
  {
    const Line line = doorway.accept();
    require(line.other_pid() != ::getpid(), "the worker is a process of its own");
    line.expect(kHere);
    play(object, Aids{guard, tally, line});
    line.expect(kDone);
    line.expect_silence();
  }
  peer->wait();
  judge(object, tally);
}

template <class Object>
class Cell : public support::NoLeaks {
 public:
  explicit Cell(Way way) : way_(way) {}
  void TestBody() override { run_cell<Object>(way_); }

 private:
  Way way_;
};

constexpr int kObjects = 12;

template <class Object>
void register_row() {
  for (const Way way : kWays) {
    const std::string name = std::string(Name<Object>::text) + "_" + to_string(way);
    testing::RegisterTest("Matrix", name.c_str(), nullptr, nullptr, __FILE__, __LINE__,
                          [way]() -> support::NoLeaks* { return new Cell<Object>(way); });
  }
}

const bool kRegistered = [] {
  register_row<brood::Lock>();
  register_row<brood::RLock>();
  register_row<brood::Semaphore>();
  register_row<brood::BoundedSemaphore>();
  register_row<brood::Event>();
  register_row<brood::Condition>();
  register_row<brood::Barrier>();
  register_row<Letters>();
  register_row<Jobs>();
  register_row<News>();
  register_row<Wire>();
  register_row<Account>();
  return true;
}();

TEST(MatrixSize, EveryCellIsATest) {
  ASSERT_TRUE(kRegistered);
  const auto& program = *testing::UnitTest::GetInstance();
  int cells = 0;
  int skipped = 0;
  for (int i = 0; i < program.total_test_suite_count(); ++i) {
    const auto& suite = *program.GetTestSuite(i);
    if (std::string_view(suite.name()) != "Matrix") continue;
    cells += suite.total_test_count();
    skipped += suite.skipped_test_count() + suite.disabled_test_count();
  }
  EXPECT_EQ(cells, kObjects * static_cast<int>(kWays.size()));
  EXPECT_EQ(cells, 96);
  EXPECT_EQ(skipped, 0);
}

// The registry and the forkserver rightly stay until the end of the program.
const bool kWarm = support::before_first_baseline([] {
  brood::Lock lock;
  lock.lock();
  lock.unlock();
  brood::Process first({.start_method = brood::StartMethod::forkserver}, [] {});
  first.start();
  first.join();
});

}  // namespace
