// Processes as classes: run(), data that travels, names, and what the object may be asked in its child.
#include <unistd.h>

#include <cstdlib>
#include <ostream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "brood/custom_process.hpp"
#include "brood/error.hpp"
#include "brood/queue.hpp"
#include "process/process_support.hpp"

namespace {

using namespace process_test;
using brood::ProcessOptions;

class Custom : public EveryMethod {};
INSTANTIATE_FOR_EVERY_METHOD(Custom);

class Adder : public brood::CustomProcess<Adder> {
 public:
  Adder() = default;
  Adder(ProcessOptions options, std::vector<int> numbers, std::string to)
      : CustomProcess(std::move(options)), numbers_(std::move(numbers)), to_(std::move(to)) {}
  void add(int number) { numbers_.push_back(number); }
  void run() {
    int sum = 0;
    for (const int number : numbers_) sum += number;
    tell(to_, std::to_string(sum) + " " + name() + " " + std::to_string(*pid() == ::getpid()));
  }
  template <class Archive>
  void serialize(Archive& ar) {
    ar(numbers_, to_);
  }

 private:
  std::vector<int> numbers_;
  std::string to_;
};

TEST_P(Custom, ItsDataTravels) {
  Pipe out;
  Adder adder({.name = "adder", .start_method = GetParam()}, {1, 2}, out.writer());
  // As it is at the start, not as it was made.
  adder.add(39);
  adder.start();
  EXPECT_EQ(out.line(), "42 adder 1");
  adder.join();
  EXPECT_EQ(adder.exitcode(), 0);
}

TEST_P(Custom, AMovedOneStarts) {
  Pipe out;
  Adder first({.name = "moved", .start_method = GetParam()}, {4}, out.writer());
  Adder second = std::move(first);
  second.start();
  EXPECT_EQ(out.line(), "4 moved 1");
  second.join();
}

class Idle : public brood::CustomProcess<Idle> {
 public:
  using CustomProcess::CustomProcess;
  void run() { std::exit(11); }
};

TEST_P(Custom, OneWithoutDataNeedsNoWord) {
  Idle idle({.start_method = GetParam()});
  idle.start();
  idle.join();
  EXPECT_EQ(idle.exitcode(), 11);
}

TEST_F(Processes, CustomProcessesAreNamedByTheirType) {
  const brood::Process plain([] {});
  const Idle idle;
  const int number = std::stoi(plain.name().substr(plain.name().find('-') + 1));
  EXPECT_EQ(idle.name(), "Idle-" + std::to_string(number + 1));
  EXPECT_EQ((std::ostringstream() << idle).str(),
            "<Idle name='" + idle.name() + "' parent=" + std::to_string(::getpid()) + " initial>");
}

class Shown : public brood::CustomProcess<Shown> {
 public:
  using CustomProcess::CustomProcess;
  void run() {}
  friend std::ostream& operator<<(std::ostream& out, const Shown& shown) { return out << "shown as " << shown.name(); }
};

TEST_F(Processes, ThePrintedFormMayBeYourOwn) {
  const Shown shown({.name = "x"});
  EXPECT_EQ((std::ostringstream() << shown).str(), "shown as x");
}

/// Its object in the child is asked for what only a parent may know.
class Curious : public brood::CustomProcess<Curious> {
 public:
  Curious() = default;
  Curious(ProcessOptions options, std::string to) : CustomProcess(std::move(options)), to_(std::move(to)) {}
  void run() {
    std::string refused;
    try {
      start();
    } catch (const brood::UsageError& error) {
      refused = error.what();
    }
    // The numbers of its own children begin at 1.
    const brood::Process child([] {});
    tell(to_, refused + "|" + child.name() + "|" + (std::ostringstream() << *this).str());
  }
  template <class Archive>
  void serialize(Archive& ar) {
    ar& to_;
  }

 private:
  std::string to_;
};

TEST_P(Custom, InTheChildItStandsForTheChild) {
  Pipe out;
  Curious curious({.name = "curious", .start_method = GetParam()}, out.writer());
  curious.start();
  const std::string line = out.line();
  EXPECT_TRUE(
      line.starts_with("Process::start: process 'curious' is this very process; that can be asked only by its "
                       "parent|Process-"))
      << line;
  EXPECT_TRUE(line.find(":1|<Curious name='curious' ") != std::string::npos) << line;
  curious.join();
}

class WithQueue : public brood::CustomProcess<WithQueue> {
 public:
  WithQueue() = default;
  WithQueue(ProcessOptions options, brood::Queue<std::string>& queue)
      : CustomProcess(std::move(options)), queue_(brood::Queue<std::string>::open(queue.handle())) {}
  void run() { queue_->put("from a member"); }
  template <class Archive>
  void serialize(Archive& ar) {
    ar(queue_);
  }

