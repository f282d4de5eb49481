// A worker alone, with a desk on which the test writes what its master would.
#include "brood/process.hpp"
#include "pool/desk_master.hpp"
#include "pool/pool_support.hpp"

namespace {

using namespace pool_test;

#if !SUPPORT_TSAN  // fork: see INSTANTIATE_FOR_EVERY_METHOD_IN_THREADS
class PoolWorker : public Pools {};

/// The hall of the test; a forked worker has it, too.
constinit pool::Hall* g_hall = nullptr;
/// 1: behaves like a reader that has seen nothing so far and goes to sleep.
int reader_sleeps_in(int does) {
  if (does == 1) g_hall->pump.arm();
  return does;
}

// Behind a result for which no bell was rung the worker finds nothing but what was taken back, and goes to sleep: nobody else
// can know of that result.
TEST_F(PoolWorker, RingsBeforeItWaits) {
  DeskMaster master(std::type_identity<void(int)>(), &reader_sleeps_in);
  g_hall = &master.hall();
  brood::ProcessOptions options;
  options.daemon = true;
  options.start_method = StartMethod::fork;
  const pool::WorkerOrder order{.number = 1};
  brood::Process worker(options, pool::run_worker, master.pipe.second, master.desk_memory, master.hall_memory, order);
  worker.start();
  // No task that ends is worth a bell for what it is.
  master.desk().ring_at.store(std::numeric_limits<std::uint64_t>::max());
  master.publish();
  for (int round = 0; round < 300; ++round) {
    wait_until([&] { return master.worker_waits(); });
    (void)master.read();
    // The first one is rung for: that is 50 us after the last bell. The second one, right behind it, is not.
    (void)master.offer(std::vector<int>{0});
    const std::uint64_t second = master.offer(std::vector<int>{1});
    const std::uint64_t taken_back = master.offer(std::vector<int>{0});
    ASSERT_TRUE(master.revoke(taken_back));
    master.publish();
    wait_until([&] { return master.worker_waits(); });
    const std::vector<Said> said = master.read();
    ASSERT_EQ(said.back().seq, second);
    ASSERT_EQ(master.hall().pump.word.load() & 1, 0U)
        << "the worker waits, and nobody knows of its result; round " << round;
  }
  master.tell_to_stop();
  master.publish();
  worker.join();
  EXPECT_EQ(worker.exitcode(), 0);
}
#endif

}  // namespace
