// One end of a conversation in calls and answers: who waits, who reads, who serves.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "brood/detail/call_line.hpp"
#include "brood/detail/connection_core.hpp"
#include "os/function_id.hpp"

namespace brood::inline v1::call {

/// A method that the other end has named. Stays where it is as long as its line.
struct Method {
  os::FunctionId place;
  std::atomic<detail::Invoke> invoke = nullptr;  ///< once somebody has looked there

  /// Errors: StartError (the other end is another program or build).
  [[nodiscard]] detail::Invoke function();
};

/// A call that came, and waits for a thread that will do it.
struct Incoming {
  detail::Received message;
  std::uint64_t id = 0;
  std::uint64_t object = 0;
  std::string name = {};         ///< of a method that is known by its name
  Method* method = nullptr;      ///< null, and no name: a function that was lent
  std::size_t arguments_at = 0;  ///< where in the message they are
};

/// Threads that wait for answers read for each other: one of them receives, hands out what came, and passes that role on when it
/// goes. So a call by one thread costs one message there and one back, and no other thread has a part in it.
///
/// Held by shared_ptr.
class Line : public std::enable_shared_from_this<Line> {
 public:
  /// What the other end asks for.
  struct Asked {
    std::uint64_t object;
    std::string_view name;  ///< of the method; empty: see the next
    Method* method;         ///< null: it has a name
  };
  /// Does such a call; gives what must live until the result has been sent. Errors: whatever the caller shall be told.
  using Do = std::function<std::shared_ptr<const void>(Line& line, const Asked& asked, detail::Decoder& arguments,
                                                       detail::Encoder& result)>;
  /// What callers are told when the conversation is over; `why` is what ended it.
  using Explain = std::function<std::exception_ptr(const std::exception_ptr& why)>;

  Line(detail::ConnectionCore connection, Do act, Explain explain);
  ~Line();
  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;

  /// In bytes. Who sends a longer message is refused (NoSpace, code EMSGSIZE); one that comes ends the conversation
  /// (MessageTooLong). To be called before the line is used.
  void limit_messages(std::uint64_t incoming, std::uint64_t outgoing) noexcept {
    longest_incoming_ = incoming;
    longest_outgoing_ = outgoing;
  }

  // --- calling (brood/detail/call_line.hpp)
  struct Ticket {
    std::uint64_t id;
    std::uint64_t within;  ///< the call of the other end that this thread is busy with; 0: none
    bool is_announced;
  };
  [[nodiscard]] Ticket ticket(std::uint32_t method);
  struct Request {
    std::uint64_t id;
    std::uint32_t announces;  ///< the number of a method that it says the place of; 0: none
    const detail::Encoder& message;
    detail::Kept kept;
  };
  [[nodiscard]] bool call(Request request, detail::Received& into, std::size_t& result_at, Deadline deadline);
  void begin(Request request, std::shared_ptr<detail::FutureCore> future);

  // --- serving
  /// Does calls as they come, in this thread, until the conversation is over or the other end says stop. Several threads may
  /// do so at once; one alone does them in order, except those that belong to a call which waits in this thread.
  void serve();
  /// True if there is something to read: also at the end of the conversation. For who watches a line that is busy with a call of
  /// the other end, which says nothing meanwhile.
  [[nodiscard]] bool has_news();
  /// The other end's serve() returns once what was asked before is done.
  void say_stop();
  /// Reads, and does the calls that come, until the other end has left the conversation: what it still has to say, and to ask,
  /// before it goes. For who serves nothing.
  void drain();
  /// Ends it from this side: everybody who waits is told. The connection itself stays, until destruction.
  void give_up(const std::exception_ptr& why);
  /// The same, and the threads of the line end; one that reads does so when the other end has left. Whoever made a line that
  /// calls calls this before letting go of it: such a thread keeps it alive.
  void finish(const std::exception_ptr& why);
  /// Why it is over; null as long as it is not.
  [[nodiscard]] std::exception_ptr over();
  [[nodiscard]] bool is_over() const noexcept { return is_over_.load(std::memory_order_acquire); }

  /// Functions of this process that the other end may call, by number.
  using Function = detail::CallbackFunction;
  void lend(std::uint64_t number, std::weak_ptr<Function> function);
  /// If this thread encodes the arguments of a call: until that has been answered.
  static void keep_for_call(std::shared_ptr<const void> what);

