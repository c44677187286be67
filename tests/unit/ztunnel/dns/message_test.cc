// Against messages that another implementation made (dnspython 2.3), and against what nobody should
// send.

#include "ztunnel/dns/message.h"

#include <gtest/gtest.h>

#include <chrono>

namespace weft::dns {
namespace {

std::string bytes_of(std::string_view hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  }
  return bytes;
}

// WEB.Shop.svc.cluster.local A, RD.
const std::string kQuery = bytes_of(
    "123401000001000000000000035745420453686f700373766307636c7573746572056c6f63616c00"
    "00010001");
// web.shop.svc.cluster.local AAAA, EDNS with 4096 bytes and DO.
const std::string kEdnsQuery = bytes_of(
    "123501000001000000000001037765620473686f700373766307636c7573746572056c6f63616c00"
    "001c00010000291000000080000000");
// The same name, A, EDNS version 1.
const std::string kEdns1Query = bytes_of(
    "123601000001000000000001037765620473686f700373766307636c7573746572056c6f63616c00"
    "0001000100002904d0000100000000");
// www.example.com -> CNAME web.cdn.example.net -> 192.0.2.1, 192.0.2.2; additional: 2001:db8::1.
const std::string kAnswer = bytes_of(
    "12378180000100030000000203777777076578616d706c6503636f6d0000010001c00c0005000100"
    "00012c0015037765620363646e076578616d706c65036e657400c02d000100010000003c0004c000"
    "0201c02d000100010000003c0004c0000202c02d001c00010000003c001020010db8000000000000"
    "0000000000010000292000000000000000");
// Two SRV records with compressed targets, and a TXT record.
const std::string kSrvAnswer = bytes_of(
    "123881000001000300000000055f68747470045f7463700264620473686f700373766307636c7573"
    "746572056c6f63616c0000210001c00c002100010000001e000d0000003200500464622d30c017c0"
    "0c002100010000001e000d0000003200500464622d31c017c00c001000010000001e00060568656c"
    "6c6f");
// NXDOMAIN with an SOA of example.com: ttl 3600, minimum 86.
const std::string kNxDomain = bytes_of(
    "123981030001000000010000076e6f7768657265076578616d706c6503636f6d0000010001c01400"
    "06000100000e100020026e73c01404726f6f74c0140000000100001c200000038400127500000000"
    "56");

IpAddress ip(std::string_view text) { return *IpAddress::parse(text); }
Name name(std::string_view text) { return *Name::parse(text); }

TEST(Message, AForeignQueryIsRead) {
  const auto query = read_query(kQuery);
  ASSERT_TRUE(query);
  EXPECT_EQ(query->header.id, 0x1234);
  EXPECT_TRUE(query->header.recursion_desired);
  EXPECT_EQ(query->question->name.to_text(), "WEB.Shop.svc.cluster.local");
  EXPECT_EQ(query->question->type, type::kA);
  EXPECT_EQ(query->question->klass, kClassIn);
  EXPECT_FALSE(query->edns);
  EXPECT_EQ(query->udp_bytes_max(), 512U);
}

TEST(Message, EdnsIsReadAndRepeated) {
  const auto query = read_query(kEdnsQuery);
  ASSERT_TRUE(query);
  EXPECT_EQ(query->edns->payload_bytes, 4096);
  EXPECT_TRUE(query->edns->dnssec_ok);
  EXPECT_EQ(query->udp_bytes_max(), kUdpBytesMax);
  const auto answer = parse(encode(answer_to(*query, Rcode::kNoError), 512));
  ASSERT_TRUE(answer);
  EXPECT_TRUE(answer->header.response && answer->header.recursion_available);
  EXPECT_EQ(answer->edns->payload_bytes, kUdpBytesMax);
  EXPECT_TRUE(answer->edns->dnssec_ok);
  EXPECT_TRUE(answer->question->same_as(*query->question));
}

TEST(Message, AnUnknownEdnsVersionIsToldSo) {
  const auto query = read_query(kEdns1Query);
  ASSERT_FALSE(query);
  const auto answer = parse(query.error());
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->header.rcode, Rcode::kBadVers);
  EXPECT_EQ(answer->edns->version, 0);
}

