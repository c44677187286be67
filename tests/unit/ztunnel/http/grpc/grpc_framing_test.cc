#include "ztunnel/http/grpc_framing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::http {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

std::string framed(std::string_view message) {
  return message_prefix(message.size()) + std::string(message);
}

TEST(GrpcFraming, TheLengthIsInNetworkOrder) {
  EXPECT_EQ(message_prefix(0x01020304), std::string("\0\1\2\3\4", 5));
}

TEST(GrpcFraming, MessagesComeOutWhereverTheBytesAreCut) {
  const std::vector<std::string> messages{"", "a", std::string(300, 'b'), "", "the end"};
  std::string bytes;
  for (const std::string& message : messages) bytes += framed(message);
  for (size_t step = 1; step <= bytes.size(); ++step) {
    MessageReader reader(1000);
    std::vector<std::string> got;
    for (size_t at = 0; at < bytes.size(); at += step) {
      reader.feed(std::string_view(bytes).substr(at, step));
      while (true) {
        Result<std::optional<std::string>> next = reader.next();
        ASSERT_TRUE(next.has_value());
        if (!*next) break;
        got.push_back(**next);
      }
    }
    EXPECT_EQ(got, messages) << step;
    EXPECT_TRUE(reader.is_between_messages());
  }
}

TEST(GrpcFraming, AnEndWithinAMessageShows) {
  MessageReader reader(1000);
  reader.feed(framed("hello").substr(0, 3));
  EXPECT_FALSE(*reader.next());
  EXPECT_FALSE(reader.is_between_messages());
  reader.feed(framed("hello").substr(3, 4));
  EXPECT_FALSE(*reader.next());
  EXPECT_FALSE(reader.is_between_messages());
}

TEST(GrpcFraming, AMessageOverTheBoundIsRefusedByItsPrefix) {
  MessageReader reader(1000);
  reader.feed(message_prefix(1001));
  EXPECT_EQ(reader.next().error().code, Code::kLimit);
  MessageReader largest(1000);
  largest.feed(framed(std::string(1000, 'x')));
  EXPECT_EQ(**largest.next(), std::string(1000, 'x'));
}

TEST(GrpcFraming, ACompressedMessageIsRefused) {
  MessageReader reader(1000);
  reader.feed(std::string("\1\0\0\0\1x", 6));
  EXPECT_EQ(reader.next().error().code, Code::kUnsupported);
}

TEST(GrpcFraming, TimeoutsHaveAtMostEightDigits) {
  EXPECT_EQ(timeout_header(1500ms), "1500m");
  EXPECT_EQ(timeout_header(99'999'999ms), "99999999m");
  EXPECT_EQ(timeout_header(100'000'000ms), "100000S");
  EXPECT_EQ(timeout_header(-5ms), "0m");
}

TEST(GrpcFraming, AStatusInTheTrailersCounts) {
  const std::vector<Header> headers{{":status", "200"}, {"content-type", "application/grpc"}};
  EXPECT_FALSE(status_error(headers, {{"grpc-status", "0"}}).has_value());
  const auto error = status_error(headers, {{"grpc-status", "7"}, {"grpc-message", "no"}});
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->code, Code::kRefused);
  EXPECT_EQ(error->message, "PERMISSION_DENIED: no");
}

TEST(GrpcFraming, AStatusAloneInTheHeadersCounts) {
  const auto error =
      status_error({{":status", "200"}, {"grpc-status", "14"}, {"grpc-message", "later"}}, {});
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->code, Code::kUnavailable);
}

TEST(GrpcFraming, NoStatusIsAReset) {
  EXPECT_EQ(status_error({{":status", "200"}}, {})->code, Code::kReset);
}

TEST(GrpcFraming, StrangeStatusesAreErrors) {
  for (const char* text : {"x", "-1", "0x0", " 0", "99", "18446744073709551616", "0 "}) {
    EXPECT_TRUE(status_error({}, {{"grpc-status", text}}).has_value()) << text;
  }
}

TEST(GrpcFraming, MessagesArePercentDecodedAndBounded) {
  const auto said = [](std::string_view text) {
    return status_error({}, {{"grpc-status", "2"}, {"grpc-message", std::string(text)}})->message;
  };
  EXPECT_EQ(said("a%20b%E2%82%AC"), "UNKNOWN: a b\xe2\x82\xac");
  EXPECT_EQ(said("100% of %zz %4"), "UNKNOWN: 100% of %zz %4");
  EXPECT_LE(said(std::string(100'000, 'x')).size(), 5000U);
}

TEST(GrpcFraming, WhatIsNotGrpcIsSaid) {
  const std::vector<Header> good{{":status", "200"}, {"content-type", "application/grpc+proto"}};
  EXPECT_TRUE(check_response(good).has_value());
  EXPECT_EQ(check_response({{":status", "503"}}).error().code, Code::kUnavailable);
  EXPECT_EQ(check_response({{":status", "403"}}).error().code, Code::kRefused);
  EXPECT_THAT(check_response({{":status", "404"}}).error().message, HasSubstr("404"));
  EXPECT_FALSE(check_response({{":status", "200"}, {"content-type", "text/html"}}).has_value());
}

}  // namespace
}  // namespace weft::http
