// Managers and those who do not keep to the rules: wrong keys, garbage, deaths, other programs, calls at the wrong time.
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "brood/listener.hpp"
#include "brood/shared_proxies.hpp"
#include "manager/manager_support.hpp"
#include "manager/strangers.hpp"
#include "net/certificate.hpp"

namespace {

using namespace manager_test;
using namespace process_test;

class Company : public Managed {};
INSTANTIATE_FOR_EVERY_METHOD(Company);

/// Also of one that nobody waits for.
bool has_ended(pid_t pid) {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  if (!std::getline(stat, text)) return true;
  const char state = text.at(text.rfind(')') + 2);
  return state == 'Z' || state == 'X';
}

struct Unmade {
  explicit Unmade(int /*code*/) { throw std::invalid_argument("not today"); }
};

TEST_F(Processes, StatesAreKept) {
  brood::Manager manager(brood::not_yet);
  EXPECT_THROW((void)manager.list<int>(), brood::UsageError);
  EXPECT_THROW(manager.shutdown(), brood::UsageError);
  EXPECT_THROW((void)manager.address(), brood::UsageError);
  manager.start();
  EXPECT_THROW(manager.start(), brood::UsageError);
  auto list = manager.list<int>({1});
  manager.shutdown();
  manager.shutdown();
  EXPECT_EQ(manager.exitcode(), 0);
  EXPECT_THROW((void)manager.list<int>(), brood::UsageError);
  EXPECT_THROW(manager.start(), brood::UsageError);
  EXPECT_THROW((void)list.size(), brood::ManagerDied);
  EXPECT_THROW((void)list.size(), brood::ManagerDied) << "again and again";
}

TEST_P(Company, AnInitializerRunsFirstAndItsFailureIsTold) {
  brood::Queue<std::int64_t> ran;
  brood::Manager later(brood::not_yet, {.process = {.start_method = GetParam()}});
  later.start([](brood::Queue<std::int64_t>& out, int) { out.put(::getpid()); }, ran, 3);
  EXPECT_EQ(ran.get(), later.pid());
  brood::Manager failing(brood::not_yet, {.process = {.start_method = GetParam()}});
  EXPECT_THROW(failing.start([] { throw std::range_error("no"); }), std::range_error);
}

TEST_P(Company, AKilledServerIsToldAtOnce) {
  auto queue = manager.queue<int>();
  auto lock = manager.lock();
  std::thread sleeper([&] { EXPECT_THROW((void)queue.get(), brood::ManagerDied); });
  lock.lock();
  ::kill(static_cast<pid_t>(*manager.pid()), SIGKILL);
  sleeper.join();
  EXPECT_THROW((void)manager.list<int>(), brood::ManagerDied);
  EXPECT_THROW(lock.unlock(), brood::ManagerDied);
  try {
    (void)queue.qsize();
    FAIL() << "it answered";
  } catch (const brood::ManagerDied& error) {
    EXPECT_NE(std::string(error.what()).find("the manager at "), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("is gone: exit code -SIGKILL"), std::string::npos) << error.what();
    EXPECT_EQ(error.pid(), manager.pid());
    EXPECT_EQ(error.exitcode(), -SIGKILL);
  }
}

/// Leaves a child behind that has copies of everything.
struct Parent {
  void leave_child(const std::string& gate) const {
    if (::fork() != 0) return;
    await(gate);
    std::_Exit(0);
  }
};
TEST_P(Company, AChildOfTheServerKeepsNobodyWaitingForIt) {
  Pipe gate;
  auto list = manager.list<int>();
  manager.make<Parent>().call<&Parent::leave_child>(gate.reader());
  ::kill(static_cast<pid_t>(*manager.pid()), SIGKILL);
  EXPECT_THROW(
      {
        for (;;) (void)list.size();
      },
      brood::ManagerDied);
  EXPECT_THROW((void)list.size(), brood::ManagerDied);
  EXPECT_THROW((void)manager.list<int>(), brood::ManagerDied);
  std::ostringstream text;
  text << manager;
  EXPECT_NE(text.str().find("ended with -SIGKILL"), std::string::npos) << text.str();
  gate.let_go();
}

/// For as long as the server is there, and once more, by a new conversation.
void use_until_it_has_died(const brood::ListProxy<int>& list, const std::string& said) {
  (void)list.size();
  tell(said, "uses it");
  for (int deaths = 0; deaths < 2;) {
    try {
      (void)list.size();
    } catch (const brood::ManagerDied&) {  // a child of the server at the door would be another error: HandshakeTimeout
      ++deaths;
    }
  }
}
TEST_P(Company, NorWhoDidNotStartIt) {
  Pipe gate;
  Pipe said;
  brood::Manager served({.authkey = "key", .process = {.start_method = GetParam()}});
  auto list = served.list<int>();
  auto other = make(use_until_it_has_died, list, said.writer());
  other.start();
  EXPECT_EQ(said.line(), "uses it");
  Stranger from_elsewhere(served.address(), "key", false);
  served.make<Parent>().call<&Parent::leave_child>(gate.reader());
  ::kill(static_cast<pid_t>(*served.pid()), SIGKILL);
  EXPECT_TRUE(from_elsewhere.sees_the_end());
  other.join();
  EXPECT_EQ(other.exitcode(), 0);
  gate.let_go();
}

TEST_P(Company, TheServerEndsWithItsCreator) {
  Pipe out;
  auto creator = make(
      [](const std::string& to) {
        brood::Manager mine;
        tell(to, std::to_string(*mine.pid()));
        brood::Event().wait();
      },
      out.writer());
  creator.start();
  const auto server = static_cast<pid_t>(std::stol(out.line()));
  creator.kill();
  creator.join();
  until([&] { return has_ended(server); });
}

TEST_P(Company, InterruptsAreForTheProgram) {
  ::kill(static_cast<pid_t>(*manager.pid()), SIGINT);
  EXPECT_EQ(manager.list<int>({1}).size(), 1U);
}

TEST_F(Processes, TheSameAddressCanBeUsedAgainAtOnce) {
  const brood::Address address = brood::UnixAddress::abstract("brood-test-" + std::to_string(::getpid()));
  for (int i = 0; i < 3; ++i) {
    brood::Manager manager({.address = address});
    EXPECT_EQ(manager.list<int>({i}).at(0), i);
    EXPECT_THROW(brood::Manager({.address = address}), brood::AddressInUse);
  }
}

TEST_F(Processes, AProxyOfAnEarlierServerIsNotTakenForOneOfTheLater) {
  const brood::Address address = brood::UnixAddress::abstract("brood-test-" + std::to_string(::getpid()));
  auto first = std::make_unique<brood::Manager>(brood::ManagerOptions{.address = address});
  auto list = first->list<int>({1});
  first.reset();
  brood::Manager second({.address = address});
  auto other = second.list<int>({2});
  EXPECT_THROW((void)list.size(), brood::ManagerDied);
  EXPECT_EQ(other.at(0), 2);
}

TEST_F(Processes, OverTcpWithAKey) {
  brood::Manager manager({.address = brood::TcpAddress{"127.0.0.1", 0}, .authkey = "secret"});
  brood::ManagerClient client(manager.address(), {.authkey = "secret"});
  auto list = client.list<std::string>({"a"});
  manager.publish("list", list);
  EXPECT_EQ(manager.find<brood::ListProxy<std::string>>("list")->at(0), "a");
  EXPECT_THROW(brood::ManagerClient(manager.address(), {.authkey = "wrong"}), brood::AuthenticationError);
  EXPECT_EQ(list.size(), 1U) << "the server goes on for the others";
}

brood::TlsOptions shown() {
  return {.certificate_file = nets::own_certificate().file, .key_file = nets::own_certificate().key};
}
brood::TlsOptions trusting() { return {.ca_file = nets::own_certificate().file, .server_name = "localhost"}; }

std::string elsewhere_domain() { return "BROOD_DOMAIN=/dev/shm/brood-test-elsewhere-" + std::to_string(::getpid()); }

TEST_P(Company, OverTcpWithTls) {
  brood::Manager secure({.address = brood::TcpAddress{"127.0.0.1", 0},
                         .authkey = "secret",
                         .tls = shown(),
                         .process = {.start_method = GetParam()}});
  auto list = secure.list<int>({1});
  auto of_lists = secure.dict<std::string, brood::ListProxy<int>>();
  of_lists.set("list", secure.list<int>({1, 2}));
  secure.publish("dict", of_lists);
  secure.publish("memory", secure.shared_dict<int, int>());
  // A child gets in without certificates: it is of the server's domain, and comes by another door, as we did.
  auto child = make(
      [](const brood::ListProxy<int>& there) {
        there.append(2);
        auto of_the_child = there;
        of_the_child.append(3);
      },
      list);
  child.start();
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
  EXPECT_EQ(list.snapshot(), (std::vector{1, 2, 3}));
  ASSERT_NE(secure.address().tcp_address(), nullptr) << "what others are told";
  const auto elsewhere = run_program(test_program("elsewhere"), {secure.address().str(), nets::own_certificate().file},
                                     {.environment = {elsewhere_domain()}});
  EXPECT_EQ(elsewhere.code, 0) << elsewhere.err;
}

TEST_F(Processes, ClientsAndServersAskForEachOthersCertificates) {
  brood::ManagerServer server({.address = brood::TcpAddress{"127.0.0.1", 0}, .authkey = "secret", .tls = shown()});
  std::thread serving([&] { server.serve_forever(); });
  {
    brood::ManagerClient client(server.address(), {.authkey = "secret", .tls = trusting()});
    auto list = client.list<int>({1});
    EXPECT_EQ(list.at(0), 1);
    // In the clear, with the wrong key, with nobody's word for the certificate, for another name.
    EXPECT_THROW(brood::ManagerClient(server.address(), {.authkey = "secret"}), brood::Error);
    EXPECT_THROW(brood::ManagerClient(server.address(), {.authkey = "wrong", .tls = trusting()}),
                 brood::AuthenticationError);
    EXPECT_THROW(brood::ManagerClient(server.address(), {.authkey = "secret", .tls = brood::TlsOptions{}}),
                 brood::AuthenticationError);
    brood::TlsOptions other_name = trusting();
    other_name.server_name = "elsewhere";
    EXPECT_THROW(brood::ManagerClient(server.address(), {.authkey = "secret", .tls = other_name}),
                 brood::AuthenticationError);
    EXPECT_EQ(list.size(), 1U);
  }
  server.stop();
  serving.join();
}

/// Another domain stands for another machine: nothing is shared with it but the network.
TEST_F(Processes, ClientsFromElsewhereHaveProxiesTooAndKeepObjectsAlive) {
  brood::Manager manager({.address = brood::TcpAddress{"127.0.0.1", 0}, .authkey = "secret"});
  auto of_lists = manager.dict<std::string, brood::ListProxy<int>>();
  {
    auto list = manager.list<int>({1, 2});
    of_lists.set("list", list);
  }
  manager.publish("dict", of_lists);
  auto memory = manager.shared_dict<int, int>();
  manager.publish("memory", memory);
  const auto elsewhere =
      run_program(test_program("elsewhere"), {manager.address().str()}, {.environment = {elsewhere_domain()}});
  EXPECT_EQ(elsewhere.code, 0) << elsewhere.err;
  EXPECT_EQ(of_lists.at("list").snapshot(), (std::vector{1, 2, 3}));
  EXPECT_EQ(of_lists.at("another").snapshot(), std::vector{4});
  of_lists.clear();
  // What the other one referred to is gone with it.
  until([&] { return manager.object_count() == 2; });
}

TEST_P(Company, ProxiesKeepTheKeyOfTheirServer) {
  brood::Manager other({.authkey = "a key of its own", .process = {.start_method = GetParam()}});
  auto list = other.list<int>();
  auto child = make([](const brood::ListProxy<int>& there) { there.append(1); }, list);
  child.start();
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
  EXPECT_EQ(list.size(), 1U);
}

TEST_F(ManagedOnce, NobodyListensThere) {
  EXPECT_THROW(brood::ManagerClient("unix:/nonexistent/socket"), brood::ManagerDied);
  brood::Listener<int> other({.authkey = brood::current_process().authkey()});
  std::thread acceptor([&] { EXPECT_THROW((void)other.accept(), brood::Error); });
  EXPECT_THROW(brood::ManagerClient(other.address()), brood::TypeMismatch);
  acceptor.join();
}

TEST_F(ManagedOnce, GarbageHurtsNobodyElse) {
  const auto address = *manager.address().unix_address();
  auto list = manager.list<int>({1});
  for (const std::string& bytes : {std::string("GET / HTTP/1.0\r\n\r\n"), std::string(4096, '\xff'), std::string()}) {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    address.path.copy(to.sun_path, sizeof to.sun_path - 1);
    ASSERT_EQ(::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
    (void)::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    EXPECT_EQ(list.size(), 1U);
    ::close(fd);
  }
  EXPECT_EQ(manager.list<int>({1, 2}).size(), 2U);
}

TEST_F(ManagedOnce, UnknownTypesMethodsAndObjectsAreRefused) {
  auto list = manager.list<int>({1});
  EXPECT_THROW(list.core().call<void>("no_such"), brood::UsageError);
  EXPECT_THROW(list.core().call<void>("get"), brood::DecodeError) << "too few arguments";
  EXPECT_THROW(list.core().call<int>("get", std::string("x")), brood::DecodeError);
  EXPECT_THROW((void)manager.make<Unmade>(1), std::invalid_argument);
  EXPECT_EQ(list.size(), 1U);
}

TEST_P(Company, ManyClientsAtOnce) {
  auto count = manager.value<long>();
  std::vector<std::thread> threads;
  for (int i = 0; i < 16; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 50; ++j) (void)count.update<[](long& n) { return ++n; }>();
    });
  }
  for (auto& it : threads) it.join();
  EXPECT_EQ(count.get(), 16 * 50);
}

