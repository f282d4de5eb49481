// Hostile bytes against a manager: requests and greetings to its server, answers to its clients, and the records of a journal.
// The first byte of the input picks which. The server lives in this process, so that whatever it does wrong ends this one.
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "brood/error.hpp"
#include "brood/manager.hpp"
#include "brood/remote_error.hpp"
#include "fuzz/replay.hpp"
#include "manager/journal.hpp"
#include "manager/link.hpp"
#include "manager/server.hpp"

namespace {

namespace manager = brood::manager;
using brood::Deadline;
using brood::detail::ConnectionCore;
using namespace std::chrono_literals;

constexpr auto kType = brood::detail::kPayloadType<manager::ManagerMessage>;

[[noreturn]] void fault(const char* what) {
  std::fprintf(stderr, "manager_fuzz: %s\n", what);
  std::abort();
}

/// A domain of its own, gone in the end.
class Domain {
 public:
  Domain() : path_("/dev/shm/brood-fuzz-" + std::to_string(::getpid())) {
    ::setenv("BROOD_DOMAIN", path_.c_str(), 1);
    std::atexit([] {
      std::error_code ignored;
      std::filesystem::remove_all(std::getenv("BROOD_DOMAIN"), ignored);
    });
  }

 private:
  std::string path_;
};

/// A server with one object of each type; another one, if it was told to stop.
class Target {
 public:
  Target()
      : server_({.authkey = "key", .max_message = 1 << 20}),
        thread_([this] { server_.serve(-1); }),
        client_(brood::Address(server_.address()), {.authkey = "key"}) {
    keep(client_.dict<std::string, int>({{"a", 1}}));
    keep(client_.list<int>({1, 2, 3}));
    keep(client_.array<int>(3));
    keep(client_.set<int>({1}));
    keep(client_.namespace_());
    keep(client_.value<int>(1));
    keep(client_.queue<int>(2));
    keep(client_.joinable_queue<int>());
    keep(client_.priority_queue<int>());
    keep(client_.lock());
    keep(client_.rlock());
    keep(client_.semaphore());
    keep(client_.bounded_semaphore());
    keep(client_.condition());
    keep(client_.event());
    keep(client_.barrier(2));
  }
  ~Target() {
    server_.stop();
    thread_.join();
  }
  Target(const Target&) = delete;
  Target& operator=(const Target&) = delete;

  [[nodiscard]] bool is_there() const { return !server_.is_stopping(); }
  [[nodiscard]] const std::shared_ptr<manager::Link>& link() const { return kept_.front().link(); }
  [[nodiscard]] ConnectionCore connect() const {
    return brood::detail::connect(brood::Address(server_.address()), {.authkey = "key"}, kType);
  }
  /// Through the greeting, by shared memory.
  [[nodiscard]] ConnectionCore greet() const {
    ConnectionCore connection = connect();
    brood::Encoder hello;
    hello.array_header(5);
    hello.uint(manager::kProtocol);
    hello.str("fuzz");
    hello.sint(::getpid());
    hello.str(manager::domain_key());
    hello.uint(1 << 20);
    (void)connection.send(hello.bytes(), {}, Deadline::never());
    brood::detail::Received answer;
    (void)connection.receive(answer, Deadline::never());
    brood::Decoder in(answer.bytes());
    (void)in.array_header();
    for (int i = 0; i < 3; ++i) in.skip();
    ConnectionCore pipe = ConnectionCore::open(brood::Handle(in.str()), kType);
    brood::Encoder opened;
    opened.boolean(true);
    (void)connection.send(opened.bytes(), {}, Deadline::never());
    return pipe;
  }

