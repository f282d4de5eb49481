#include "call/line.hpp"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "brood/error.hpp"
#include "brood/remote_error.hpp"
#include "os/function_id.hpp"
#include "os/thrown_from.hpp"
#include "process/current.hpp"

namespace brood::inline v1::call {
namespace {

/// The first element of each message. Part of the protocol: never renumber.
enum class Word : std::uint8_t { call = 1, result = 2, failure = 3, stop = 4 };

thread_local constinit Line* t_line = nullptr;
thread_local constinit std::uint64_t t_call = 0;

constexpr std::size_t kMostMethods = 1U << 16;  ///< that one end may announce

}  // namespace

Line::Marks::Marks(Line& line, std::uint64_t call) noexcept
    : line_before_(std::exchange(t_line, &line)), call_before_(std::exchange(t_call, call)) {}
Line::Marks::~Marks() {
  t_line = line_before_;
  t_call = call_before_;
}
Line* Line::of_this_thread() noexcept { return t_line; }

Line::Line(detail::ConnectionCore connection, Do act, Explain explain)
    : connection_(std::move(connection)), act_(std::move(act)), explain_(std::move(explain)) {}

Line::~Line() {
  give_up(std::make_exception_ptr(PeerGone("this end of the conversation was given up")));
  if (pump_.joinable()) {
    pump_woken_.notify_all();
    pump_.join();
  }
}

// --- calling -----------------------------------------------------------------------------------------------------------

Line::Ticket Line::ticket(std::uint32_t method) {
  const Lock lock(mutex_);
  return {.id = ++last_id_, .within = t_line == this ? t_call : 0, .is_announced = announced_.contains(method)};
}

bool Line::call(std::uint64_t id, std::uint32_t announces, const detail::Encoder& request, detail::Received& into,
                std::size_t& result_at, Deadline deadline) {
  Waiter me{.into = &into};
  Lock lock(mutex_);
  waiting_.emplace(id, &me);
  // Nobody may find this stack's Waiter once it is gone.
  struct Leave {
    Line& line;
    Lock& lock;
    std::uint64_t id;
    ~Leave() {
      if (!lock.owns_lock()) lock.lock();
      line.waiting_.erase(id);
    }
  };
  {
    const Leave leave{*this, lock, id};
    lock.unlock();
    send(request);
    lock.lock();
    if (announces != 0) announced_.insert(announces);
    if (!wait(
            lock, me, [&] { return me.is_answered; }, deadline))
      return false;
  }
  lock.unlock();
  if (!me.is_answered) throw_over();

  detail::Decoder in(into.bytes(), into.descriptors());
  (void)in.array_header();
  const auto word = static_cast<Word>(in.integer<std::uint8_t>());
  (void)in.uint();
  if (word == Word::failure) std::rethrow_exception(detail::decode_exception(in));
  result_at = in.offset();
  return true;
}

void Line::begin(std::uint64_t id, std::uint32_t announces, const detail::Encoder& request,
                 std::shared_ptr<detail::FutureCore> future) {
  {
    const Lock lock(mutex_);
    if (over_) throw_over();
    if (!pump_.joinable()) {
      // Signals are for the application's threads.
      sigset_t all;
      sigset_t before;
      sigfillset(&all);
      ::pthread_sigmask(SIG_SETMASK, &all, &before);
      pump_ = std::thread([this] { run_pump(); });
      ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }
    (void)future->begin();
    futures_.emplace(id, std::move(future));
  }
  try {
    send(request);
  } catch (...) {
    const Lock lock(mutex_);
    futures_.erase(id);
    throw;
  }
  {
    const Lock lock(mutex_);
    if (announces != 0) announced_.insert(announces);
  }
  pump_woken_.notify_one();
}

void Line::run_pump() {
  ::pthread_setname_np(::pthread_self(), "brood-answers");
  Waiter me;
  Lock lock(mutex_);
  while (!over_) {
    pump_woken_.wait(lock, [this] { return over_ || !futures_.empty(); });
    (void)wait(
        lock, me, [this] { return futures_.empty(); }, Deadline::never());
  }
}

void Line::send(const detail::Encoder& message) {
  try {
    (void)connection_.send(message.bytes(), message.handles(), Deadline::never());
  } catch (const PeerGone&) {
    Lock lock(mutex_);
    end(lock, std::current_exception());
    if (lock.owns_lock()) lock.unlock();
    throw_over();
  }
}

// --- waiting and reading -------------------------------------------------------------------------------------------------

template <class Done>
bool Line::wait(Lock& lock, Waiter& me, Done done, Deadline deadline) {
  bool in_time = true;
  while (!over_) {
    // First of all: whoever called within our call waits for us, even if it has answered it meanwhile.
    if (std::optional<Incoming> call = next_call(me)) {
      hand_over();
      lock.unlock();
      answer(*call);
      lock.lock();
      continue;
    }
    if (done() || (is_stopped_ && me.takes_any)) break;
    if (!in_time) return false;
    if (!is_reading_) {
      in_time = read_one(lock, me, deadline);
      continue;
    }
    sleepers_.push_back(&me);
    if (deadline.is_never()) {
      me.woken.wait(lock);
    } else {
      const std::chrono::steady_clock::time_point when{std::chrono::nanoseconds(deadline.at_ns())};
      in_time = me.woken.wait_until(lock, when) != std::cv_status::timeout;
    }
    std::erase(sleepers_, &me);
  }
  hand_over();
  return true;
}

std::optional<Incoming> Line::next_call(Waiter& me) {
  std::deque<Incoming>* const from = !me.inbox.empty() ? &me.inbox : me.takes_any ? &backlog_ : nullptr;
  if (from == nullptr || from->empty()) return std::nullopt;
  std::optional<Incoming> next(std::move(from->front()));
  from->pop_front();
  return next;
}

/// Somebody who waits must read; who stops doing so sees to it.
void Line::hand_over() {
  if (!is_reading_ && !sleepers_.empty()) sleepers_.front()->woken.notify_one();
}

bool Line::read_one(Lock& lock, Waiter& me, Deadline deadline) {
  is_reading_ = true;
  lock.unlock();
  detail::Received message;
  bool got = false;
  std::exception_ptr failure;
  try {
    got = connection_.receive(message, deadline);
  } catch (...) {
    failure =
        std::current_exception();  // end of file, a broken message, no memory: nothing can follow that makes sense
  }
  lock.lock();
  is_reading_ = false;
  if (failure) {
    end(lock, failure);
    if (!lock.owns_lock()) lock.lock();
    return true;
  }
  if (!got) return false;
  std::vector<std::function<void()>> afterwards;
  try {
    deliver(std::move(message), me, afterwards);
  } catch (const DecodeError&) {
    end(lock, std::current_exception());
    if (!lock.owns_lock()) lock.lock();
    return true;
  }
  if (!afterwards.empty()) {
    hand_over();
    lock.unlock();
    for (const auto& action : afterwards) action();
    lock.lock();
  }
  return true;
}

void Line::deliver(detail::Received message, Waiter& me, std::vector<std::function<void()>>& afterwards) {
  detail::Decoder in(message.bytes(), message.descriptors());
  (void)in.array_header();
  const auto word = static_cast<Word>(in.integer<std::uint8_t>());
  switch (word) {
    case Word::call: {
      Incoming call;
      call.id = in.uint();
      call.object = in.uint();
      const std::uint64_t within = in.uint();
      call.method_at = in.offset();
      call.message = std::move(message);
      if (const auto it = waiting_.find(within); within != 0 && it != waiting_.end()) {
        it->second->inbox.push_back(std::move(call));
        if (it->second != &me) it->second->woken.notify_one();
      } else if (workers_ > 0) {
        backlog_.push_back(std::move(call));
        // A thread in serve() that sleeps takes it, or reads in our place while we do.
        const auto idle = std::ranges::find_if(sleepers_, [](const Waiter* waiter) { return waiter->takes_any; });
        if (idle != sleepers_.end()) (*idle)->woken.notify_one();
      } else {
        me.inbox.push_back(std::move(call));
      }
      return;
    }
    case Word::result:
    case Word::failure: {
      const std::uint64_t id = in.uint();
      if (const auto it = waiting_.find(id); it != waiting_.end()) {
        *it->second->into = std::move(message);
        it->second->is_answered = true;
        if (it->second != &me) it->second->woken.notify_one();
      } else if (const auto at = futures_.find(id); at != futures_.end()) {
        auto kept = std::make_shared<detail::Received>(std::move(message));
        afterwards.emplace_back([kept, word, skip = in.offset(), future = std::move(at->second)] {
          detail::Decoder rest(kept->bytes().subspan(skip), kept->descriptors());
          if (word == Word::result) return future->succeed(rest);
          std::exception_ptr thrown;
          try {
            thrown = detail::decode_exception(rest);
          } catch (const DecodeError&) {
            thrown = std::current_exception();
          }
          future->fail(thrown);
        });
        futures_.erase(at);
      }
      return;  // else: whoever asked has given up
    }
    case Word::stop:
      is_stopped_ = true;
      for (Waiter* const it : sleepers_) it->woken.notify_one();
      return;
  }
  in.fail("a call, an answer or a stop", "word " + std::to_string(static_cast<int>(word)));
}

// --- the end -------------------------------------------------------------------------------------------------------------

void Line::end(Lock& lock, std::exception_ptr why) {
  if (over_) return;
  over_ = std::move(why);
  for (const auto& [id, waiter] : waiting_) waiter->woken.notify_one();
  for (Waiter* const it : sleepers_) it->woken.notify_one();
  pump_woken_.notify_all();
  auto futures = std::exchange(futures_, {});
  if (futures.empty()) return;
  lock.unlock();
  std::exception_ptr told;
  try {
    throw_over();
  } catch (...) {
    told = std::current_exception();
  }
  for (const auto& [id, future] : futures) future->fail(told);
}

void Line::give_up(const std::exception_ptr& why) {
  Lock lock(mutex_);
  end(lock, why);
}

std::exception_ptr Line::over() {
  const Lock lock(mutex_);
  return over_;
}

void Line::throw_over() {
  const std::lock_guard lock(explain_mutex_);
  if (!explained_) explained_ = explain_(over());
  std::rethrow_exception(explained_);
}

// --- serving -------------------------------------------------------------------------------------------------------------

void Line::serve() {
  Waiter me{.takes_any = true};
  Lock lock(mutex_);
  ++workers_;
  (void)wait(
      lock, me, [] { return false; }, Deadline::never());
  --workers_;
}

void Line::say_stop() {
  const detail::SpareEncoder out;
  out->array_header(1);
  out->uint(static_cast<std::uint64_t>(Word::stop));
  send(*out);
}

void Line::lend(std::uint64_t number, std::weak_ptr<Function> function) {
  const Lock lock(mutex_);
  std::erase_if(lent_, [](const auto& it) { return it.second.expired(); });
  lent_.emplace(number, std::move(function));
}

bool Line::has_news() { return connection_.poll(Deadline::now()); }

detail::Invoke Line::method(detail::Decoder& in) {
  if (in.peek() == detail::WireType::integer) {
    const auto number = in.integer<std::uint32_t>();
    const std::lock_guard lock(methods_mutex_);
    const auto it = methods_.find(number);
    if (it == methods_.end()) in.fail("the number of a method that was announced", std::to_string(number));
    return it->second;
  }
  in.expect_array(2, "a method and where it is");
  const auto number = in.integer<std::uint32_t>();
  const auto place = detail::decode<os::FunctionId>(in);
  const auto invoke = reinterpret_cast<detail::Invoke>(const_cast<void*>(os::resolve(place)));
  const std::lock_guard lock(methods_mutex_);
  if (methods_.size() >= kMostMethods) in.fail("at most 65536 methods", "one more");
  methods_.insert_or_assign(number, invoke);
  return invoke;
}

void Line::run(Incoming& call, detail::Encoder& out) {
  detail::Decoder in(call.message.bytes().subspan(call.method_at), call.message.descriptors());
  if (call.object >= kFirstLent) {
    std::shared_ptr<Function> function;
    {
      const Lock lock(mutex_);
      if (const auto it = lent_.find(call.object); it != lent_.end()) function = it->second.lock();
    }
    if (!function)
      throw HandleError("the Callback is gone: keep it as long as the object that it was passed to may call it");
    in.nil();
    (*function)(in, out);
    return;
  }
  act_(*this, call.object, in, out);
}

void Line::answer(Incoming& call) {
  const Marks marks(*this, call.id);
  const detail::SpareEncoder out;
  const auto begin = [&](Word word) {
    out->clear();
    out->array_header(3);
    out->uint(static_cast<std::uint64_t>(word));
    out->uint(call.id);
  };
  struct Work {
    Line& line;
    Incoming& call;
    detail::Encoder& out;
  } work{*this, call, *out};
  begin(Word::result);
  os::ThrownFrom from;
  try {
    os::call_and_note_throw(
        [](void* context) {
          auto& todo = *static_cast<Work*>(context);
          todo.line.run(todo.call, todo.out);
        },
        &work, from);
  } catch (...) {
    begin(Word::failure);
    detail::encode_exception(
        *out, std::current_exception(),
        {.pid = ::getpid(), .process_name = process::current().name, .stack = describe(from, "  ")});
  }
  call.message.clear();
  try {
    send(*out);
  } catch (const PeerGone&) {
    return;  // nobody is there to be told; the conversation is over, as whoever waits will see
  }
}

}  // namespace brood::inline v1::call

