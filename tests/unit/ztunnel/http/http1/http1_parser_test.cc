#include "ztunnel/http/http1_parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::http::http1 {
namespace {

struct Case {
  std::string name;
  std::string bytes;
  int status;
};

std::string with_fields(const std::string& fields) {
  return "GET / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n";
}

const Case kMalformed[] = {
    {"LengthBesideChunked", with_fields("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"),
     400},
    {"TwoLengths", with_fields("Content-Length: 3\r\nContent-Length: 4\r\n"), 400},
    {"TwoEqualLengths", with_fields("Content-Length: 3\r\nContent-Length: 3\r\n"), 400},
    {"ListOfLengths", with_fields("Content-Length: 3, 3\r\n"), 400},
    {"SignedLength", with_fields("Content-Length: +3\r\n"), 400},
    {"NegativeLength", with_fields("Content-Length: -3\r\n"), 400},
    {"EmptyLength", with_fields("Content-Length:\r\n"), 400},
    {"HexadecimalLength", with_fields("Content-Length: 0x3\r\n"), 400},
    {"LengthPast64Bits", with_fields("Content-Length: 18446744073709551617\r\n"), 400},
    {"LengthPastTheBound", with_fields("Content-Length: 1048577\r\n"), 413},
    {"TwoCodings", with_fields("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
     400},
    {"UnknownCoding", with_fields("Transfer-Encoding: gzip, chunked\r\n"), 501},
    {"ObscuredCoding", with_fields("Transfer-Encoding: xchunked\r\n"), 501},
    {"CodingInOldVersion", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
    {"BareLineFeed", "GET / HTTP/1.1\nHost: a\n\n", 400},
    {"BareLineFeedInFields", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400},
    {"BareReturn", "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400},
    {"FoldedLine", with_fields("X: a\r\n b\r\n"), 400},
    {"FoldedFirstLine", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400},
    {"SpaceBeforeColon", with_fields("X : a\r\n"), 400},
    {"NoColon", with_fields("nonsense\r\n"), 400},
    {"EmptyName", with_fields(": a\r\n"), 400},
    {"NulInValue", with_fields(std::string("X: a\0b\r\n", 8)), 400},
    {"ControlInName", with_fields("X\x01: a\r\n"), 400},
    {"NoHost", "GET / HTTP/1.1\r\n\r\n", 400},
    {"TwoHosts", with_fields("Host: b\r\n"), 400},
    {"NoVersion", "GET /\r\n\r\n", 400},
    {"OldVersion", "GET / HTTP/0.9\r\n\r\n", 505},
    {"NewVersion", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
    {"LowerCaseVersion", "GET / http/1.1\r\nHost: a\r\n\r\n", 400},
    {"SpaceInTarget", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"TwoSpaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"RelativeTarget", "GET status HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"FragmentInTarget", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"HighByteInTarget", "GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"MethodNoToken", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"EmptyLineFirst", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"HeadPastTheBound", with_fields("X: " + std::string(20'000, 'a') + "\r\n"), 431},
    {"EndlessRequestLine", "GET /" + std::string(20'000, 'a'), 431},
    {"ChunkWithoutSize", with_fields("Transfer-Encoding: chunked\r\n") + "x\r\n", 400},
    {"NegativeChunk", with_fields("Transfer-Encoding: chunked\r\n") + "-1\r\n", 400},
    {"ChunkLongerThanItsSize", with_fields("Transfer-Encoding: chunked\r\n") + "1\r\nab\r\n", 400},
    {"ChunkPastTheBound", with_fields("Transfer-Encoding: chunked\r\n") + "FFFFFFF\r\n", 413},
    {"ChunkPast64Bits", with_fields("Transfer-Encoding: chunked\r\n") + "1FFFFFFFFFFFFFFFF\r\n",
     400},
    {"EndlessChunkLine", with_fields("Transfer-Encoding: chunked\r\n") + std::string(300, '0'),
     400},
    {"BareLineFeedInChunkLine", with_fields("Transfer-Encoding: chunked\r\n") + "1;\nx\r\na\r\n",
     400},
};

// Feeds all bytes, `step` at a time; stops at a request or a refusal.
Parsed<std::optional<IncomingRequest>> parse(RequestParser& parser, std::string_view bytes,
                                             size_t step) {
  while (!bytes.empty()) {
    parser.feed(bytes.substr(0, step));
    bytes.remove_prefix(std::min(step, bytes.size()));
    Parsed<std::optional<IncomingRequest>> got = parser.next();
    if (!got || *got) return got;
  }
  return std::nullopt;
}

class MalformedTest : public ::testing::TestWithParam<Case> {};

TEST_P(MalformedTest, IsRefusedHoweverItComes) {
  for (const size_t step : {size_t{1}, size_t{7}, size_t{100'000}}) {
    RequestParser parser;
    const auto got = parse(parser, GetParam().bytes, step);
    ASSERT_FALSE(got) << "in steps of " << step;
    EXPECT_EQ(got.error().status, GetParam().status) << got.error().reason;
    EXPECT_NE(got.error().reason, "");
  }
}

INSTANTIATE_TEST_SUITE_P(Request, MalformedTest, ::testing::ValuesIn(kMalformed),
                         [](const auto& info) { return info.param.name; });

TEST(RequestParserTest, ReadsARequestHoweverItComes) {
  const std::string bytes =
      "POST /logging?level=debug&x HTTP/1.1\r\nHOST: a\r\nContent-length: \t 5 \r\n\r\nhelloGET ";
  for (size_t step = 1; step < 20; ++step) {
    RequestParser parser;
    const auto got = parse(parser, bytes, step);
    ASSERT_TRUE(got && *got) << step;
    EXPECT_EQ((**got).request.method, "POST");
    EXPECT_EQ((**got).request.path, "/logging");
    EXPECT_EQ((**got).request.query, "level=debug&x");
    EXPECT_EQ((**got).request.body, "hello");
    EXPECT_TRUE((**got).keep_alive);
  }
}

TEST(RequestParserTest, ReadsPipelinedRequests) {
  RequestParser parser;
  parser.feed("GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\nGET");
  EXPECT_EQ(parser.next().value().value().request.path, "/a");
  EXPECT_EQ(parser.next().value().value().request.path, "/b");
  EXPECT_FALSE(parser.next().value());
}

TEST(RequestParserTest, ReadsAChunkedBody) {
  const std::string bytes = with_fields("Transfer-Encoding: CHUNKED\r\n") +
                            "5\r\nhello\r\n0B;x=\"y\"\r\n, friends!\n\r\n0\r\nTrailer: z\r\n\r\n";
  for (const size_t step : {size_t{1}, size_t{3}, bytes.size()}) {
    RequestParser parser;
    const auto got = parse(parser, bytes, step);
    ASSERT_TRUE(got) << got.error().reason;
    ASSERT_TRUE(*got);
    EXPECT_EQ((**got).request.body, "hello, friends!\n");
  }
}

TEST(RequestParserTest, TakesAbsoluteForm) {
  RequestParser parser;
  parser.feed("GET http://host:80/a?b HTTP/1.1\r\nHost: host\r\n\r\n");
  const IncomingRequest got = parser.next().value().value();
  EXPECT_EQ(got.request.path, "/a");
  EXPECT_EQ(got.request.query, "b");
}

TEST(RequestParserTest, KnowsWhenAConnectionGoesOn) {
  const auto keep_alive = [](const std::string& bytes) {
    RequestParser parser;
    parser.feed(bytes);
    return parser.next().value().value().keep_alive;
  };
  EXPECT_TRUE(keep_alive(with_fields("")));
  EXPECT_FALSE(keep_alive(with_fields("Connection: TE, Close\r\n")));
  EXPECT_FALSE(keep_alive("GET / HTTP/1.0\r\n\r\n"));
  EXPECT_TRUE(keep_alive("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
}

TEST(RequestParserTest, SaysWhenAClientWaitsToSendItsBody) {
  RequestParser parser;
  parser.feed(with_fields("Expect: 100-continue\r\nContent-Length: 2\r\n"));
  EXPECT_FALSE(parser.next().value());
  EXPECT_TRUE(parser.take_continue());
  EXPECT_FALSE(parser.take_continue());
  parser.feed("ab");
  EXPECT_EQ(parser.next().value().value().request.body, "ab");
}

TEST(RequestParserTest, BoundsTheNumberOfFields) {
  std::string fields;
  for (int i = 0; i < 100; ++i) fields += "X: y\r\n";
  RequestParser parser;
  parser.feed(with_fields(fields));
  EXPECT_EQ(parser.next().error().status, 431);
}

TEST(ResponseParserTest, ReadsEveryFraming) {
  const auto body_of = [](const std::string& bytes, bool ended) -> std::string {
    ResponseParser parser(false);
    parser.feed(bytes);
    auto got = parser.next();
    if (!got) return "refused: " + got.error().reason;
    if (*got) return (**got).body;
    if (!ended) return "more";
    auto whole = parser.end();
    return whole ? whole->body : "refused: " + whole.error().reason;
  };
  EXPECT_EQ(body_of("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc", false), "ab");
  EXPECT_EQ(body_of("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", false), "more");
  EXPECT_EQ(body_of("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", true),
            "refused: the connection ended within the response");
  EXPECT_EQ(body_of("HTTP/1.1 200\r\n\r\nabc", true), "abc");
  EXPECT_EQ(body_of("HTTP/1.1 204 No Content\r\n\r\nabc", false), "");
  EXPECT_EQ(
      body_of("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", false),
      "a");
  EXPECT_EQ(
      body_of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", false),
      "a");
  EXPECT_EQ(body_of("SSH-2.0-x\r\n\r\n", false),
            "refused: the status line is not \"HTTP/1.1 status reason\"");
  EXPECT_EQ(body_of("HTTP/1.1 20\r\n\r\n", false),
            "refused: the status line is not \"HTTP/1.1 status reason\"");
  EXPECT_EQ(body_of("HTTP/1.1 200OK\r\n\r\n", false),
            "refused: the status line is not \"HTTP/1.1 status reason\"");
}

TEST(ResponseParserTest, KnowsThatAnAnswerToHeadHasNoBody) {
  ResponseParser parser(true);
  parser.feed("HTTP/1.1 200 OK\r\nContent-Length: 20\r\nContent-Type: text/x\r\n\r\n");
  const Response got = parser.next().value().value();
  EXPECT_EQ(got.body, "");
  EXPECT_EQ(got.content_type, "text/x");
}

}  // namespace
}  // namespace weft::http::http1
