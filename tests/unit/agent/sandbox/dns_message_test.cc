#include "agent/sandbox/dns_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::sandbox {
namespace {

const Zone kZone = {{"web.shop.svc.cluster.local", {"10.96.1.1"}},
                    {"both.shop.svc.cluster.local", {"10.96.1.2", "fd00:10:96::102"}},
                    {"nobody.shop.svc.cluster.local", {}}};

std::string query(const std::string& name, uint16_t type = 1, uint16_t klass = 1) {
  std::string out("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", 12);
  for (size_t at = 0; at < name.size();) {
    const size_t end = std::min(name.find('.', at), name.size());
    out += static_cast<char>(end - at);
    out += name.substr(at, end - at);
    at = end + 1;
  }
  out += '\0';
  for (const uint16_t number : {type, klass}) {
    out += static_cast<char>(number >> 8);
    out += static_cast<char>(number & 0xff);
  }
  return out;
}

struct Answer {
  int rcode;
  int answers;
  bool truncated;
};
Answer head_of(const std::optional<std::string>& answer) {
  EXPECT_TRUE(answer && answer->size() >= 12);
  EXPECT_EQ(answer->substr(0, 2), "\x12\x34");
  return {
      (*answer)[3] & 0x0f,
      (static_cast<unsigned char>((*answer)[6]) << 8) | static_cast<unsigned char>((*answer)[7]),
      ((*answer)[2] & 0x02) != 0};
}

TEST(Dns, AnswersAName) {
  const auto answer = answer_dns(query("web.shop.svc.cluster.local"), kZone, kDnsUdpBytesMax);
  EXPECT_EQ(head_of(answer).rcode, 0);
  EXPECT_EQ(head_of(answer).answers, 1);
  EXPECT_EQ(answer->substr(answer->size() - 4), std::string("\x0a\x60\x01\x01"));
}

TEST(Dns, NamesHaveNoCase) {
  EXPECT_EQ(head_of(answer_dns(query("WEB.shop.SVC.Cluster.Local"), kZone, 512)).answers, 1);
}

TEST(Dns, AKnownNameHasNoDataOfOtherTypes) {
  const auto aaaa = answer_dns(query("web.shop.svc.cluster.local", 28), kZone, 512);
  EXPECT_EQ(head_of(aaaa).rcode, 0);
  EXPECT_EQ(head_of(aaaa).answers, 0);
  EXPECT_EQ(head_of(answer_dns(query("nobody.shop.svc.cluster.local"), kZone, 512)).rcode, 0);
}

TEST(Dns, EachTypeGetsItsOwnAddresses) {
  const auto of = [](uint16_t type) {
    return answer_dns(query("both.shop.svc.cluster.local", type), kZone, 512);
  };
  EXPECT_EQ(head_of(of(1)).answers, 1);
  EXPECT_EQ(head_of(of(28)).answers, 1);
  EXPECT_EQ(head_of(of(255)).answers, 2);
  EXPECT_EQ(
      of(28)->substr(of(28)->size() - 18),
      std::string("\x00\x10\xfd\x00\x00\x10\x00\x96\x00\x00\x00\x00\x00\x00\x00\x00\x01\x02", 18));
}

TEST(Dns, OtherNamesDoNotExist) {
  EXPECT_EQ(head_of(answer_dns(query("example.com"), kZone, 512)).rcode, 3);
  EXPECT_EQ(head_of(answer_dns(query(""), kZone, 512)).rcode, 3);
}

TEST(Dns, RefusesWhatIsNotOfTheInternet) {
  EXPECT_EQ(head_of(answer_dns(query("web.shop.svc.cluster.local", 1, 3), kZone, 512)).rcode, 5);
}

TEST(Dns, ALongAnswerIsCutAndSaysSo) {
  Zone zone;
  for (int i = 0; i < 100; ++i) zone["many.a.svc.cluster.local"].push_back("10.244.1.1");
  const auto udp = answer_dns(query("many.a.svc.cluster.local"), zone, kDnsUdpBytesMax);
  EXPECT_LE(udp->size(), kDnsUdpBytesMax);
  EXPECT_TRUE(head_of(udp).truncated);
  const auto tcp = answer_dns(query("many.a.svc.cluster.local"), zone, kDnsTcpBytesMax);
  EXPECT_FALSE(head_of(tcp).truncated);
  EXPECT_EQ(head_of(tcp).answers, 100);
}

TEST(Dns, Malformed) {
  EXPECT_EQ(answer_dns("short", kZone, 512), std::nullopt);
  std::string answer = query("web.shop.svc.cluster.local");
  answer[2] = static_cast<char>(0x81);  // is an answer itself
  EXPECT_EQ(answer_dns(answer, kZone, 512), std::nullopt);
  std::string update = query("web.shop.svc.cluster.local");
  update[2] = 0x28;  // opcode 5
  EXPECT_EQ(head_of(answer_dns(update, kZone, 512)).rcode, 4);
  const std::string whole = query("web.shop.svc.cluster.local");
  for (size_t length = 12; length < whole.size(); ++length) {
    EXPECT_EQ(head_of(answer_dns(whole.substr(0, length), kZone, 512)).rcode, 1) << length;
  }
  std::string pointer = whole.substr(0, 12) + std::string("\xc0\x0c\x00\x01\x00\x01", 6);
  EXPECT_EQ(head_of(answer_dns(pointer, kZone, 512)).rcode, 1);
  std::string two = whole;
  two[5] = 2;  // questions
  EXPECT_EQ(head_of(answer_dns(two, kZone, 512)).rcode, 1);
}

}  // namespace
}  // namespace weft::sandbox
