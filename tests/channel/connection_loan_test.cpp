// Loans and views of a pipe.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "brood/connection.hpp"
#include "brood/domain.hpp"
#include "brood/error.hpp"
#include "brood/loan.hpp"
#include "sync/ladder.hpp"

namespace ladder {
namespace {

using brood::PipeOptions;
using Floats = std::vector<float>;

struct Frame {
  long number = 0;
  std::array<unsigned char, 100'000> pixels{};
};
/// Memory for one frame.
const PipeOptions kOne{.loan_budget = 128 << 10};

class ConnectionLoan : public Ladder {};

TEST_F(ConnectionLoan, ThereAndBackInPlace) {
  auto [a, b] = brood::pipe<Frame>();
  Child other([&end = b](Line&) {
    for (int i = 0; i < 100; ++i) {
      const auto question = end.recv_view();
      auto answer = end.loan();
      answer->number = question->number + 1;
      answer->pixels[99'999] = question->pixels[99'999];
      end.send(std::move(answer));
    }
  });
  for (long i = 0; i < 100; ++i) {
    auto question = a.loan();
    question->number = 10 * i;
    question->pixels[99'999] = static_cast<unsigned char>(i);
    a.send(std::move(question));
    const auto answer = a.recv_view();
    EXPECT_TRUE(answer.is_in_place());
    EXPECT_EQ(answer->number, 10 * i + 1);
    EXPECT_EQ(answer->pixels[99'999], i);
  }
  EXPECT_EQ(other.wait(), 0);
}

TEST_F(ConnectionLoan, InPlaceAndByValueMix) {
  auto [a, b] = brood::pipe<Floats>();
  for (const Floats& one : {Floats{}, Floats{1, 2, 3}, Floats(3000, 4)}) {
    b.send(one);
    const auto view = a.recv_view();
    EXPECT_EQ(Floats(view.begin(), view.end()), one);
    for (int way = 0; way < 3; ++way) {
      auto loan = b.loan(one.size());
      std::copy(one.begin(), one.end(), loan.begin());
      b.send(std::move(loan));
      if (way == 0) {
        EXPECT_EQ(a.recv(), one);
      } else if (way == 1) {
        EXPECT_GE(a.recv_bytes().size(), one.size() * sizeof(float));
      } else {
        const auto in_place = a.recv_view();
        EXPECT_TRUE(in_place.is_in_place());
        EXPECT_EQ(Floats(in_place.begin(), in_place.end()), one);
      }
    }
  }
}

TEST_F(ConnectionLoan, ReceivingIntoABufferThatIsTooShortConsumesTheMessage) {
  auto [a, b] = brood::pipe<std::string>();
  auto loan = b.loan(1000);
  std::memset(loan.data(), 'x', 1000);
  b.send(std::move(loan));
  b.send("next");
  std::array<char, 10> buffer{};
  EXPECT_THROW((void)a.recv_bytes_into(buffer), brood::BufferTooShort);
  EXPECT_EQ(a.recv(), "next");
}

TEST_F(ConnectionLoan, ALimitHoldsForThemToo) {
  auto [a, b] = brood::pipe<std::string>();
  auto loan = b.loan(1000);
  b.send(std::move(loan));
  EXPECT_THROW((void)a.recv_bytes(100), brood::MessageTooLong);
}

TEST_F(ConnectionLoan, WrongUseIsSaid) {
  auto [a, b] = brood::pipe<Frame>(kOne);
  auto [c, d] = brood::pipe<Frame>(kOne);
  {
    auto loan = b.loan();
    EXPECT_FALSE(b.try_loan()) << "all is lent";
    EXPECT_THROW(d.send(std::move(loan)), brood::UsageError);
    EXPECT_TRUE(loan);  // NOLINT(bugprone-use-after-move)
    b.send(std::move(loan));
    EXPECT_THROW(b.send(std::move(loan)), brood::UsageError);  // NOLINT(bugprone-use-after-move)
  }
  auto [e, f] = brood::pipe<Floats>(kOne);
  EXPECT_THROW((void)f.loan(1 << 20), brood::NoSpace);
  EXPECT_THROW((void)brood::pipe<Floats>({.duplex = false}).first.loan(1), brood::WrongDirection);
  f.close();
  EXPECT_THROW((void)f.loan(1), brood::ConnectionClosed);
  EXPECT_THROW((void)e.loan(1), brood::BrokenPipe);
}

TEST_F(ConnectionLoan, WhoWaitsForMemoryGetsIt) {
  auto [a, b] = brood::pipe<Frame>(kOne);
  auto first = b.loan();
  first->number = 1;
  b.send(std::move(first));
  std::thread sender([&end = b] {
    auto loan = end.loan();
    loan->number = 2;
    end.send(std::move(loan));
  });
  await_sleepers(b.handle(), 1);
  EXPECT_EQ(a.recv_view()->number, 1);
  EXPECT_EQ(a.recv().number, 2);
  sender.join();
}

TEST_F(ConnectionLoan, WhoWaitsForMemoryIsToldOfTheEnd) {
  auto [a, b] = brood::pipe<Frame>(kOne);
  const auto loan = b.loan();
  std::thread sender([&end = b] { EXPECT_THROW((void)end.loan(), brood::BrokenPipe); });
  await_sleepers(b.handle(), 1);
  a.close();
  sender.join();
}

TEST_F(ConnectionLoan, MemoryOfADeadReaderComesBack) {
  auto [a, b] = brood::pipe<Frame>(kOne);
  for (int round = 0; round < 20; ++round) {
    auto loan = b.loan();
    loan->number = round;
    b.send(std::move(loan));
    Child reader([&end = a, round](Line& line) {
      const auto view = end.recv_view();
      require(view->number == round, "another frame");
      line.say();
      (void)line.hear();
    });
    reader.line.expect();
    ASSERT_FALSE(b.try_loan());
    std::thread waiter([&end = b] { (void)end.loan(); });
    await_sleepers(b.handle(), 1);
    reader.kill();
    waiter.join();
  }
}

TEST_F(ConnectionLoan, AViewOutlivesItsPipe) {
  std::optional<brood::View<Frame>> view;
  {
    auto [a, b] = brood::pipe<Frame>();
    auto loan = b.loan();
    loan->number = 9;
    b.send(std::move(loan));
    view = a.recv_view();
  }
  EXPECT_EQ((*view)->number, 9);
}

TEST_F(ConnectionLoan, AGibibyteStreamsThroughASmallRing) {
  constexpr std::size_t kSize = std::size_t{1} << 30;
  auto [a, b] = brood::pipe<std::string>();
  Child sender([&end = b](Line&) { end.send_bytes(std::string(kSize, 'g')); });
  std::string got(kSize, '\0');
  EXPECT_EQ(a.recv_bytes_into(got), kSize);
  EXPECT_EQ(got.find_first_not_of('g'), std::string::npos);
  EXPECT_EQ(sender.wait(), 0);
}

}  // namespace
}  // namespace ladder