TEST(Message, AForeignAnswerIsRead) {
  const auto answer = parse(kAnswer);
  ASSERT_TRUE(answer) << answer.error().to_string();
  ASSERT_EQ(answer->answers.size(), 3U);
  EXPECT_EQ(answer->answers[0].name, name("www.example.com"));
  EXPECT_EQ(answer->answers[0].ttl_s, 300U);
  EXPECT_EQ(std::get<Alias>(answer->answers[0].data).target, name("web.cdn.example.net"));
  EXPECT_EQ(answer->answers[2].name, name("web.cdn.example.net"));
  EXPECT_EQ(std::get<IpAddress>(answer->answers[2].data), ip("192.0.2.2"));
  ASSERT_EQ(answer->additional.size(), 1U);
  EXPECT_EQ(std::get<IpAddress>(answer->additional[0].data), ip("2001:db8::1"));
  EXPECT_EQ(answer->edns->payload_bytes, 8192);
}

TEST(Message, OurOwnCompressionIsAsShortAsTheForeignOne) {
  auto answer = parse(kAnswer);
  ASSERT_TRUE(answer);
  EXPECT_EQ(encode(*answer, kMessageBytesMax), kAnswer);
}

TEST(Message, SrvIsReadAndWrittenWithoutCompressedTargets) {
  const auto answer = parse(kSrvAnswer);
  ASSERT_TRUE(answer) << answer.error().to_string();
  ASSERT_EQ(answer->answers.size(), 3U);
  const auto& location = std::get<Location>(answer->answers[1].data);
  EXPECT_EQ(location.port, 80);
  EXPECT_EQ(location.weight, 50);
  EXPECT_EQ(location.target, name("db-1.db.shop.svc.cluster.local"));
  EXPECT_EQ(std::get<Opaque>(answer->answers[2].data).type, 16);
  const std::string written = encode(*answer, kMessageBytesMax);
  const auto again = parse(written);
  ASSERT_TRUE(again);
  ASSERT_EQ(again->answers.size(), 2U);  // what cannot be carried over is left out
  EXPECT_EQ(std::get<Location>(again->answers[0].data).target,
            name("db-0.db.shop.svc.cluster.local"));
  EXPECT_NE(written.find(std::string(name("db-1.db.shop.svc.cluster.local").wire())),
            std::string::npos);
}

TEST(Message, HowLongNothingIsThere) {
  const auto answer = parse(kNxDomain);
  ASSERT_TRUE(answer) << answer.error().to_string();
  EXPECT_EQ(answer->header.rcode, Rcode::kNxDomain);
  ASSERT_TRUE(answer->denial);
  EXPECT_EQ(answer->denial->ttl_s, 86U);
  const auto again = parse(encode(*answer, kUdpBytesMin));
  ASSERT_TRUE(again) << again.error().to_string();
  ASSERT_TRUE(again->denial);
  EXPECT_EQ(again->denial->ttl_s, 86U);
  EXPECT_EQ(again->denial->zone, answer->denial->zone);
}

TEST(Message, ADenialThatDoesNotFitIsLeftOut) {
  Message message;
  message.question = Question{name("many.example.com"), type::kA, kClassIn};
  message.denial = Denial{name("example.com"), 30};
  for (uint32_t i = 0; i < 28; ++i) {
    message.answers.push_back({name("many.example.com"), 30, IpAddress::v4(0x0a000000 + i)});
  }
  const std::string written = encode(message, kUdpBytesMin);
  EXPECT_LE(written.size(), kUdpBytesMin);
  const auto again = parse(written);
  ASSERT_TRUE(again) << again.error().to_string();
  EXPECT_EQ(again->answers.size(), 28U);
  EXPECT_FALSE(again->header.truncated);
  EXPECT_FALSE(again->denial);
}

TEST(Message, WhatDoesNotFitIsCutAndMarked) {
  Message message;
  message.question = Question{name("many.example.com"), type::kA, kClassIn};
  message.edns = Edns{};
  for (uint32_t i = 0; i < 100; ++i) {
    message.answers.push_back({name("many.example.com"), 30, IpAddress::v4(0x0a000000 + i)});
  }
  const auto small = parse(encode(message, 512));
  ASSERT_TRUE(small);
  EXPECT_TRUE(small->header.truncated);
  EXPECT_EQ(small->answers.size(), (512U - 12 - 22 - 11) / 16);
  EXPECT_TRUE(small->edns);
  const auto whole = parse(encode(message, kMessageBytesMax));
  ASSERT_TRUE(whole);
  EXPECT_FALSE(whole->header.truncated);
  EXPECT_EQ(whole->answers.size(), 100U);
  // Additional records are a courtesy: leaving them out is not worth a second question.
  message.additional = std::move(message.answers);
  message.answers.clear();
  EXPECT_FALSE(parse(encode(message, 512))->header.truncated);
}

