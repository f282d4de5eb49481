// A program of somebody else's that uses sockets.
#include <brood/listener.hpp>

#include <iostream>

int main() {
  brood::Listener<int> listener({.address = brood::TcpAddress{"127.0.0.1", 0}});
  auto client = brood::connect<int>(listener.address());
  client.send(42);
  std::cout << "outside: " << listener.accept().recv() << " by way of a socket\n";
}
