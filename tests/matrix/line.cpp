#include "matrix/line.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <system_error>

namespace matrix {
namespace {

using brood::base::UniqueFd;

[[noreturn]] void fail(const std::string& operation) {
  throw std::system_error(errno, std::generic_category(), "line: " + operation);
}

UniqueFd make_socket() {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) fail("socket");
  return fd;
}

/// A name in the abstract namespace: it goes with its socket.
std::pair<sockaddr_un, socklen_t> abstract(const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  require(!name.empty() && name.size() < sizeof address.sun_path, "the name of the line fits into an address: " + name);
  name.copy(address.sun_path + 1, name.size());
  return {address, static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size())};
}

}  // namespace

void Line::say(char word) const {
  if (::send(fd_.get(), &word, 1, MSG_NOSIGNAL) != 1) fail(std::string("say '") + word + "'");
}

char Line::hear() const {
  char word = 0;
  ssize_t got = 0;
  do {
    got = ::recv(fd_.get(), &word, 1, 0);
  } while (got < 0 && errno == EINTR);
  if (got < 0) fail("hear");
  if (got == 0) throw std::runtime_error("line: the other side has gone");
  return word;
}

void Line::expect(char word) const {
  const char heard = hear();
  if (heard != word) throw std::runtime_error(std::string("line: expected '") + word + "', heard '" + heard + "'");
}

void Line::expect_silence() const {
  char word = 0;
  const ssize_t got = ::recv(fd_.get(), &word, 1, 0);
  if (got < 0) fail("expect_silence");
  if (got > 0) throw std::runtime_error(std::string("line: expected the end, heard '") + word + "'");
}

void Line::send_text(const std::string& text) const {
  for (const char c : text) say(c);
  say('\0');
}

std::string Line::hear_text() const {
  std::string text;
  for (char c = hear(); c != '\0'; c = hear()) text += c;
  return text;
}

pid_t Line::other_pid() const {
  ucred who{};
  socklen_t size = sizeof who;
  if (::getsockopt(fd_.get(), SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) fail("getsockopt(SO_PEERCRED)");
  return who.pid;
}

Doorway::Doorway() : fd_(make_socket()) {
  static std::atomic<unsigned> number{0};
  address_ = "brood-matrix-" + std::to_string(::getpid()) + "-" + std::to_string(++number);
  const auto [address, size] = abstract(address_);
  if (::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) fail("bind " + address_);
  if (::listen(fd_.get(), 1) != 0) fail("listen " + address_);
}

Line Doorway::accept(std::chrono::seconds patience) const {
  pollfd caller{fd_.get(), POLLIN, 0};
  const int ready = ::poll(&caller, 1, static_cast<int>(std::chrono::milliseconds(patience).count()));
  if (ready < 0) fail("poll");
  if (ready == 0) throw std::runtime_error("line: no worker has called; its standard error says why");
  UniqueFd fd(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!fd) fail("accept");
  return Line(std::move(fd));
}

Line call(const std::string& address) {
  UniqueFd fd = make_socket();
  const auto [name, size] = abstract(address);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&name), size) != 0) fail("connect to " + address);
  return Line(std::move(fd));
}

}  // namespace matrix
