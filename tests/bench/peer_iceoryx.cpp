// iceoryx 2, with a daemon (RouDi) of its own for as long as it is measured. usage: as from_arguments() in channel.hpp.
//
// A subscriber is asked again and again, its quickest way; where the receiver shall sleep, it waits in a WaitSet.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <iceoryx_hoofs/log/logmanager.hpp>
#include <iceoryx_posh/popo/untyped_publisher.hpp>
#include <iceoryx_posh/popo/untyped_subscriber.hpp>
#include <iceoryx_posh/popo/wait_set.hpp>
#include <iceoryx_posh/runtime/posh_runtime.hpp>
#include <optional>
#include <thread>

#include "channel_shapes.hpp"

namespace {

using bench::Buffer;
using bench::Shape;
using bench::Workload;

/// Ends with this object, or with this process.
class RouDi {
 public:
  RouDi() {
    const pid_t parent = ::getpid();
    pid_ = ::fork();
    if (pid_ < 0) throw std::runtime_error("cannot fork");
    if (pid_ == 0) {
      // Not SIGKILL: it has files to remove. Set after the fork, so ask whether the parent died in between.
      if (::prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || ::getppid() != parent) ::_exit(127);
      const int nowhere = ::open("/dev/null", O_WRONLY);
      ::dup2(nowhere, STDOUT_FILENO);
      ::dup2(nowhere, STDERR_FILENO);  // it tells its log level, whatever that is; if it fails, its end is seen
      ::execlp("iox-roudi", "iox-roudi", "--config-file", BENCH_SCRIPTS "/roudi.toml", "--log-level", "error",
               "--monitoring-mode", "off", static_cast<char*>(nullptr));
      ::_exit(127);
    }
    // By descriptor, since join_parties() reaps it if it ends too early.
    pidfd_ = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
  }
  ~RouDi() {
    ::syscall(SYS_pidfd_send_signal, pidfd_, SIGTERM, nullptr, 0);
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {}
    ::close(pidfd_);
  }
  RouDi(const RouDi&) = delete;
  RouDi& operator=(const RouDi&) = delete;

 private:
  pid_t pid_ = -1;
  int pidfd_ = -1;
};

/// Each party's way to the daemon; waits until that is up.
struct Runtime {
  Runtime() {
    iox::log::LogManager::GetLogManager().SetDefaultLogLevel(iox::log::LogLevel::kError,
                                                             iox::log::LogLevelOutput::kHideLogLevel);
    const std::string name = "brood-bench-" + std::to_string(::getpid());
    iox::runtime::PoshRuntime::initRuntime(iox::RuntimeName_t(iox::cxx::TruncateToCapacity, name.c_str()));
  }
};

class PubSub {
 public:
  static constexpr bool kMesh = false;
  struct Link {
    iox::capro::ServiceDescription service;
    explicit Link(const Workload& /*workload*/) : service("brood", next_instance(), "bench") {}
    static iox::capro::IdString_t next_instance() {
      static int made = 0;
      return iox::capro::IdString_t(iox::cxx::TruncateToCapacity, std::to_string(made++).c_str());
    }
  };
  class Receiver {
   public:
    Receiver(const Link& link, const Workload& w, int /*which*/)
        : subscriber_(link.service, options(w)), buffer_(w), in_place_(w.in_place) {
      if (w.shape != Shape::asleep) return;
      waiting_.emplace();
      waiting_->attachState(subscriber_, iox::popo::SubscriberState::HAS_DATA).or_else([](auto) {
        throw std::runtime_error("iceoryx: cannot attach a subscriber");
      });
    }
    ~Receiver() {
      if (waiting_) waiting_->detachState(subscriber_, iox::popo::SubscriberState::HAS_DATA);
    }
    std::uint64_t receive() {
      std::uint64_t number = 0;
      for (bool got = false;;) {
        subscriber_.take().and_then([&](const void* payload) {
          if (in_place_) number = bench::front_of({static_cast<const std::byte*>(payload), buffer_.size()});
          else std::memcpy(buffer_.data(), payload, buffer_.size());
          subscriber_.release(payload);
          got = true;
        });
        if (got) return in_place_ ? number : buffer_.number(buffer_.size());
        if (waiting_) (void)waiting_->wait();
      }
    }

   private:
    static iox::popo::SubscriberOptions options(const Workload& w) {
      iox::popo::SubscriberOptions options;
      options.queueCapacity = std::min<std::size_t>(w.depth(), 256);
      options.queueFullPolicy = iox::popo::QueueFullPolicy::BLOCK_PRODUCER;
      return options;
    }
    Runtime runtime_;
    iox::popo::UntypedSubscriber subscriber_;
    std::optional<iox::popo::WaitSet<>> waiting_;
    Buffer buffer_;
    bool in_place_;
  };
  class Sender {
   public:
    Sender(const Link& link, const Workload& w, int /*which*/)
        : publisher_(link.service, options()), buffer_(w), in_place_(w.in_place) {
      // The daemon introduces the two; nothing tells us when.
      while (!publisher_.hasSubscribers()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    void send(std::uint64_t number) {
      if (!in_place_) buffer_.stamp(number);
      publisher_.loan(static_cast<std::uint32_t>(buffer_.size()))
          .and_then([&](void* payload) {
            if (in_place_) bench::stamp_front({static_cast<std::byte*>(payload), buffer_.size()}, number);
            else std::memcpy(payload, buffer_.data(), buffer_.size());
            publisher_.publish(payload);
          })
          .or_else([](auto) { throw std::runtime_error("iceoryx: cannot have memory for a message"); });
    }

   private:
    static iox::popo::PublisherOptions options() {
      iox::popo::PublisherOptions options;
      options.historyCapacity = 0;
      options.subscriberTooSlowPolicy = iox::popo::ConsumerTooSlowPolicy::WAIT_FOR_CONSUMER;
      return options;
    }
    Runtime runtime_;
    iox::popo::UntypedPublisher publisher_;
    Buffer buffer_;
    bool in_place_;
  };
};

}  // namespace

int main(int argc, char** argv) {
  return bench::run_as_program([&] {
    const Workload workload = bench::from_arguments(argc, argv);
    const RouDi daemon;
    return bench::run_channel<PubSub>(workload);
  });
}