  /// The line that this thread is encoding arguments for, or doing a call of; null: none.
  [[nodiscard]] static Line* of_this_thread() noexcept;
  /// This thread is doing a call of the other end, which waits for it.
  [[nodiscard]] bool is_answered_by_this_thread() const noexcept;
  /// The calling thread will sleep until something is done elsewhere. If it is a thread brood-answers, on behalf of which an
  /// action or a callback runs here, another one brings the answers from now on.
  static void before_sleeping();
  class Marks;  ///< sets it for a scope

 private:
  struct Waiter {
    bool takes_any = false;  ///< a thread in serve()
    bool is_answered = false;
    detail::Received* into = nullptr;
    std::vector<Incoming> inbox = {};  ///< mostly empty, and then it has no memory
    std::condition_variable woken = {};
  };
  using Lock = std::unique_lock<std::mutex>;

  /// Reads, serves and sleeps until `done()` (under the lock), the end, or the deadline. False: the deadline.
  template <class Done>
  bool wait(Lock& lock, Waiter& me, Done done, Deadline deadline);
  [[nodiscard]] Waiter* waiter_of(std::uint64_t id) const;
  void mark_announced(std::uint32_t method) noexcept;
  bool read_one(Lock& lock, Waiter& me, Deadline deadline);
  void deliver(detail::Received& message, Waiter& me, std::vector<std::function<void()>>& afterwards);
  void deliver_call(detail::Received& message, detail::Decoder& in, Waiter& me);
  std::optional<Incoming> next_call(Waiter& me);
  void hand_over();
  void end(Lock& lock, std::exception_ptr why);
  [[noreturn]] void throw_over();

  void answer(Incoming& call);
  void run(Incoming& call, detail::Encoder& out, std::shared_ptr<const void>& kept);
  Method* learn_method(detail::Decoder& in);
  bool send(const detail::Encoder& message);
  bool send_failure(std::uint64_t id, const std::exception_ptr& thrown, const std::string& stack);

  void need_pump(Lock& lock);
  void start_pump(Lock& lock);
  void run_pump(std::uint64_t number);
  bool must_pump();

  detail::ConnectionCore connection_;
  std::uint64_t longest_incoming_ = ~std::uint64_t{0};
  std::uint64_t longest_outgoing_ = ~std::uint64_t{0};
  const Do act_;
  const Explain explain_;

  std::atomic<std::uint64_t> last_id_ = 0;
  /// One bit for each method that the other end knows by number; those with higher numbers are announced each time.
  std::array<std::atomic<std::uint64_t>, 64> announced_ = {};

  std::mutex mutex_;
  std::vector<std::pair<std::uint64_t, Waiter*>>
      waiting_;  ///< with the numbers of their calls; as many as there are threads
  struct Open {
    std::shared_ptr<detail::FutureCore> future;
    detail::Kept kept;
  };
  std::unordered_map<std::uint64_t, Open> futures_;
  std::unordered_map<std::uint64_t, detail::Kept>
      abandoned_;                  ///< calls that nobody waits for any more; their answers must be read
  std::vector<Waiter*> sleepers_;  ///< threads that would read if nobody did
  std::deque<Incoming> backlog_;   ///< calls for threads in serve()
  int workers_ = 0;
  bool is_reading_ = false;
  bool is_stopped_ = false;
  std::exception_ptr over_;
  std::atomic<bool> is_over_ = false;  ///< the same, without the mutex
  std::unordered_map<std::uint64_t, std::weak_ptr<Function>> lent_;
  detail::Received spare_;  ///< memory for the next message

  std::unordered_map<std::uint32_t, Method> methods_;  ///< of the other end, by its numbers

  std::mutex explain_mutex_;
  std::exception_ptr explained_;

  // The threads brood-answers: one reads for futures, abandoned calls and lent functions while nobody else does. One that was
  // held up is replaced, and ends once it comes back.
  std::condition_variable pump_woken_;
  std::uint64_t last_pump_ = 0;
  std::uint64_t pump_number_ = 0;          ///< of the one that reads; 0: there is none
  std::vector<std::thread> pumps_;         ///< all that were made and not joined
  std::vector<std::thread::id> returned_;  ///< those of them that are about to end
};

/// What this thread is doing on behalf of a line.
class Line::Marks {
 public:
  Marks(Line& line, std::uint64_t call) noexcept;
  ~Marks();
  Marks(const Marks&) = delete;
  Marks& operator=(const Marks&) = delete;

 private:
  Line* line_before_;
  std::uint64_t call_before_;
  detail::Kept* kept_before_;
};

/// Calls of a number from here on are for functions that were lent, not for objects.
inline constexpr std::uint64_t kFirstLent = std::uint64_t{1} << 62;

}  // namespace brood::inline v1::call
