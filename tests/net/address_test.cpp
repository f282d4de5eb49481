// Addresses as text.
#include "brood/address.hpp"

#include "brood/detail/codec.hpp"
#include "sync/ladder.hpp"

namespace {

using brood::Address;
using brood::TcpAddress;
using brood::UnixAddress;

TEST(Address, PrintsAndReadsBack) {
  for (const auto& [address, text] : std::vector<std::pair<Address, std::string>>{
           {UnixAddress{"/run/app/socket"}, "unix:/run/app/socket"},
           {UnixAddress{}, "unix:"},
           {UnixAddress::abstract("name"), "unix:@name"},
           {UnixAddress{"/a b%\n"}, "unix:/a%20b%25%0a"},
           {UnixAddress::abstract(std::string("a\0b", 3)), "unix:@a%00b"},
           {TcpAddress{"localhost", 4000}, "tcp:localhost:4000"},
           {TcpAddress{"127.0.0.1", 0}, "tcp:127.0.0.1:0"},
           {TcpAddress{"::1", 65535}, "tcp:[::1]:65535"},
           {TcpAddress{}, "tcp:localhost:0"},
       }) {
    EXPECT_EQ(address.str(), text);
    EXPECT_EQ(Address(text), address) << text;
    EXPECT_EQ(ladder::printed(address), text);
    brood::Encoder out;
    brood::encode(out, address);
    brood::Decoder in(out.bytes());
    EXPECT_EQ(brood::decode<Address>(in), address) << "it travels";
  }
  EXPECT_EQ(Address(UnixAddress{"@x"}).str(), "unix:./@x") << "a path is no abstract name";
}

TEST(Address, SaysWhatItIs) {
  EXPECT_EQ(Address("unix:@n").unix_address()->is_abstract, true);
  EXPECT_EQ(Address("unix:@n").tcp_address(), nullptr);
  EXPECT_EQ(Address("tcp:h:1").tcp_address()->port, 1);
  EXPECT_EQ(Address("tcp:h:1").unix_address(), nullptr);
  EXPECT_FALSE(Address("unix:@n") == Address("unix:n"));
}

TEST(Address, RefusesWhatIsNone) {
  for (const auto* text : {"",           "x",           "/path",          "unix",        "unix:@",   "unix:%",
                           "unix:%4",    "unix:%zz",    "unix:/a%00b",    "tcp:",        "tcp:host", "tcp:host:",
                           "tcp:host:x", "tcp:host:-1", "tcp:host:65536", "tcp:host:1x", "tcp::1",   "tcp:[]:1",
                           "tcp:::1:1",  "tcp:a b:1",   "tcp:[::1:1",     "udp:host:1"}) {
    ladder::expect_error<brood::UsageError>([&] { (void)Address(text); },
                                            {std::string("'") + text + "'", "tcp:host:port"});
  }
  brood::Encoder out;
  out.str("nonsense");
  brood::Decoder in(out.bytes());
  EXPECT_THROW((void)brood::decode<Address>(in), brood::DecodeError);
}

}  // namespace