TEST(Message, NoAnswerIsAnswered) {
  EXPECT_TRUE(read_query("").error().empty());
  EXPECT_TRUE(read_query(kQuery.substr(0, 11)).error().empty());
  EXPECT_TRUE(read_query(kAnswer).error().empty());
}

TEST(Message, AnotherOpcodeIsPassedOn) {
  std::string update = kQuery.substr(0, 12) + "garbage";
  update[2] = 0x28;
  const auto query = read_query(update);
  ASSERT_TRUE(query);
  EXPECT_EQ(query->header.opcode, 5);
  EXPECT_FALSE(query->question);
}

TEST(Message, HostileMessagesAreRefused) {
  const std::string head = bytes_of("123401000001000000000000");
  const std::string tail = bytes_of("00010001");
  const std::vector<std::pair<std::string, std::string>> cases{
      {"no question", bytes_of("123401000000000000000000")},
      {"two questions", bytes_of("123401000002000000000000") + "\1a" + std::string(1, '\0') + tail +
                            "\1a" + std::string(1, '\0') + tail},
      {"a pointer to itself", head + bytes_of("c00c") + tail},
      {"a pointer forwards", head + bytes_of("c00e") + bytes_of("0161") + bytes_of("00") + tail},
      {"a pointer into the header", head + bytes_of("c004") + tail},
      {"a cut pointer", head + bytes_of("c0")},
      {"a label of another kind", head + bytes_of("4161") + bytes_of("00") + tail},
      {"a cut label", head + bytes_of("05") + "ab"},
      {"a name without an end", head + "\1a"},
      {"a name over 255 bytes",
       [&] {
         std::string long_name = head;
         for (int i = 0; i < 128; ++i) long_name += "\1a";
         return long_name + std::string(1, '\0') + tail;
       }()},
      {"a cut question", kQuery.substr(0, kQuery.size() - 1)},
      {"bytes behind the end", kQuery + "x"},
      {"a record that is missing", bytes_of("123401000001000000000001") + kQuery.substr(12)},
      {"a record over the end", bytes_of("123401000001000100000000") + kQuery.substr(12) +
                                    bytes_of("c00c000100010000001e0008") + "1234"},
      {"an A record of 5 bytes", bytes_of("123401000001000100000000") + kQuery.substr(12) +
                                     bytes_of("c00c000100010000001e0005") + "12345"},
      {"two OPT records", bytes_of("123401000001000000000002") + kQuery.substr(12) +
                              bytes_of("0000291000000080000000") +
                              bytes_of("0000291000000080000000")},
  };
  for (const auto& [what, bytes] : cases) {
    const auto query = read_query(bytes);
    ASSERT_FALSE(query) << what;
    const auto answer = parse(query.error());
    ASSERT_TRUE(answer) << what;
    EXPECT_EQ(answer->header.rcode, Rcode::kFormErr) << what;
    EXPECT_EQ(answer->header.id, 0x1234) << what;
  }
}

// A chain of pointers, entered by every record: the work must not grow with chain times records.
TEST(Message, ALadderOfPointersIsRefused) {
  std::string bytes = bytes_of("1234000000000fa000000000");
  const size_t first = bytes.size();
  bytes += bytes_of("00001000010000000000");
  bytes += bytes_of("00");  // data length 0x0000, then the ladder stands in the next record's data
  std::string ladder;
  for (size_t i = 0; i < 4000; ++i) {
    const size_t target = i == 0 ? first : first + 22 + 2 * (i - 1);
    ladder += static_cast<char>(0xc0U | target >> 8U);
    ladder += static_cast<char>(target & 0xffU);
  }
  bytes += ladder;
  EXPECT_FALSE(parse(bytes));
}

}  // namespace
}  // namespace weft::dns
