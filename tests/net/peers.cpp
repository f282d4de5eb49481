#include "net/peers.hpp"

#include <netinet/in.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>

#include "net/place.hpp"

namespace nets {
namespace {

[[noreturn]] void fail(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

}  // namespace

RawPeer::RawPeer(const Address& address) {
  const auto place = address.unix_address() != nullptr ? brood::net::place_of(*address.unix_address())
                                                       : brood::net::places_of(*address.tcp_address(), false).front();
  socket_.reset(::socket(place.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(socket_.get(), place.get(), place.size) != 0) fail("connect");
}

void RawPeer::write(std::string_view bytes) const {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0) fail("send");
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

std::string frame_header(std::uint32_t size, std::uint16_t flags) {
  std::string out;
  for (int i = 0; i < 4; ++i) out += static_cast<char>(size >> (8 * i));
  for (int i = 0; i < 2; ++i) out += static_cast<char>(flags >> (8 * i));
  return out + std::string(2, '\0');
}

void RawPeer::write_note(char kind, std::string_view body) const {
  write(frame_header(static_cast<std::uint32_t>(body.size() + 1), 16) + kind + std::string(body));
}

void RawPeer::hello(bool has_key) const { write_note(kHello, std::string("brood\0\1\0", 8) + (has_key ? '\1' : '\0')); }

std::string RawPeer::read(std::size_t count) const {
  std::string out(count, '\0');
  for (std::size_t have = 0; have < count;) {
    const ssize_t got = ::recv(socket_.get(), out.data() + have, count - have, 0);
    if (got < 0) fail("recv");
    if (got == 0) throw std::runtime_error("the end came after " + std::to_string(have) + " bytes");
    have += static_cast<std::size_t>(got);
  }
  return out;
}

std::pair<char, std::string> RawPeer::read_note() const {
  const std::string header = read(8);
  const std::string note = read(static_cast<unsigned char>(header[0]) + 256U * static_cast<unsigned char>(header[1]));
  return {note.at(0), note.substr(1)};
}

std::string RawPeer::read_all() const {
  std::string out;
  char some[4096];
  for (;;) {
    const ssize_t got = ::recv(socket_.get(), some, sizeof some, 0);
    if (got == 0 || (got < 0 && errno == ECONNRESET)) return out;
    if (got < 0) fail("recv");
    out.append(some, static_cast<std::size_t>(got));
  }
}

void RawPeer::send_descriptors(std::string_view bytes, const std::vector<int>& descriptors) const {
  iovec place{const_cast<char*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &place;
  message.msg_iovlen = 1;
  std::vector<char> control(CMSG_SPACE(descriptors.size() * sizeof(int)));
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
  std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size() * sizeof(int));
  if (::sendmsg(socket_.get(), &message, MSG_NOSIGNAL) != static_cast<ssize_t>(bytes.size())) fail("sendmsg");
}

RawDoor::RawDoor() : socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  const auto place = brood::net::place_of(UnixAddress::abstract(name_));
  if (::bind(socket_.get(), place.get(), place.size) != 0 || ::listen(socket_.get(), 8) != 0) fail("listen");
}

RawPeer RawDoor::accept() const {
  brood::base::UniqueFd socket(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!socket) fail("accept");
  return RawPeer(std::move(socket));
}

}  // namespace nets
