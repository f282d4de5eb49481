#include "call/line.hpp"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <string>
#include <system_error>
#include <utility>

#include "brood/error.hpp"
#include "brood/remote_error.hpp"
#include "channel/transport.hpp"
#include "os/forks.hpp"
#include "os/function_id.hpp"
#include "os/program.hpp"
#include "os/thrown_from.hpp"
#include "process/current.hpp"

namespace brood::inline v1::call {
namespace {

/// The first element of each message. Part of the protocol: never renumber.
enum class Word : std::uint8_t { call = 1, result = 2, failure = 3, stop = 4 };

thread_local constinit Line* t_line = nullptr;
thread_local constinit std::uint64_t t_call = 0;
thread_local constinit detail::Kept* t_kept = nullptr;
/// The line for which this thread is brood-answers.
thread_local constinit Line* t_pumped = nullptr;

constexpr std::size_t kMostMethods = 1U << 16;      ///< that one end may announce
constexpr std::size_t kMostSpareBytes = 1UL << 20;  ///< of memory that a line keeps

void begin_answer(detail::Encoder& out, Word word, std::uint64_t id) {
  out.clear();
  out.array_header(3);
  out.uint(static_cast<std::uint64_t>(word));
  out.uint(id);
}

}  // namespace

Line::Marks::Marks(Line& line, std::uint64_t call) noexcept
    : line_before_(std::exchange(t_line, &line)),
      call_before_(std::exchange(t_call, call)),
      kept_before_(std::exchange(t_kept, nullptr)) {}
Line::Marks::~Marks() {
  t_line = line_before_;
  t_call = call_before_;
  t_kept = kept_before_;
}
Line* Line::of_this_thread() noexcept { return t_line; }
bool Line::is_answered_by_this_thread() const noexcept { return t_line == this && t_call != 0; }

Line::Line(detail::ConnectionCore connection, Do act, Explain explain)
    : connection_(std::move(connection)), act_(std::move(act)), explain_(std::move(explain)) {}

Line::~Line() {
  finish(std::make_exception_ptr(PeerGone("this end of the conversation was given up")));
  // First of all members: what explain_ holds may wait for the other end to go.
  connection_.close();
}

// --- calling -----------------------------------------------------------------------------------------------------------

Line::Ticket Line::ticket(std::uint32_t method) {
  const std::size_t word = method / 64;
  // relaxed: whoever set the bit had sent the announcement before, and what we send now comes behind it. Ids need be different only.
  const bool is_announced =
      word < announced_.size() && (announced_[word].load(std::memory_order_relaxed) >> (method % 64) & 1) != 0;
  return {.id = last_id_.fetch_add(1, std::memory_order_relaxed) + 1,
          .within = t_line == this ? t_call : 0,
          .is_announced = is_announced};
}

void Line::mark_announced(std::uint32_t method) noexcept {
  const std::size_t word = method / 64;
  if (word < announced_.size()) announced_[word].fetch_or(std::uint64_t{1} << (method % 64), std::memory_order_relaxed);
}

Line::Waiter* Line::waiter_of(std::uint64_t id) const {
  const auto it = std::ranges::find(waiting_, id, &std::pair<std::uint64_t, Waiter*>::first);
  return it != waiting_.end() ? it->second : nullptr;
}

bool Line::call(Request request, detail::Received& into, std::size_t& result_at, Deadline deadline) {
  Waiter me{.into = &into};
  Lock lock(mutex_);
  waiting_.emplace_back(request.id, &me);
  // Nobody may find this stack's Waiter once it is gone.
  struct Leave {
    Line& line;
    Lock& lock;
    std::uint64_t id;
    ~Leave() {
      if (!lock.owns_lock()) lock.lock();
      const auto it = std::ranges::find(line.waiting_, id, &std::pair<std::uint64_t, Waiter*>::first);
      *it = line.waiting_.back();
      line.waiting_.pop_back();
      if (line.waiting_.empty() && !line.lent_.empty()) line.pump_woken_.notify_all();
    }
  };
  {
    const Leave leave{*this, lock, request.id};
    lock.unlock();
    const bool is_sent = send(request.message);
    if (is_sent && request.announces != 0) mark_announced(request.announces);
    lock.lock();
    if (!wait(
            lock, me, [&] { return me.is_answered; }, deadline)) {
      // An answer that nobody takes, or calls back that nobody does, would hold up the other end.
      abandoned_.emplace(request.id, std::move(request.kept));
      need_pump(lock);
      return false;
    }
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

void Line::begin(Request request, std::shared_ptr<detail::FutureCore> future) {
  (void)future
      ->begin();  // before we have our mutex: a future takes its answer in under its own, and may ask on from there
  Lock lock(mutex_);
  if (over_) {
    lock.unlock();
    throw_over();
  }
  need_pump(lock);
  futures_.emplace(request.id, Open{std::move(future), std::move(request.kept)});
  lock.unlock();
  bool is_sent = false;
  try {
    is_sent = send(request.message);
  } catch (...) {
    lock.lock();
    const auto gone = futures_.extract(request.id);
    lock.unlock();
    throw;
  }
  if (is_sent && request.announces != 0) mark_announced(request.announces);
}

/// False if the other end is gone: whoever reads will meet the end, behind the answers that it has sent before.
bool Line::send(const detail::Encoder& message) {
  if (message.bytes().size() > longest_outgoing_) {
    throw NoSpace("a message of " + std::to_string(message.bytes().size()) + " bytes; the other end takes at most " +
                      std::to_string(longest_outgoing_) + " (max_message)",
                  EMSGSIZE);
  }
  try {
    return connection_.send(message.bytes(), message.handles(), Deadline::never());
  } catch (const PeerGone&) {
    return false;
  }
}

// --- the threads brood-answers -------------------------------------------------------------------------------------------

/// With the lock: somebody has to read although nobody waits.
void Line::need_pump(Lock& lock) {
  if (over_) return;
  if (pump_number_ == 0) start_pump(lock);
  else pump_woken_.notify_all();
}

void Line::start_pump(Lock& lock) {
  for (const std::thread::id done : std::exchange(returned_, {})) {
    const auto it = std::ranges::find(pumps_, done, &std::thread::get_id);
    it->join();  // it has let go of the lock for the last time
    pumps_.erase(it);
  }
  pumps_.reserve(pumps_.size() + 1);
  returned_.reserve(pumps_.size() + 1);
  const os::AllSignalsBlocked blocked;  // handlers run on the application's threads
  const std::uint64_t number = ++last_pump_;
  try {
    pumps_.emplace_back([self = shared_from_this(), number] { self->run_pump(number); });
    pump_number_ = number;
  } catch (const std::system_error& error) {
    lock.unlock();
    throw OsError(error.code().value(), "cannot start the thread that receives the answers of other processes");
  }
  ::pthread_setname_np(pumps_.back().native_handle(), "brood-answers");  // so that it counts as ours from now on
}

bool Line::must_pump() {
  std::erase_if(lent_, [](const auto& it) { return it.second.expired(); });
  return !futures_.empty() || !abandoned_.empty() || !lent_.empty();
}

void Line::run_pump(std::uint64_t number) {
  t_pumped = this;
  Waiter me;
  Lock lock(mutex_);
  const auto is_replaced = [&] { return pump_number_ != number; };
  while (!over_ && !is_replaced()) {
    // Callers read for themselves; a function that was lent may be called when there are none.
    pump_woken_.wait(lock, [&] {
      return over_ || is_replaced() || !futures_.empty() || !abandoned_.empty() || (waiting_.empty() && must_pump());
    });
    (void)wait(
        lock, me, [&] { return is_replaced() || !must_pump(); }, Deadline::never());
  }
  t_pumped = nullptr;
  if (!is_replaced()) pump_number_ = 0;
  returned_.push_back(std::this_thread::get_id());
}

void Line::before_sleeping() {
  Line* const line = std::exchange(t_pumped, nullptr);
  if (line == nullptr) return;
  Lock lock(line->mutex_);
  line->pump_number_ = 0;
  if (!line->over_) line->start_pump(lock);
}

// --- waiting and reading -------------------------------------------------------------------------------------------------

template <class Done>
bool Line::wait(Lock& lock, Waiter& me, Done done, Deadline deadline) {
  // However we leave: somebody else may have to read now.
  struct HandOver {
    Line& line;
    Lock& lock;
    ~HandOver() {
      if (!lock.owns_lock()) lock.lock();
      line.hand_over();
    }
  } const leaving{*this, lock};
  bool in_time = true;
  while (!over_) {
    // First of all: whoever called within our call waits for us, even if it has answered it meanwhile.
    if (std::optional<Incoming> call = next_call(me)) {
      hand_over();
      lock.unlock();
      answer(*call);
      const bool is_small = call->message.size_bytes() <= kMostSpareBytes;
      call->message.clear();
      lock.lock();
      if (is_small) spare_ = std::move(call->message);
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
  return true;
}

std::optional<Incoming> Line::next_call(Waiter& me) {
  std::optional<Incoming> next;
  if (!me.inbox.empty()) {
    next.emplace(std::move(me.inbox.front()));
    me.inbox.erase(me.inbox.begin());
  } else if (me.takes_any && !backlog_.empty()) {
    next.emplace(std::move(backlog_.front()));
    backlog_.pop_front();
  }
  return next;
}

/// Somebody who waits must read; who stops doing so sees to it. One is enough: it reads, or hands over in its turn when it has
/// something else to do, or leaves.
void Line::hand_over() {
  if (!is_reading_ && !sleepers_.empty()) sleepers_.front()->woken.notify_one();
}

bool Line::read_one(Lock& lock, Waiter& me, Deadline deadline) {
  is_reading_ = true;
  detail::Received message = std::move(spare_);
  lock.unlock();
  bool got = false;
  std::exception_ptr failure;  // end of file, a broken message, no memory: nothing can follow that makes sense
  try {
    message.clear();
    detail::Landing landing{.buffer = message, .most = longest_incoming_};
    got = connection_.transport().receive(landing, deadline);
    if (landing.too_long) {
      throw MessageTooLong("a message of " + std::to_string(landing.size_bytes) +
                           " bytes came, and this end takes at most " + std::to_string(longest_incoming_) +
                           " (max_message)");
    }
  } catch (...) {
    failure = std::current_exception();
  }
  lock.lock();
  is_reading_ = false;
  std::vector<std::function<void()>> afterwards;
  if (got) {
    try {
      deliver(message, me, afterwards);
    } catch (...) {
      failure = std::current_exception();
    }
  }
  // NOLINTNEXTLINE(clang-analyzer-cplusplus.Move): one that was handed out has left an empty one
  if (message.size_bytes() <= kMostSpareBytes) {
    message.clear();
    spare_ = std::move(message);
  }
  if (failure) {
    end(lock, failure);
    if (!lock.owns_lock()) lock.lock();
    return true;
  }
  if (!afterwards.empty()) {
    hand_over();
    lock.unlock();
    for (const auto& action : afterwards) action();
    afterwards.clear();
    lock.lock();
  }
  return got;
}

void Line::deliver(detail::Received& message, Waiter& me, std::vector<std::function<void()>>& afterwards) {
  detail::Decoder in(message.bytes(), message.descriptors());
  const std::size_t parts = in.array_header();
  const auto word = static_cast<Word>(in.integer<std::uint8_t>());
  const std::size_t wanted = word == Word::call ? 6 : word == Word::stop ? 1 : 3;
  if (parts != wanted) in.fail("a message of " + std::to_string(wanted) + " parts", std::to_string(parts));
  switch (word) {
    case Word::call: return deliver_call(message, in, me);
    case Word::result:
    case Word::failure: {
      const std::uint64_t id = in.uint();
      if (Waiter* const waiter = waiter_of(id)) {
        std::swap(*waiter->into, message);
        waiter->is_answered = true;
        if (waiter != &me) waiter->woken.notify_one();
      } else if (const auto at = futures_.find(id); at != futures_.end()) {
        auto kept = std::make_shared<detail::Received>(std::exchange(message, detail::Received()));
        afterwards.emplace_back([this, kept, word, skip = in.offset(), open = std::move(at->second)] {
          detail::Decoder rest(kept->bytes().subspan(skip), kept->descriptors());
          if (word == Word::result) return open.future->succeed(rest, *this);
          std::exception_ptr thrown;
          try {
            thrown = detail::decode_exception(rest);
          } catch (...) {
            thrown = std::current_exception();
          }
          open.future->fail(thrown);
        });
        futures_.erase(at);
      } else if (const auto left = abandoned_.find(id); left != abandoned_.end()) {
        if (!left->second.empty()) afterwards.emplace_back([kept = std::move(left->second)] {});
        abandoned_.erase(left);
      }
      return;
    }
    case Word::stop:
      is_stopped_ = true;
      for (Waiter* const it : sleepers_) it->woken.notify_one();
      return;
  }
  in.fail("a call, an answer or a stop", "word " + std::to_string(static_cast<int>(word)));
}

void Line::deliver_call(detail::Received& message, detail::Decoder& in, Waiter& me) {
  Incoming call;
  call.id = in.uint();
  call.object = in.uint();
  const std::uint64_t within = in.uint();
  // Now, in the order in which they came: a later call that names it by number may be done by another thread, earlier.
  if (in.peek() == detail::WireType::str) call.name = in.str();
  else if (!in.try_nil()) call.method = learn_method(in);
  call.arguments_at = in.offset();
  call.message = std::exchange(message, detail::Received());
  if (Waiter* const waiter = within != 0 ? waiter_of(within) : nullptr) {
    waiter->inbox.push_back(std::move(call));
    if (waiter != &me) waiter->woken.notify_one();
  } else if (workers_ > 0) {
    backlog_.push_back(std::move(call));
    // A thread in serve() that sleeps takes it; or we do, and it reads in our place.
    const auto idle = std::ranges::find_if(sleepers_, [](const Waiter* it) { return it->takes_any; });
    if (idle != sleepers_.end()) (*idle)->woken.notify_one();
  } else {
    me.inbox.push_back(std::move(call));
  }
}

// --- the end -------------------------------------------------------------------------------------------------------------

void Line::end(Lock& lock, std::exception_ptr why) {
  if (over_) return;
  over_ = std::move(why);
  is_over_.store(true, std::memory_order_release);
  for (const auto& [id, waiter] : waiting_) waiter->woken.notify_one();
  for (Waiter* const it : sleepers_) it->woken.notify_one();
  pump_woken_.notify_all();
  const auto futures = std::exchange(futures_, {});
  const auto abandoned = std::exchange(abandoned_, {});
  if (futures.empty() && abandoned.empty()) return;
  lock.unlock();
  if (futures.empty()) return;
  std::exception_ptr told;
  try {
    throw_over();
  } catch (...) {
    told = std::current_exception();
  }
  for (const auto& [id, open] : futures) open.future->fail(told);
}

void Line::give_up(const std::exception_ptr& why) {
  Lock lock(mutex_);
  end(lock, why);
}

void Line::finish(const std::exception_ptr& why) {
  give_up(why);
  std::vector<std::thread> pumps;
  {
    const Lock lock(mutex_);
    pumps = std::exchange(pumps_, {});
    returned_.clear();
  }
  for (std::thread& pump : pumps) {
    if (pump.get_id() == std::this_thread::get_id()) pump.detach();  // an action of a future lets go of us
    else pump.join();
  }
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
  (void)send(*out);
}

void Line::drain() {
  Waiter me;
  Lock lock(mutex_);
  (void)wait(
      lock, me, [] { return false; }, Deadline::never());
}

void Line::lend(std::uint64_t number, std::weak_ptr<Function> function) {
  Lock lock(mutex_);
  std::erase_if(lent_, [](const auto& it) { return it.second.expired(); });
  lent_.emplace(number, std::move(function));
  // It may be called when nobody here waits for anything. Where there are threads in serve(), those read.
  if (workers_ == 0 && pump_number_ == 0 && !over_) start_pump(lock);
}

void Line::keep_for_call(std::shared_ptr<const void> what) {
  if (t_kept != nullptr) t_kept->push_back(std::move(what));
}

/// With the lock. A method is given by its number, or by that and where it is.
Method* Line::learn_method(detail::Decoder& in) {
  if (in.peek() == detail::WireType::integer) {
    const auto number = in.integer<std::uint32_t>();
    const auto it = methods_.find(number);
    if (it == methods_.end()) in.fail("the number of a method that was announced", std::to_string(number));
    return &it->second;
  }
  in.expect_array(2, "a method and where it is");
  const auto number = in.integer<std::uint32_t>();
  if (number == 0) in.fail("the number of a method", "0");
  auto place = detail::decode<os::FunctionId>(in);
  if (methods_.size() >= kMostMethods && !methods_.contains(number)) in.fail("at most 65536 methods", "one more");
  const auto [it, is_new] = methods_.try_emplace(number);
  if (is_new) it->second.place = std::move(place);
  return &it->second;
}

detail::Invoke Method::function() {
  detail::Invoke found = invoke.load(std::memory_order_acquire);
  if (found == nullptr) {
    // This may load a library, whose static objects may do anything. Two threads may both look, and find the same.
    found = reinterpret_cast<detail::Invoke>(const_cast<void*>(os::resolve(place)));
    invoke.store(found, std::memory_order_release);
  }
  return found;
}

bool Line::has_news() { return connection_.poll(Deadline::now()); }

void Line::run(Incoming& call, detail::Encoder& out, std::shared_ptr<const void>& kept) {
  const os::ForkedCopiesEnd guard("a function that another process called");
  detail::Decoder in(call.message.bytes().subspan(call.arguments_at), call.message.descriptors());
  if (call.object < kFirstLent) {
    kept = act_(*this, {.object = call.object, .name = call.name, .method = call.method}, in, out);
    return;
  }
  std::shared_ptr<Function> function;
  {
    const Lock lock(mutex_);
    if (const auto it = lent_.find(call.object); it != lent_.end()) function = it->second.lock();
  }
  if (!function)
    throw HandleError("the Callback is gone: keep it as long as the object that it was passed to may call it");
  kept = (*function)(in, out);
}

void Line::answer(Incoming& call) {
  const Marks marks(*this, call.id);
  const detail::SpareEncoder out;
  begin_answer(*out, Word::result, call.id);
  struct Work {
    Line& line;
    Incoming& call;
    detail::Encoder& out;
    std::shared_ptr<const void> kept = {};  // until it is sent
  } work{*this, call, *out};
  os::ThrownFrom from;
  bool is_heard = false;
  try {
    os::call_and_note_throw(
        [](void* context) {
          auto& todo = *static_cast<Work*>(context);
          todo.line.run(todo.call, todo.out, todo.kept);
        },
        &work, from);
    is_heard = send(*out);
  } catch (...) {
    // Also of a result that cannot be sent: there is no room for it, or an object in it is gone.
    is_heard = send_failure(call.id, std::current_exception(), describe(from, "  "));
  }
  if (is_heard) return;
  // Nobody is there to be told. Threads in serve() have nothing more to do then; others may have answers to come.
  Lock lock(mutex_);
  if (workers_ > 0) end(lock, std::make_exception_ptr(PeerGone("the other end has left the conversation")));
}

bool Line::send_failure(std::uint64_t id, const std::exception_ptr& thrown, const std::string& stack) {
  const detail::SpareEncoder out;
  const detail::Thrower here{.pid = ::getpid(), .process_name = process::current().name, .stack = stack};
  begin_answer(*out, Word::failure, id);
  try {
    detail::encode_exception(*out, thrown, here);
    return send(*out);
  } catch (...) {
    // It cannot be sent either: what is said instead is short and needs nothing.
    begin_answer(*out, Word::failure, id);
    detail::encode_exception(*out, std::current_exception(), here);
  }
  return send(*out);
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
  return line_.call({id_, announces_, *encoder_, std::move(kept_)}, into, result_at, deadline);
}
void CallRequest::begin(std::shared_ptr<FutureCore> future) {
  line_.begin({id_, announces_, *encoder_, std::move(kept_)}, std::move(future));
}

EncodesFor::EncodesFor(CallRequest& request) noexcept
    : line_before_(std::exchange(call::t_line, &request.line_)),
      kept_before_(std::exchange(call::t_kept, &request.kept_)) {}
EncodesFor::~EncodesFor() {
  call::t_line = line_before_;
  call::t_kept = kept_before_;
}

DecodesFrom::DecodesFrom(call::Line& line) noexcept : before_(std::exchange(call::t_line, &line)) {}
DecodesFrom::~DecodesFrom() { call::t_line = before_; }

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