TEST_P(Company, AForkedChildMakesItsOwnConversations) {
  auto list = manager.list<int>({1});
  const pid_t child = ::fork();
  if (child == 0) ::_exit(list.size() == 1 ? 0 : 1);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  list.append(2);
  EXPECT_EQ(list.size(), 2U);
}

TEST_F(Processes, AServerInThisProcess) {
  brood::ManagerServer server({.authkey = "key"});
  std::thread serving([&] { server.serve_forever(); });
  {
    brood::ManagerClient client(server.address(), {.authkey = "key"});
    auto list = client.list<int>({1, 2});
    EXPECT_EQ(list.size(), 2U);
    auto queue = client.queue<int>();
    std::thread sleeper([&] { EXPECT_THROW((void)queue.get(), brood::ManagerDied); });
    until([&] { return client.object_count() == 2; });
    server.stop();
    sleeper.join();
    serving.join();
    EXPECT_THROW((void)list.size(), brood::ManagerDied);
  }
}

TEST_F(ManagedOnce, ArgumentsAndResultsMayBeLarge) {
  const std::string large(8 << 20, 'x');
  auto dict = manager.dict<std::string, std::string>();
  dict.set("large", large);
  EXPECT_EQ(dict.at("large").size(), large.size());
}

}  // namespace
