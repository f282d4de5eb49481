// A listener and its clients: connections between processes that share no memory, here over a Unix socket, with a key that
// both have. The address is a text; with tcp:host:port instead the same program works between machines. Over a Unix socket, an
// open file can be sent, too: the server writes into a pipe of the kernel that the client made.
//
// Link with brood-net as well (pkg-config brood-net).
//
// Output:
// stranger: the door stays shut
// ada asks 6 * 7: 42
// the log, by way of the kernel: served ada
// the server has gone: true
#include <unistd.h>

#include <array>
#include <iostream>
#include <optional>
#include <string>

#include "brood/brood.hpp"
#include "brood/listener.hpp"

struct Message {
  std::string name = {};
  int left = 0;
  int right = 0;
  std::optional<brood::Descriptor> log = {};
};

// In real programs it comes from a file that only this user can read.
const std::string kKey = "it is a secret";

void serve(brood::Connection<std::string>& parent) {
  brood::Listener<Message> listener({.authkey = kKey});
  parent.send(listener.address().str());
  for (;;) {
    try {
      brood::Connection<Message> client = listener.accept();
      const Message question = client.recv();
      client.send({.left = question.left * question.right});
      const std::string line = "served " + question.name;
      if (::write(question.log->get(), line.data(), line.size()) < 0) std::cerr << "cannot write\n";
      return;
    } catch (const brood::AuthenticationError&) {
      // That one does not have the key. The next, please.
    }
  }
}

int main(int argc, char** argv) {
  brood::init(argc, argv);

  auto [ours, theirs] = brood::pipe<std::string>();
  brood::Process server(serve, theirs);
  server.start();
  const brood::Address address(ours.recv());

  try {
    auto stranger = brood::connect<Message>(address, {.authkey = "a guess"});
    std::cout << "stranger: let in\n";
  } catch (const brood::AuthenticationError&) {
    std::cout << "stranger: the door stays shut\n";
  }

  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) return 1;
  const brood::Descriptor log(ends[0]);

  auto connection = brood::connect<Message>(address, {.authkey = kKey});
  connection.send({.name = "ada", .left = 6, .right = 7, .log = brood::Descriptor(ends[1])});
  std::cout << "ada asks 6 * 7: " << connection.recv().left << '\n';

  std::array<char, 100> text{};
  const ssize_t size = ::read(log.get(), text.data(), text.size());
  std::cout << "the log, by way of the kernel: "
            << std::string(text.data(), size > 0 ? static_cast<std::size_t>(size) : 0) << '\n';
  server.join();
  std::cout << "the server has gone: " << std::boolalpha << (server.exitcode() == 0) << '\n';
}
