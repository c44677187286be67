#include "ztunnel/base/ip.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <unordered_set>

namespace weft {
namespace {

TEST(IpAddress, ReadsAndWritesBothFamilies) {
  for (const std::string text : {"0.0.0.0", "10.96.0.7", "255.255.255.255", "::", "::1",
                                 "fd00:10:244::1", "2001:db8::ff00:42:8329"}) {
    const Result<IpAddress> address = IpAddress::parse(text);
    ASSERT_TRUE(address.has_value()) << text;
    EXPECT_EQ(address->to_string(), text);
    const Result<IpAddress> again = IpAddress::from_bytes(address->to_bytes());
    ASSERT_TRUE(again.has_value()) << text;
    EXPECT_EQ(*again, *address);
  }
}

TEST(IpAddress, MappedIpv4IsTheIpv4AddressItStandsFor) {
  const IpAddress mapped = *IpAddress::parse("::ffff:10.1.2.3");
  EXPECT_EQ(mapped, *IpAddress::parse("10.1.2.3"));
  EXPECT_EQ(mapped, IpAddress::v4(0x0a010203));
  EXPECT_TRUE(mapped.is_v4());
  EXPECT_EQ(mapped.v4_host_order(), 0x0a010203U);
  EXPECT_EQ(mapped.to_bytes(), std::string("\x0a\x01\x02\x03"));
  EXPECT_EQ(mapped.to_string(), "10.1.2.3");
}

TEST(IpAddress, RefusesWhatIsNone) {
  const std::string nul = std::string("10.1.2.3") + '\0' + "x";
  for (const std::string& text :
       {std::string(), std::string("10.1.2"), std::string("10.1.2.256"), std::string("10.1.2.3 "),
        std::string(" 10.1.2.3"), std::string("10.01.2.3"), std::string("localhost"),
        std::string("fe80::1%eth0"), std::string("1::2::3"), std::string("[::1]"), nul,
        std::string(5000, '1')}) {
    const Result<IpAddress> address = IpAddress::parse(text);
    ASSERT_FALSE(address.has_value()) << text;
    EXPECT_EQ(address.error().code, Code::kInvalid);
    EXPECT_LT(address.error().message.size(), 200U);  // does not repeat a peer at any length
  }
  for (const size_t size : {0UL, 3UL, 5UL, 15UL, 17UL}) {
    EXPECT_FALSE(IpAddress::from_bytes(std::string(size, '\1')).has_value()) << size;
  }
}

TEST(IpAddress, KnowsLoopbackAndUnspecified) {
  for (const std::string text : {"127.0.0.1", "127.255.0.9", "::1"}) {
    EXPECT_TRUE(IpAddress::parse(text)->is_loopback()) << text;
  }
  for (const std::string text : {"128.0.0.1", "::2", "::", "1::1", "0.0.0.0"}) {
    EXPECT_FALSE(IpAddress::parse(text)->is_loopback()) << text;
  }
  for (const std::string text : {"0.0.0.0", "::"}) {
    EXPECT_TRUE(IpAddress::parse(text)->is_unspecified()) << text;
  }
  EXPECT_FALSE(IpAddress::parse("0.0.0.1")->is_unspecified());
  EXPECT_FALSE(IpAddress::parse("::1")->is_unspecified());
}

TEST(IpAddress, HashSpreadsNeighbours) {
  std::unordered_set<size_t> hashes;
  for (uint32_t i = 0; i < 65536; ++i) {
    hashes.insert(std::hash<IpAddress>{}(IpAddress::v4(0x0a000000 + i)) & 0xffff);
  }
  EXPECT_GT(hashes.size(), 30'000U);  // about 41 000 of 65 536 for a random function
}

TEST(SocketAddress, ReadsAndWritesBothFamilies) {
  for (const std::string text : {"10.96.0.7:80", "0.0.0.0:0", "[::1]:15008", "[fd00::1]:65535"}) {
    const Result<SocketAddress> address = SocketAddress::parse(text);
    ASSERT_TRUE(address.has_value()) << text;
    EXPECT_EQ(address->to_string(), text);
    sockaddr_storage raw{};
    const socklen_t length = address->to_sockaddr(raw);
    EXPECT_EQ(length, address->ip.is_v4() ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    EXPECT_EQ(SocketAddress::from_sockaddr(raw), *address);
  }
}

TEST(SocketAddress, RefusesWhatIsNone) {
  for (const std::string text : {"",
                                 ":",
                                 ":80",
                                 "10.1.2.3",
                                 "10.1.2.3:",
                                 "10.1.2.3:65536",
                                 "10.1.2.3:-1",
                                 "10.1.2.3:+80",
                                 "10.1.2.3:80x",
                                 "10.1.2.3: 80",
                                 "10.1.2.3:4294967376",
                                 "::1:80",
                                 "[::1]",
                                 "[::1]80",
                                 "[::1:80",
                                 "::1]:80",
                                 "[]:80",
                                 "[10.1.2.3]:80",
                                 "[[::1]]:80",
                                 "name:80"}) {
    const Result<SocketAddress> address = SocketAddress::parse(text);
    ASSERT_FALSE(address.has_value()) << text;
    EXPECT_EQ(address.error().code, Code::kInvalid);
  }
}

TEST(SocketAddress, OtherFamiliesReadAsUnspecified) {
  sockaddr_storage raw{};
  raw.ss_family = AF_UNIX;
  EXPECT_EQ(SocketAddress::from_sockaddr(raw), SocketAddress{});
}

TEST(Cidr, ReadsMasksAndWrites) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"10.1.2.3/8", "10.0.0.0/8"},       {"10.1.2.3", "10.1.2.3/32"},
      {"10.1.2.3/0", "0.0.0.0/0"},        {"10.1.2.255/31", "10.1.2.254/31"},
      {"fd00::1:2/64", "fd00::/64"},      {"::1", "::1/128"},
      {"2001:db8::/33", "2001:db8::/33"}, {"1::/0", "::/0"},
  };
  for (const auto& [text, expected] : cases) {
    const Result<Cidr> cidr = Cidr::parse(text);
    ASSERT_TRUE(cidr.has_value()) << text;
    EXPECT_EQ(cidr->to_string(), expected);
  }
}

TEST(Cidr, RefusesWhatIsNone) {
  for (const std::string& text :
       {"", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "::/129", "10.0.0.0/8/8",
        "10.0.0.0/8 ", "10.0.0/8", "::ffff:10.0.0.0/104"}) {
    EXPECT_FALSE(Cidr::parse(text).has_value()) << text;
  }
  EXPECT_FALSE(Cidr::make(IpAddress::v4(0), 33).has_value());
}

TEST(Cidr, ContainsItsOwnFamilyOnly) {
  EXPECT_FALSE(Cidr::parse("0.0.0.0/0")->contains(*IpAddress::parse("::")));
  EXPECT_FALSE(Cidr::parse("::/0")->contains(IpAddress::v4(1)));
  EXPECT_TRUE(Cidr::parse("::/0")->contains(*IpAddress::parse("::1")));
  EXPECT_TRUE(Cidr::parse("0.0.0.0/0")->contains(IpAddress::v4(1)));
}

// Against arithmetic on the whole address.
TEST(Cidr, ContainsAgreesWithArithmetic) {
  std::mt19937 random(7);
  for (int i = 0; i < 20'000; ++i) {
    const uint32_t base = random();
    const uint32_t length = random() % 33;
    const uint32_t mask = length == 0 ? 0 : ~uint32_t{0} << (32 - length);
    // One bit away from the prefix: on either side of its border.
    const uint32_t other = base ^ (uint32_t{1} << (random() % 32));
    const Cidr cidr = *Cidr::make(IpAddress::v4(base), length);
    EXPECT_EQ(cidr.contains(IpAddress::v4(other)), (base & mask) == (other & mask))
        << cidr.to_string() << " " << IpAddress::v4(other).to_string();
    EXPECT_EQ(cidr.length(), length);
  }
}

}  // namespace
}  // namespace weft
