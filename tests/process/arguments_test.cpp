// What can be the target, and what can be its argument.
#include <unistd.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "brood/error.hpp"
#include "brood/lock.hpp"
#include "process/process_support.hpp"

namespace {

using namespace process_test;

class ProcessArguments : public EveryMethod {
 protected:
  static void expect_zero(brood::Process p) {
    p.start();
    p.join();
    EXPECT_EQ(p.exitcode(), 0);
  }
};
INSTANTIATE_FOR_EVERY_METHOD(ProcessArguments);

enum class Colour : std::uint8_t { red, green };
struct Inner {
  int number = 0;
  std::string text;
};
struct Job {
  int id = 0;
  std::vector<Inner> parts;
  std::optional<double> weight;
};
void require(bool condition) {
  if (!condition) ::_exit(77);
}

void take_scalars(bool b, char c, short s, int i, long l, unsigned long u, float f, double d, Colour colour) {
  require(b && c == 'x' && s == -3 && i == -70000 && l == -5'000'000'000L && u == ~0UL && f == 1.5F && d == 0.1 &&
          colour == Colour::green);
}
void take_containers(const std::string& text, const std::vector<std::string>& texts,
                     const std::map<std::string, std::vector<int>>& map, const std::set<int>& set,
                     std::pair<int, std::string> pair, std::tuple<int, double, bool> tuple, std::optional<int> none,
                     std::variant<int, std::string> either) {
  require(text == "hello" && texts.size() == 2 && texts[1] == std::string("with\0zero", 9) && map.at("a").at(1) == 2 &&
          set.count(5) == 1);
  require(pair.second == "p" && std::get<2>(tuple) && !none && std::get<std::string>(either) == "second");
}
void take_job(const Job& job, Job copy) {
  require(job.id == 7 && job.parts.at(1).text == "two" && job.weight == 2.5);
  copy.parts.clear();
  require(job.parts.size() == 2);
}
template <int N>
void take_template(int n) {
  require(n == N);
}
void take_large(const std::vector<std::uint64_t>& values) {
  for (std::uint64_t i = 0; i < values.size(); ++i) require(values[i] == i * i);
  require(values.size() == 1'000'000);
}

TEST_P(ProcessArguments, Scalars) {
  expect_zero(make(take_scalars, true, 'x', short{-3}, -70000, -5'000'000'000L, ~0UL, 1.5F, 0.1, Colour::green));
}

TEST_P(ProcessArguments, ArgumentsAreConvertedAsInACall) {
  expect_zero(make([](double d, const std::string& s, long l) { require(d == 3.0 && s == "text" && l == 4); }, 3,
                   "text", short{4}));
}

TEST_P(ProcessArguments, Containers) {
  expect_zero(make(take_containers, "hello", std::vector<std::string>{"one", std::string("with\0zero", 9)},
                   std::map<std::string, std::vector<int>>{{"a", {1, 2}}}, std::set<int>{5},
                   std::pair<int, std::string>(1, "p"), std::tuple<int, double, bool>(1, 2.0, true),
                   std::optional<int>(), std::variant<int, std::string>("second")));
}

TEST_P(ProcessArguments, StructsOfYourOwn) {
  const Job job{7, {{1, "one"}, {2, "two"}}, 2.5};
  expect_zero(make(take_job, job, job));
}

TEST_P(ProcessArguments, EightMegabytes) {
  std::vector<std::uint64_t> values(1'000'000);
  for (std::uint64_t i = 0; i < values.size(); ++i) values[i] = i * i;
  expect_zero(make(take_large, values));
}

TEST_P(ProcessArguments, LambdasTemplatesAndGenericLambdas) {
  expect_zero(make([] {}));
  expect_zero(make(
      +[](int n) { require(n == 1); }, 1));
  expect_zero(make(take_template<1>, 1));
  expect_zero(make(take_template<2>, 2));
  expect_zero(make([](auto number, const auto& text) { require(number == 5 && text == "generic"); }, 5, "generic"));
  void (*by_pointer)(int) = take_template<3>;
  expect_zero(make(by_pointer, 3));
  // By value: what was opened is moved into the parameter.
  brood::Lock lock;
  auto by_value = make([](auto... all) { require(sizeof...(all) == 2); }, lock, 5);
  by_value.start();
  by_value.join();
  EXPECT_EQ(by_value.exitcode(), 0);
}

TEST_F(Processes, ANullFunctionIsRefused) {
  void (*const nothing)(int) = nullptr;
  try {
    const brood::Process p(nothing, 1);
    ADD_FAILURE() << "it was taken";
  } catch (const brood::UsageError& error) {
    EXPECT_STREQ(error.what(),
                 "the target is a null pointer to a function; pass a function of the program or of a library");
  }
}

TEST_P(ProcessArguments, TheValueIsThatOfTheConstruction) {
  std::vector<int> values{1, 2, 3};
  auto p = make([](const std::vector<int>& seen) { require(seen.size() == 3); }, values);
  values.clear();
  expect_zero(std::move(p));
}

TEST_P(ProcessArguments, SharedObjectsAreTheSameThere) {
  brood::Lock lock;
  Pipe in;
  Pipe out;
  auto p = make(
      [](brood::Lock& theirs, const std::string& to, const std::string& from) {
        const std::scoped_lock guard(theirs);
        tell(to, "held");
        await(from);
      },
      lock, out.writer(), in.reader());
  p.start();
  EXPECT_EQ(out.line(), "held");
  EXPECT_FALSE(lock.try_lock());
  in.let_go();
  p.join();
  EXPECT_EQ(p.exitcode(), 0);
  EXPECT_TRUE(lock.try_lock());
  lock.unlock();
}

TEST_P(ProcessArguments, AfterTheStartTheParentsObjectsMayGo) {
  Pipe in;
  auto lock = std::make_unique<brood::Lock>();
  auto p = make(
      [](brood::Lock& theirs, const std::string& from) {
        await(from);
        const std::scoped_lock guard(theirs);
      },
      *lock, in.reader());
  p.start();
  lock.reset();
  in.let_go();
  p.join();
  EXPECT_EQ(p.exitcode(), 0);
}

TEST_P(ProcessArguments, AnObjectThatIsGoneIsToldByStart) {
  auto lock = std::make_unique<brood::Lock>();
  auto p = make([](brood::Lock&) {}, *lock);
  const std::string handle = lock->handle().str();
  lock.reset();
  try {
    p.start();
    FAIL() << "start() opened an object that does not exist";
  } catch (const brood::StartError& error) {
    EXPECT_NE(std::string(error.what()).find(handle), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("HandleError"), std::string::npos) << error.what();
  }
  EXPECT_FALSE(p.is_alive());
  EXPECT_FALSE(p.pid());
  EXPECT_TRUE(brood::active_children().empty());
}

}  // namespace

namespace picky {
struct Even {
  int value = 0;
};
}  // namespace picky
template <>
struct brood::Codec<picky::Even> {
  static void encode(brood::Encoder& out, const picky::Even& it) { out.sint(it.value); }
  static picky::Even decode(brood::Decoder& in) {
    const auto value = static_cast<int>(in.sint());
    if (value % 2 != 0) in.fail("an even number", "an odd one");
    return {value};
  }
};

namespace {

TEST_P(ProcessArguments, AFailureToDecodeIsToldByStartInTheChildsOwnWords) {
  auto p = make([](picky::Even) {}, picky::Even{3});
  for (int attempt = 0; attempt < 2; ++attempt) {
    try {
      p.start();
      FAIL() << "started";
    } catch (const brood::StartError& error) {
      EXPECT_NE(std::string(error.what()).find("an even number"), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find(p.name()), std::string::npos) << error.what();
    }
    EXPECT_FALSE(p.pid());
  }
  expect_zero(make([](picky::Even) {}, picky::Even{4}));
}

}  // namespace
