// TestSyncManagerTypes.test_pool: the pool that a manager keeps does what Pool does. The same text, by a proxy.
#include "brood/manager.hpp"
#include "conformance/pool_texts.hpp"

namespace {

using namespace conformance;

class ManagedPoolConformance : public EveryMethod {};
BROOD_METHODS(ManagedPoolConformance);

/// Of a manager of its own for each test.
struct ManagedPools {
  StartMethod method;
  brood::Manager manager{{.process = {.start_method = method}}};
  [[nodiscard]] brood::PoolProxy make(std::int64_t workers, brood::ManagedPoolOptions options = {}) {
    options.start_method = method;
    return manager.pool(workers, options);
  }
};
#define BROOD_TEXT(Name)                 \
  TEST_P(ManagedPoolConformance, Name) { \
    ManagedPools kind{method()};         \
    pool_texts::Name(kind);              \
  }
BROOD_POOL_TEXTS(BROOD_TEXT)

/// As TestSyncManagerTypes.test_pool has it: a proxy that was given to a child.
void use_pool(const brood::PoolProxy& pool) {
  SCENARIO_CHECK(pool.map(square, numbers(10)) == squares(10));
  pool.close();
}
TEST_P(ManagedPoolConformance, AChildUsesAndClosesIt) {
  ManagedPools kind{method()};
  const brood::PoolProxy pool = kind.make(2);
  EXPECT_EQ(code_of(use_pool, pool), 0);
  EXPECT_THROW((void)pool.apply(square, 1), brood::UsageError);
  pool.join();
}

}  // namespace