 private:
  std::optional<brood::Queue<std::string>> queue_;
};

TEST_P(Custom, SharedObjectsMayBeMembers) {
  brood::Queue<std::string> queue;
  WithQueue p({.start_method = GetParam()}, queue);
  p.start();
  EXPECT_EQ(queue.get(), "from a member");
  p.join();
}

// Whoever has only the base starts the same target.
TEST_P(Custom, StartsThroughItsBase) {
  Idle idle({.start_method = GetParam()});
  brood::Process& base = idle;
  base.start();
  base.join();
  EXPECT_EQ(base.exitcode(), 11);
}

/// Owns a process: that one is not the calling process.
class Supervisor : public brood::CustomProcess<Supervisor> {
 public:
  Supervisor() = default;
  Supervisor(ProcessOptions options, std::string to) : CustomProcess(std::move(options)), to_(std::move(to)) {}
  void run() {
    helper_.start();
    helper_.join();
    const brood::Process other([] {});
    tell(to_,
         name() + " " + std::to_string(helper_.exitcode().value_or(-1)) + " " + helper_.name() + " " + other.name());
  }
  template <class Archive>
  void serialize(Archive& ar) {
    ar& to_;
  }

 private:
  std::string to_;
  brood::Process helper_{ProcessOptions{.name = "helper"}, [] { std::exit(12); }};
};

TEST_P(Custom, ProcessesMayBeMembers) {
  Pipe out;
  Supervisor supervisor({.name = "supervisor", .start_method = GetParam()}, out.writer());
  supervisor.start();
  const std::string line = out.line();
  EXPECT_TRUE(line.starts_with("supervisor 12 helper Process-")) << line;
  supervisor.join();
  EXPECT_EQ(supervisor.exitcode(), 0);
}

class Renamed : public brood::CustomProcess<Renamed> {
 public:
  Renamed() = default;
  Renamed(ProcessOptions options, std::string to) : CustomProcess(std::move(options)), to_(std::move(to)) {}
  void run() {
    set_name("second");
    tell(to_, name() + " " + brood::current_process_name() + " " + (std::ostringstream() << *this).str());
  }
  template <class Archive>
  void serialize(Archive& ar) {
    ar& to_;
  }

 private:
  std::string to_;
};

TEST_P(Custom, ItMayRenameItselfInTheChild) {
  Pipe out;
  Renamed renamed({.name = "first", .start_method = GetParam()}, out.writer());
  renamed.start();
  const std::string line = out.line();
  EXPECT_TRUE(line.starts_with("second second <Renamed name='second' ")) << line;
  renamed.join();
  // Here it keeps the name that it was given here.
  EXPECT_EQ(renamed.name(), "first");
}

/// What several custom processes have in common, between them and CustomProcess.
template <class Derived>
class Layer : public brood::CustomProcess<Derived> {
 public:
  using brood::CustomProcess<Derived>::CustomProcess;
  void run() { std::exit(static_cast<const Derived*>(this)->code()); }
};
class Layered : public Layer<Layered> {
 public:
  using Layer::Layer;
  [[nodiscard]] int code() const { return 13; }
};

TEST_P(Custom, ClassesMayLieBetween) {
  Layered layered({.start_method = GetParam()});
  layered.start();
  layered.join();
  EXPECT_EQ(layered.exitcode(), 13);
}

class Grandchild : public Idle {
 public:
  using Idle::Idle;
  void run() { std::exit(1); }
};
/// Copied from Idle, and its name forgotten in one place.
class Miscopied : public brood::CustomProcess<Idle> {
 public:
  using CustomProcess::CustomProcess;
  void run() { std::exit(2); }
};

template <class T>
std::string refusal_of(StartMethod method) {
  T p({.name = "wrong", .start_method = method});
  try {
    p.start();
  } catch (const brood::UsageError& error) {
    EXPECT_FALSE(p.pid());
    return error.what();
  }
  return {};
}

TEST_P(Custom, AClassThatIsNotTheNamedOneIsRefused) {
  const std::string grandchild = refusal_of<Grandchild>(GetParam());
  EXPECT_TRUE(grandchild.starts_with("Process::start: process 'wrong' is of the class ")) << grandchild;
  EXPECT_NE(grandchild.find("Grandchild, but what starts it is brood::CustomProcess<Idle>"), std::string::npos)
      << grandchild;
  EXPECT_NE(refusal_of<Miscopied>(GetParam()).find("Miscopied, but what starts it is brood::CustomProcess<Idle>"),
            std::string::npos);
}

}  // namespace