 private:
  void keep(const brood::detail::ProxyBase& proxy) { kept_.push_back(proxy.core()); }
  manager::Server server_;
  std::thread thread_;
  brood::ManagerClient client_;
  std::vector<brood::detail::ProxyCore> kept_;
};

Target& target() {
  static Domain domain;
  static std::unique_ptr<Target> it;
  if (!it || !it->is_there()) {
    it.reset();
    it = std::make_unique<Target>();
  }
  return *it;
}

/// One message in a conversation that goes on from input to input, until the server ends it or sleeps in a call.
void ask(std::span<const std::byte> bytes) {
  static Target* of = nullptr;
  static std::unique_ptr<ConnectionCore> conversation;
  Target& now = target();
  if (of != &now) conversation.reset();
  of = &now;
  if (!conversation) conversation = std::make_unique<ConnectionCore>(now.greet());
  try {
    (void)conversation->send(bytes, {}, Deadline::never());
    brood::detail::Received answer;
    if (!conversation->receive(answer, Deadline::after(5ms))) return conversation.reset();
    brood::Decoder in(answer.bytes());
    in.expect_array(3, "an answer");
    const auto word = in.uint();
    if (word != 2 && word != 3) fault("no answer");
  } catch (const brood::PeerGone&) {
    conversation.reset();
  } catch (const brood::EndOfFile&) {
    conversation.reset();
  }
}

void say_hello(std::span<const std::byte> bytes) {
  ConnectionCore connection = target().connect();
  try {
    (void)connection.send(bytes, {}, Deadline::never());
    brood::detail::Received answer;
    (void)connection.receive(answer, Deadline::after(5ms));
  } catch (const brood::PeerGone&) {
  } catch (const brood::EndOfFile&) {}
}

/// The answer to a client's first call is there before it asks.
void hear(std::span<const std::byte> bytes, unsigned what) {
  Target& now = target();
  auto [mine, theirs] = ConnectionCore::make_pipe({.ring_bytes = 1 << 16}, kType);
  auto line = std::make_shared<brood::call::Line>(
      std::move(mine),
      [](brood::call::Line&, const brood::call::Line::Asked&, brood::Decoder&,
         brood::Encoder&) -> std::shared_ptr<const void> { throw brood::UsageError("nothing to call"); },
      [](const std::exception_ptr&) { return std::make_exception_ptr(brood::ManagerDied("gone")); });
  (void)theirs.send(bytes, {}, Deadline::never());
  brood::detail::CallRequest request(*line, 1, {.name = "get"});
  request.arguments().array_header(0);
  // Its own end is open while it asks, and closed when it has read what there is: the thread does that.
  std::thread closing([&theirs = theirs] {
    brood::detail::Received asked;
    (void)theirs.receive(asked, Deadline::never());
    theirs.close();
  });
  try {
    switch (what % 4) {
      case 0:
        (void)brood::detail::call_and_decode<brood::detail::MaybeOne<std::string>>(request, Deadline::never());
        break;
      case 1:
        (void)brood::detail::call_and_decode<brood::detail::EachValue<std::pair<std::string, int>>>(request,
                                                                                                    Deadline::never());
        break;
      case 2: brood::detail::call_and_decode<void>(request, Deadline::never()); break;
      default: {
        const brood::detail::SpareReceived answer;
        std::size_t at = 0;
        (void)request.call(*answer, at, Deadline::never());
        brood::Decoder in(answer->bytes().subspan(at));
        (void)brood::detail::ProxyCore::decode(in, "list<int>", now.link());
      }
    }
  } catch (const std::exception&) {
    // Whatever the answer says was thrown; or that it says nothing that makes sense.
  }
  closing.join();
}

/// Records with good checksums, and anything in them: lengths of one byte, then as many.
void restore(std::span<const std::byte> bytes) {
  (void)target();
  const std::string path = std::string(std::getenv("BROOD_DOMAIN")) + ".journal";
  std::filesystem::remove(path);
  {
    manager::Journal journal({.path = path});
    while (!bytes.empty()) {
      const std::size_t length = std::min<std::size_t>(std::to_integer<unsigned char>(bytes[0]), bytes.size() - 1);
      brood::Encoder record;
      record.value(bytes.subspan(1, length), {});
      journal.append(record, false);
      bytes = bytes.subspan(1 + length);
    }
  }
  try {
    manager::Journal journal({.path = path});
    manager::Objects objects(7, "unix:/nonexistent", {}, &journal);
    objects.restore();
    for (const auto& entry : objects.all()) {
      if (!entry->served) fault("an object that is nothing");
    }
  } catch (const brood::DecodeError&) {}
  std::filesystem::remove(path);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto bytes = std::as_bytes(std::span(data, size)).subspan(1);
  switch (data[0] % 8) {
    case 4: say_hello(bytes); break;
    case 5:
    case 6: hear(bytes, data[0] / 8); break;
    case 7: restore(bytes); break;
    default: ask(bytes); break;
  }
  return 0;
}
