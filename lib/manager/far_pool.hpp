// A managed pool as its client sees it: tasks go there, one by one; their results come in batches.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "brood/detail/pool_core.hpp"
#include "brood/proxy.hpp"

namespace brood::inline v1::manager {

/// As long as results are awaited there is one conversation in which the server is asked for them: it answers when it has some, and
/// is asked again before actions of futures run. That thread is the line's (call/README.md), which therefore may
/// wait in an action for other tasks of the pool: another thread reads meanwhile.
class FarPool final : public detail::PoolBody, public std::enable_shared_from_this<FarPool> {
 public:
  explicit FarPool(const detail::ProxyCore& core);
  ~FarPool() override;

  /// No more tasks: what has not begun is withdrawn, and open futures fail.
  void leave() noexcept;

  void admit(const detail::PoolFunction& /*function*/) override {}  // the server says so at submit()
  void check_running() override;
  [[nodiscard]] std::size_t size() override;
  void submit(pool::JobData& job) override;
  void withdraw(pool::JobData& job, const std::exception_ptr& why) override;
  bool cancel(pool::JobData& job) override;
  bool cancel_running(pool::JobData& job, const CancelOptions& options) override;
  [[nodiscard]] bool is_running(pool::JobData& job) override;
  bool wait(pool::JobData& job, detail::PoolAwaited& what, Deadline deadline) override;

  void close() override;
  void terminate() override;
  bool join(Deadline deadline) override;
  void resize(std::int64_t workers) override;
  [[nodiscard]] PoolInsight insight() override;
  [[nodiscard]] std::string printed() override;

 private:
  class Batch;
  struct Open {
    std::shared_ptr<detail::PoolJob> keep;
    pool::JobData* job = nullptr;  ///< of that
    std::vector<bool> settled;     ///< by whom it was marked, and nobody else
    bool is_sent = false;          ///< the server has it
  };
  /// Of one process.
  struct State {
    explicit State(pid_t process) : owner(process) {}
    const pid_t owner;
    std::mutex mutex;
    std::uint64_t box = new_box();   ///< where the server puts our results
    std::condition_variable closed;  ///< a job was
    std::unordered_map<std::uint64_t, Open> open;
    std::uint64_t last_number = 0;
    std::size_t awaited = 0;  ///< open jobs that the server has
    bool is_asking = false;
    bool is_left = false;
    [[nodiscard]] static std::uint64_t new_box() noexcept;
  };
  [[nodiscard]] State& mine();
  [[nodiscard]] std::uint64_t box();
  static void give_up(State& state, std::uint64_t number);
  void send(const pool::JobData& job, std::uint64_t box, std::uint64_t number);

  void ask_for_results(std::uint64_t box, std::shared_ptr<detail::Conversation> conversation);
  void take(Batch& batch, Decoder& in);
  void take_one(State& state, Decoder& in);
  /// Null: it is settled already, or of nobody.
  [[nodiscard]] static std::pair<std::shared_ptr<detail::PoolJob>, pool::JobData*> mark(State& state,
                                                                                        std::uint64_t number,
                                                                                        std::size_t item);
  static void close_job(State& state, std::uint64_t number, pool::JobData& job);
  static void erase(State& state, std::unordered_map<std::uint64_t, Open>::iterator it);
  void drop_box(std::uint64_t box) noexcept;
  void lose(std::uint64_t box, const std::exception_ptr& why);
  void fail_all(State& state, const std::function<std::exception_ptr()>& why);

  const detail::ProxyCore pool_;  ///< without a token: does not keep the pool alive
  std::atomic<State*> state_;
};

}  // namespace brood::inline v1::manager
