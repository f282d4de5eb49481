// How a conversation ends: by stop, by the other end's going, by bytes that make no sense.
#include <gtest/gtest.h>

#include <atomic>
#include <random>

#include "call/line_pair.hpp"
#include "os/function_id.hpp"

namespace {

using namespace std::chrono_literals;
using namespace call_test;
using brood::detail::Encoder;

class CallLineEnd : public support::NoLeaks {};

TEST_F(CallLineEnd, StopIsHeededWhenWhatWasAskedBeforeIsDone) {
  Pair pair;
  auto last = pair.async<&Thing::wait_then>(5);
  auto after = pair.async<&Thing::note>(1);
  pair.asks->say_stop();
  auto too_late = pair.async<&Thing::note>(2);
  pair.thing.gate.open();
  pair.join();
  EXPECT_EQ(last.get(), 5);
  after.get();
  EXPECT_THROW(too_late.get(), brood::PeerGone);
  EXPECT_EQ(pair.thing.notes(), std::vector<int>{1});
}

TEST_F(CallLineEnd, EverybodyIsToldOfTheEnd) {
  Pair pair(4);
  std::vector<std::jthread> callers;
  for (int i = 0; i < 4; ++i) callers.emplace_back([&] { EXPECT_EQ(pair.call<&Thing::wait_then>(1), 1); });
  auto future = pair.async<&Thing::wait_then>(1);
  pair.thing.gate.open();
  callers.clear();
  EXPECT_EQ(future.get(), 1);
  pair.serves->give_up(std::make_exception_ptr(std::runtime_error("enough")));
  pair.asks->say_stop();  // whoever reads there comes back by it
  pair.join();
  EXPECT_THROW((void)pair.call<&Thing::add>(1, 2), brood::PeerGone);
  EXPECT_THROW((void)pair.call<&Thing::add>(1, 2), brood::PeerGone);
  EXPECT_THROW((void)pair.call_for<&Thing::add>(1ms, 1, 2), brood::PeerGone);
  try {
    (void)pair.async<&Thing::add>(1, 2).get();
    ADD_FAILURE();
  } catch (const brood::PeerGone& error) {
    EXPECT_EQ(error.pid(), 4711);
    EXPECT_EQ(error.exitcode(), 3);
  }
  EXPECT_EQ(pair.explained, 1) << "told once, remembered for all";
  EXPECT_TRUE(pair.asks->over());
}

TEST_F(CallLineEnd, AnAnswerThatWasSentBeforeTheEndIsKept) {
  for (int round = 0; round < 50; ++round) {
    Pair pair(1);
    auto answered = pair.async<&Thing::add>(1, 2);
    pair.asks->say_stop();
    pair.join();
    // What is sent now finds nobody; what was answered before is there all the same.
    EXPECT_THROW((void)pair.call<&Thing::add>(1, 2), brood::PeerGone);
    EXPECT_EQ(answered.get(), 3);
  }
}

TEST_F(CallLineEnd, GivingUpTellsWhoWaits) {
  Pair pair;
  auto waiting = pair.async<&Thing::wait_then>(1);
  std::latch told(1);
  std::exception_ptr why;
  waiting.on_done([&](const brood::Future<int>& it) {
    why = it.exception();
    told.count_down();
  });
  pair.asks->give_up(std::make_exception_ptr(std::runtime_error("enough")));
  told.wait();
  EXPECT_THROW(std::rethrow_exception(why), brood::PeerGone);
  EXPECT_THROW((void)pair.async<&Thing::add>(1, 2), brood::PeerGone);
}

// --- bytes -----------------------------------------------------------------------------------------------------------

/// One end is ours, at the other we say what we like.
class Bare {
 public:
  Bare() {
    auto [one, other] = brood::detail::ConnectionCore::make_pipe({}, brood::detail::kPayloadType<char>);
    end.emplace(std::move(other));
    line = std::make_shared<Line>(std::move(one), does_calls_of(thing), [](const std::exception_ptr& why) {
      return std::make_exception_ptr(brood::PeerGone("over: " + brood::detail::describe_exception(why, " <- ")));
    });
  }
  Bare(const Bare&) = delete;
  Bare& operator=(const Bare&) = delete;
  ~Bare() {
    end->close();
    if (line) line->finish(std::make_exception_ptr(std::logic_error("done")));
  }
  void say(std::span<const std::byte> bytes) { (void)end->send(bytes, {}, brood::Deadline::never()); }
  void say(const std::function<void(Encoder&)>& write) {
    Encoder out;
    write(out);
    say(out.bytes());
  }
  /// What the line says next, from the first element of the message on.
  std::vector<std::byte> hear() {
    brood::detail::Received message;
    (void)end->receive(message, brood::Deadline::never());
    return message.copy();
  }
  void listen_to_the_end() {
    brood::detail::Received message;
    try {
      for (;;) (void)end->receive(message, brood::Deadline::never());
    } catch (const brood::EndOfFile&) {
      return;
    }
  }
  Thing thing;
  std::optional<brood::detail::ConnectionCore> end;
  std::shared_ptr<Line> line;
};

/// [1, id, 0, 0, method, [1, 2]]
void encode_add(Encoder& out, std::uint64_t id, const std::function<void(Encoder&)>& method) {
  out.array_header(6);
  for (const std::uint64_t part : {std::uint64_t{1}, id, std::uint64_t{0}, std::uint64_t{0}}) out.uint(part);
  method(out);
  out.array_header(2);
  out.uint(1);
  out.uint(2);
}
void announce_add(Encoder& out) {
  out.array_header(2);
  out.uint(77);
  brood::detail::encode(out, brood::os::identify(brood::detail::method_key<&Thing::add, Thing>().invoke));
}

TEST_F(CallLineEnd, MessagesThatMakeNoSenseEndIt) {
  const std::vector<std::function<void(Encoder&)>> nonsense = {
      [](Encoder&) {},
      [](Encoder& out) { out.nil(); },
      [](Encoder& out) { out.str("hello"); },
      [](Encoder& out) { out.array_header(0); },
      [](Encoder& out) { out.array_header(1), out.uint(9); },
      [](Encoder& out) { out.array_header(1), out.uint(256); },
      [](Encoder& out) { out.array_header(3), out.uint(2); },
      [](Encoder& out) { out.array_header(3), out.uint(2), out.str("id"); },
      [](Encoder& out) { out.array_header(6), out.uint(1), out.uint(1), out.uint(0); },
      [](Encoder& out) { encode_add(out, 1, [](Encoder& in) { in.uint(5); }); },          // never announced
      [](Encoder& out) { encode_add(out, 1, [](Encoder& in) { in.boolean(true); }); },    // no method
      [](Encoder& out) { encode_add(out, 1, [](Encoder& in) { in.array_header(3); }); },  // no announcement
      [](Encoder& out) {
        encode_add(out, 1, [](Encoder& in) {
          in.array_header(2);
          in.uint(0);
          in.nil();
        });
      },
  };
  for (std::size_t i = 0; i < nonsense.size(); ++i) {
    SCOPED_TRACE(i);
    Bare bare;
    bare.say(nonsense[i]);
    bare.line->serve();
    ASSERT_TRUE(bare.line->over());
    EXPECT_THROW(std::rethrow_exception(bare.line->over()), brood::DecodeError);
    EXPECT_THROW(
        {
          brood::detail::CallRequest request(*bare.line, 0, {});
          brood::detail::call_and_decode<void>(request, brood::Deadline::never());
        },
        brood::PeerGone);
  }
}

TEST_F(CallLineEnd, CallsThatCannotBeDoneAreAnsweredSo) {
  Bare bare;
  std::thread serving([&] { bare.line->serve(); });
  const auto expect = [&](const char* type, const std::function<void(Encoder&)>& say) {
    bare.say(say);
    const std::vector<std::byte> answer = bare.hear();
    brood::detail::Decoder in(answer);
    EXPECT_EQ(in.array_header(), 3U);
    EXPECT_EQ(in.uint(), 3U);
    EXPECT_EQ(in.uint(), 5U);
    try {
      std::rethrow_exception(brood::detail::decode_exception(in));
    } catch (const std::exception& error) {
      EXPECT_EQ(dynamic_cast<const brood::RemoteError&>(error).type_name(), type) << error.what();
    }
  };
  const auto head = [](Encoder& out, std::uint64_t object) {
    out.array_header(6);
    for (const std::uint64_t part : {std::uint64_t{1}, std::uint64_t{5}, object, std::uint64_t{0}}) out.uint(part);
  };
  // A function that nobody lent.
  expect("brood::HandleError", [&](Encoder& out) {
    head(out, brood::call::kFirstLent + 12345);
    out.nil();
    out.array_header(0);
  });
  // Arguments of other types, too few, too many, cut short.
  for (int kind = 0; kind < 4; ++kind) {
    expect("brood::DecodeError", [&](Encoder& out) {
      head(out, 0);
      announce_add(out);
      if (kind == 0) out.array_header(2), out.str("a"), out.uint(1);
      if (kind == 1) out.array_header(1), out.uint(1);
      if (kind == 2) out.array_header(3), out.uint(1), out.uint(1), out.uint(1);
      if (kind == 3) out.array_header(2), out.uint(1);
    });
  }
  // A place in another program.
  expect("brood::StartError", [&](Encoder& out) {
    head(out, 0);
    out.array_header(2);
    out.uint(78);
    auto place = brood::os::identify(brood::detail::method_key<&Thing::add, Thing>().invoke);
    place.build_id = "0123456789abcdef0123456789abcdef01234567";
    brood::detail::encode(out, place);
    out.array_header(0);
  });
  bare.say([](Encoder& out) { out.array_header(1), out.uint(4); });
  serving.join();
  EXPECT_FALSE(bare.line->over());
}

TEST_F(CallLineEnd, AnswersThatNobodyAskedForAreIgnored) {
  Bare bare;
  brood::detail::CallRequest request(*bare.line, 0, brood::detail::method_key<&Thing::add, Thing>());
  request.arguments().array_header(0);
  std::thread asking([&] { EXPECT_EQ(brood::detail::call_and_decode<int>(request, brood::Deadline::never()), 42); });
  (void)bare.hear();
  const auto answer = [&](std::uint64_t word, std::uint64_t id, int value) {
    bare.say([&](Encoder& out) {
      out.array_header(3);
      out.uint(word);
      out.uint(id);
      out.sint(value);
    });
  };
  answer(2, 999, 1);
  answer(3, 998, 1);
  answer(2, 0, 1);
  answer(2, 1, 42);
  answer(2, 1, 43);
  asking.join();
}

TEST_F(CallLineEnd, AnAnswerOfAnotherTypeIsADecodeErrorOfThatCall) {
  Bare bare;
  const auto ask = [&](const std::function<void(Encoder&)>& say, std::uint64_t word = 2, std::size_t parts = 3) {
    brood::detail::CallRequest request(*bare.line, 0, brood::detail::method_key<&Thing::add, Thing>());
    request.arguments().array_header(0);
    auto state = std::make_shared<brood::detail::FutureState<int>>();
    request.begin(state);
    const std::vector<std::byte> asked = bare.hear();
    brood::detail::Decoder in(asked);
    (void)in.array_header();
    (void)in.uint();
    const std::uint64_t id = in.uint();
    bare.say([&](Encoder& out) {
      out.array_header(parts);
      out.uint(word);
      out.uint(id);
      say(out);
    });
    return brood::detail::FutureMaker::make<int>(state);
  };
  EXPECT_THROW((void)ask([](Encoder& out) { out.str("no number"); }).get(), brood::DecodeError);
  EXPECT_THROW((void)ask([](Encoder& out) { out.str("no exception"); }, 3).get(), brood::DecodeError);
  EXPECT_EQ(ask([](Encoder& out) { out.sint(42); }).get(), 42);
  // What is no answer at all ends the conversation: nothing behind it could be trusted.
  EXPECT_THROW((void)ask([](Encoder&) {}, 2, 2).get(), brood::PeerGone);
}

TEST_F(CallLineEnd, RandomBytesAreAnErrorAndNothingElse) {
  std::random_device seeds;
  const unsigned seed = seeds();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  Encoder good;
  encode_add(good, 1, announce_add);
  for (int round = 0; round < 200; ++round) {
    Bare bare;
    for (int message = 0; message < 20; ++message) {
      std::vector<std::byte> bytes(good.bytes().begin(), good.bytes().end());
      if (random() % 2 == 0) bytes.resize(random() % bytes.size());
      // Not the place of the method: whoever may send can name any.
      for (std::size_t i = random() % 3; i > 0 && !bytes.empty(); --i)
        bytes[random() % std::min<std::size_t>(bytes.size(), 7)] = static_cast<std::byte>(random());
      bare.say(bytes);
    }
    bare.say([](Encoder& out) { out.array_header(1), out.uint(4); });
    // What is answered must go somewhere: with the stacks of exceptions it is more than a pipe holds.
    std::thread listening([&] { bare.listen_to_the_end(); });
    bare.line->serve();
    bare.line.reset();
    listening.join();
  }
}

TEST_F(CallLineEnd, TheEndOfTheOtherSideEndsTheServing) {
  Bare bare;
  std::thread serving([&] { bare.line->serve(); });
  bare.end->close();
  serving.join();
  EXPECT_THROW(std::rethrow_exception(bare.line->over()), brood::EndOfFile);
}

}  // namespace
