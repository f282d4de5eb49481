// A dictionary that another process keeps: brood's Manager, and redis over its Unix socket. A program of its own: brood_bench does
// not load OpenSSL. Prints one sample a line.
//
// usage: bench_manager brood|redis get|set CLIENTS COUNT [REDIS-SERVER]
//   one client: microseconds of each call; several: calls a second of all together
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "brood/brood.hpp"
#include "brood/manager.hpp"
#include "harness.hpp"

namespace {

using Dict = brood::DictProxy<std::string, std::uint64_t>;
constexpr double kNsPerUs = 1000;

/// Of each kind: something with get() and set() of the one key.
class BroodClient {
 public:
  explicit BroodClient(const Dict& dict) : dict_(dict) {}
  void set(std::uint64_t number) { dict_.set(key_, number); }
  std::uint64_t get() { return dict_.at(key_); }

 private:
  const Dict& dict_;
  const std::string key_ = "key";
};

class RedisClient {
 public:
  explicit RedisClient(const std::string& path) : socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    path.copy(to.sun_path, sizeof to.sun_path - 1);
    if (::connect(socket_, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0)
      throw std::runtime_error("connect to redis-server");
  }
  ~RedisClient() { ::close(socket_); }
  RedisClient(const RedisClient&) = delete;
  RedisClient& operator=(const RedisClient&) = delete;

  void set(std::uint64_t number) {
    std::string request = "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$8\r\n";
    request.append(reinterpret_cast<const char*>(&number), sizeof number);
    if (ask(request + "\r\n", 5) != "+OK\r\n") throw std::runtime_error("redis-server did not set");
  }
  std::uint64_t get() {
    const std::string answer = ask("*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n", 14);
    if (!answer.starts_with("$8\r\n")) throw std::runtime_error("redis-server did not get");
    std::uint64_t number = 0;
    std::memcpy(&number, answer.data() + 4, sizeof number);
    return number;
  }

 private:
  std::string ask(const std::string& request, std::size_t answer_bytes) const {
    if (::write(socket_, request.data(), request.size()) != static_cast<ssize_t>(request.size()))
      throw std::runtime_error("write to redis-server");
    std::string answer(answer_bytes, '\0');
    for (std::size_t have = 0; have < answer_bytes;) {
      const ssize_t got = ::read(socket_, answer.data() + have, answer_bytes - have);
      if (got <= 0) throw std::runtime_error("read from redis-server");
      have += static_cast<std::size_t>(got);
    }
    return answer;
  }
  int socket_;
};

/// Keeps nothing on the disk; dies with us.
class RedisServer {
 public:
  explicit RedisServer(const std::string& program)
      : directory_(std::filesystem::temp_directory_path() / ("brood-bench-redis-" + std::to_string(::getpid()))) {
    std::filesystem::create_directory(directory_);
    pid_ = ::fork();
    if (pid_ != 0) {
      await_socket();
      return;
    }
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (std::freopen("/dev/null", "w", stdout) == nullptr) ::_exit(126);
    const std::string socket = path();
    ::execl(program.c_str(), program.c_str(), "--port", "0", "--unixsocket", socket.c_str(), "--save", "",
            "--appendonly", "no", "--dir", directory_.c_str(), static_cast<char*>(nullptr));
    ::_exit(127);
  }
  ~RedisServer() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    std::filesystem::remove_all(directory_);
  }
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;
  [[nodiscard]] std::string path() const { return directory_ / "socket"; }

 private:
  /// Until it listens. Errors: std::runtime_error if it ends instead.
  void await_socket() {
    for (;;) {
      try {
        const RedisClient first(path());
        return;
      } catch (const std::runtime_error&) {
        if (::waitpid(pid_, nullptr, WNOHANG) == 0) {
          ::usleep(1000);
          continue;
        }
        std::filesystem::remove_all(directory_);
        throw std::runtime_error("redis-server did not start");
      }
    }
  }
  std::filesystem::path directory_;
  pid_t pid_ = -1;
};

template <class Client>
void call(Client& client, bool sets, std::uint64_t number) {
  if (sets) client.set(number);
  else if (client.get() > std::uint64_t{1} << 32) throw std::runtime_error("another number came back");
}

template <class Client>
void time_one(Client& client, bool sets, std::uint64_t count) {
  bench::pin(0);
  client.set(1);
  for (std::uint64_t i = 0; i < count / 10; ++i) call(client, sets, i);
  bench::Samples samples;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t from = bench::now_ns();
    call(client, sets, i);
    samples.push_back(static_cast<double>(bench::now_ns() - from) / kNsPerUs);
  }
  for (const double it : samples) std::printf("%.4f\n", it);
}

template <class Client, class From>
void be_client(const From& from, bool sets, std::uint64_t count, brood::Barrier& gate) {
  Client client(from);
  client.set(1);
  (void)gate.wait();
  for (std::uint64_t i = 0; i < count; ++i) call(client, sets, i);
  (void)gate.wait();
  gate.leave();
}

template <class Client, class From>
void time_many(const From& from, bool sets, int clients, std::uint64_t count) {
  brood::Barrier gate(static_cast<std::uint32_t>(clients) + 1);
  std::vector<brood::Process> all;
  for (int i = 0; i < clients; ++i) all.emplace_back(be_client<Client, From>, from, sets, count, gate);
  for (auto& it : all) it.start();
  (void)gate.wait();
  const std::uint64_t begin = bench::now_ns();
  (void)gate.wait();
  const double seconds = static_cast<double>(bench::now_ns() - begin) / 1e9;
  gate.leave();
  for (auto& it : all) it.join();
  std::printf("%.1f\n", static_cast<double>(count) * clients / seconds);
}

void run(const std::vector<std::string>& arguments) {
  const bool sets = arguments.at(1) == "set";
  const int clients = std::stoi(arguments.at(2));
  const std::uint64_t count = std::stoull(arguments.at(3));
  bench::pin_to_two();
  if (arguments.at(0) == "brood") {
    brood::Manager manager;
    const auto dict = manager.dict<std::string, std::uint64_t>();
    BroodClient alone(dict);
    if (clients == 1) time_one(alone, sets, count);
    else time_many<BroodClient>(dict, sets, clients, count);
    return;
  }
  const RedisServer server(arguments.at(4));
  RedisClient alone(server.path());
  if (clients == 1) time_one(alone, sets, count);
  else time_many<RedisClient>(server.path(), sets, clients, count);
}

}  // namespace

int main(int argc, char** argv) {
  brood::init(argc, argv);
  try {
    run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_manager: %s\n", error.what());
    return 1;
  }
  return 0;
}
