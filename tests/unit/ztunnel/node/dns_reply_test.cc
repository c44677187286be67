#include "ztunnel/node/dns_reply.h"

#include <gtest/gtest.h>

namespace weft::node {
namespace {

uint8_t at(const std::string& bytes, size_t i) { return static_cast<uint8_t>(bytes.at(i)); }

uint32_t words(const std::string& bytes, size_t from, size_t size) {
  uint32_t sum = 0;
  for (size_t i = 0; i < size; i += 2) {
    sum += static_cast<uint32_t>(at(bytes, from + i)) << 8U;
    if (i + 1 < size) sum += at(bytes, from + i + 1);
  }
  return sum;
}

// What a receiver computes: everything with the checksum in place folds to ones.
bool is_checksum_right(const std::string& packet, size_t addresses_at, size_t addresses_size,
                       size_t udp_at) {
  const size_t length = packet.size() - udp_at;
  uint32_t sum = words(packet, addresses_at, addresses_size) + words(packet, udp_at, length) +
                 static_cast<uint32_t>(length) + 17;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16U);
  return sum == 0xffff;
}

TEST(DnsReply, AnIpv4Datagram) {
  const std::string packet = make_datagram(*SocketAddress::parse("10.96.0.10:53"),
                                           *SocketAddress::parse("10.244.1.5:40000"), "answer!");
  ASSERT_EQ(packet.size(), 20U + 8 + 7);
  EXPECT_EQ(packet.substr(12, 8), std::string("\x0a\x60\x00\x0a\x0a\xf4\x01\x05", 8));
  EXPECT_EQ(packet.substr(20, 6), std::string("\x00\x35\x9c\x40\x00\x0f", 6));
  EXPECT_EQ(packet.substr(28), "answer!");
  EXPECT_EQ(at(packet, 3), packet.size());
  EXPECT_TRUE(is_checksum_right(packet, 12, 8, 20));
}

TEST(DnsReply, AnIpv6Datagram) {
  for (const std::string payload : {"", "answer", "answer!"}) {
    const std::string packet =
        make_datagram(*SocketAddress::parse("[fd00:10:96::a]:53"),
                      *SocketAddress::parse("[fd00:10:244:1::5]:40000"), payload);
    ASSERT_EQ(packet.size(), 40U + 8 + payload.size());
    EXPECT_EQ(at(packet, 0), 0x60);
    EXPECT_EQ(at(packet, 5), 8 + payload.size());
    EXPECT_TRUE(is_checksum_right(packet, 8, 32, 40));
  }
}

TEST(DnsReply, WhatDoesNotFitIsRefused) {
  DnsReplies replies(-1);
  const auto sent = replies.send(*SocketAddress::parse("127.0.0.1:53"),
                                 *SocketAddress::parse("127.0.0.1:9"), std::string(65508, 'x'));
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, Code::kLimit);
}

}  // namespace
}  // namespace weft::node
