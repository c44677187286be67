// Where a connection to a pod arrives, and the header that goes before it.

#include "ztunnel/node/application.h"

#include "ztunnel/node/proxy_protocol.h"

#include <gtest/gtest.h>

namespace weft::node {
namespace {

using namespace std::string_literals;

SocketAddress address(const char* text) { return *SocketAddress::parse(text); }

TEST(ProxyHeader, Ip4WithIdentity) {
  const SpiffeId id = *SpiffeId::parse("spiffe://td/ns/a/sa/b");
  EXPECT_EQ(proxy_header(address("10.1.2.3:258"), address("10.96.0.1:80"), &id),
            "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x24"
            "\x0a\x01\x02\x03\x0a\x60\0\x01\x01\x02\0\x50"
            "\xd0\0\x15spiffe://td/ns/a/sa/b"s);
}

TEST(ProxyHeader, Ip6WithoutIdentity) {
  const std::string header = proxy_header(address("[fd00::1]:1"), address("[fd00::2]:2"), nullptr);
  EXPECT_EQ(header,
            "\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24"
            "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"
            "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\0\x01\0\x02"s);
}

TEST(ProxyHeader, TwoFamiliesAreBothWrittenAsIp6) {
  const std::string header = proxy_header(address("10.0.0.1:1"), address("[fd00::2]:2"), nullptr);
  EXPECT_EQ(header.substr(13, 3), "\x21\0\x24"s);
  EXPECT_EQ(header.substr(16, 16), "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\x01"s);
}

TEST(ProxyHeader, TheLongestIdentityFits) {
  SpiffeId id{std::string(255, 't'), std::string(800, 'n'), std::string(900, 's')};
  const std::string header = proxy_header(address("10.0.0.1:1"), address("10.0.0.2:2"), &id);
  const auto at = [&header](size_t i) { return static_cast<unsigned char>(header[i]); };
  EXPECT_EQ(at(14) * 256U + at(15), header.size() - 16);
  EXPECT_TRUE(header.ends_with(id.to_string()));
}

learn::Workload workload(std::optional<learn::ApplicationTunnel> tunnel) {
  learn::Workload own;
  own.application_tunnel = tunnel;
  return own;
}

TEST(ApplicationTarget, WithoutTunnelItIsWhatWasAskedFor) {
  const auto own = workload(std::nullopt);
  const auto target = target_of_tunnel(own, address("10.0.0.1:15008"), address("10.0.0.1:80"));
  EXPECT_EQ(target.address, address("10.0.0.1:80"));
  EXPECT_FALSE(target.announced);
  EXPECT_FALSE(target_of_plain(own, address("10.0.0.1:80")).announced);
}

TEST(ApplicationTarget, ATunnelTakesAllOnItsPort) {
  const auto own = workload(learn::ApplicationTunnel{true, 15088});
  const auto target = target_of_tunnel(own, address("10.0.0.1:15008"), address("10.96.0.9:80"));
  EXPECT_EQ(target.address, address("10.0.0.1:15088"));
  EXPECT_EQ(target.asked, address("10.96.0.9:80"));
  EXPECT_TRUE(target.announced);
}

TEST(ApplicationTarget, ATunnelWithoutPortKeepsThePort) {
  const auto own = workload(learn::ApplicationTunnel{true, 0});
  const auto target = target_of_tunnel(own, address("10.0.0.1:15008"), address("10.0.0.1:80"));
  EXPECT_EQ(target.address, address("10.0.0.1:80"));
  EXPECT_TRUE(target.announced);
}

// Nobody in plain text may say on the tunnel's port who he is.
TEST(ApplicationTarget, PlainTextOnTheTunnelsPortIsAnnouncedToo) {
  const auto own = workload(learn::ApplicationTunnel{true, 15088});
  EXPECT_TRUE(target_of_plain(own, address("10.0.0.1:15088")).announced);
  EXPECT_FALSE(target_of_plain(own, address("10.0.0.1:8080")).announced);
  EXPECT_EQ(target_of_plain(own, address("10.0.0.1:8080")).address, address("10.0.0.1:8080"));
}

}  // namespace
}  // namespace weft::node