namespace brood::inline v1::detail {

CallRequest::CallRequest(call::Line& line, std::uint64_t object, const MethodKey& method) : line_(line) {
  const call::Line::Ticket ticket = line.ticket(method.number);
  id_ = ticket.id;
  encoder_->array_header(6);
  encoder_->uint(1);
  encoder_->uint(id_);
  encoder_->uint(object);
  encoder_->uint(ticket.within);
  if (!method.name.empty()) {
    encoder_->str(method.name);
  } else if (method.invoke == nullptr) {  // a function that was lent
    encoder_->nil();
  } else if (ticket.is_announced) {
    encoder_->uint(method.number);
  } else {
    announces_ = method.number;
    encoder_->array_header(2);
    encoder_->uint(method.number);
    detail::encode(*encoder_, os::identify(method.invoke));
  }
}

bool CallRequest::call(Received& into, std::size_t& result_at, Deadline deadline) {
  return line_.call(id_, announces_, *encoder_, into, result_at, deadline);
}
void CallRequest::begin(std::shared_ptr<FutureCore> future) {
  line_.begin(id_, announces_, *encoder_, std::move(future));
}

EncodesFor::EncodesFor(call::Line& line) noexcept : before_(std::exchange(call::t_line, &line)) {}
EncodesFor::~EncodesFor() { call::t_line = before_; }

MethodKey numbered(std::atomic<std::uint32_t>& number, const void* invoke) noexcept {
  static constinit std::atomic<std::uint32_t> last = 0;
  std::uint32_t mine = number.load(std::memory_order_relaxed);
  if (mine == 0) {
    const std::uint32_t fresh = ++last;
    mine = number.compare_exchange_strong(mine, fresh, std::memory_order_relaxed) ? fresh : mine;
  }
  return {.number = mine, .invoke = invoke};
}

Hosted::~Hosted() = default;

std::unique_ptr<Hosted> unpack_hosted(std::span<const std::byte> packed) {
  Decoder in(packed);
  in.expect_array(4, "a packed constructor");
  (void)in.uint();
  const auto place = detail::decode<os::FunctionId>(in);
  in.nil();
  const auto make = reinterpret_cast<MakeHosted>(const_cast<void*>(os::resolve(place)));
  std::unique_ptr<Hosted> made = make(in);
  in.finish();
  return made;
}

}  // namespace brood::inline v1::detail
