// What two readers of HTTP/1.1 could understand differently, as tools and advisories describe it:
// each is refused with its status, however it comes, and nothing behind it is taken for a request.

#include "tests/unit/ztunnel/http/http1/http1_fixture.h"

#include <gmock/gmock.h>

namespace weft::http {
namespace {

using ::testing::StartsWith;

struct Case {
  std::string name;
  std::string bytes;
  int status;
};

std::string with_fields(const std::string& fields) {
  return "POST / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n";
}

std::string with_chunks(const std::string& chunks) {
  return with_fields("Transfer-Encoding: chunked\r\n") + chunks;
}

std::string many_fields(int count) {
  std::string fields;
  for (int i = 0; i < count; ++i) fields += "x-" + std::to_string(i) + ": y\r\n";
  return fields;
}

// Behind each stands a request that must not be seen.
const std::string kSmuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

const Case kRefused[] = {
    {"LengthThenChunked", with_fields("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"), 400},
    {"ChunkedThenLength", with_fields("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"), 400},
    {"TwoLengths", with_fields("Content-Length: 0\r\nContent-Length: 35\r\n"), 400},
    {"TwoEqualLengths", with_fields("Content-Length: 3\r\nContent-Length: 3\r\n"), 400},
    {"ListOfLengths", with_fields("Content-Length: 3, 3\r\n"), 400},
    {"SignedLength", with_fields("Content-Length: +3\r\n"), 400},
    {"NegativeLength", with_fields("Content-Length: -1\r\n"), 400},
    {"EmptyLength", with_fields("Content-Length: \r\n"), 400},
    {"HexadecimalLength", with_fields("Content-Length: 0x10\r\n"), 400},
    {"SpaceInLength", with_fields("Content-Length: 1 0\r\n"), 400},
    {"LengthPast64Bits", with_fields("Content-Length: 18446744073709551616\r\n"), 400},
    {"TwoCodings", with_fields("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
     400},
    {"IdentityCoding", with_fields("Transfer-Encoding: identity\r\n"), 501},
    {"ChunkedNotLast", with_fields("Transfer-Encoding: chunked, identity\r\n"), 501},
    {"CodingWithComma", with_fields("Transfer-Encoding: ,chunked\r\n"), 501},
    {"CodingWithVerticalTab",
     with_fields("Transfer-Encoding: \x0b"
                 "chunked\r\n"),
     400},
    {"CodingQuoted", with_fields("Transfer-Encoding: \"chunked\"\r\n"), 501},
    {"CodingObscured", with_fields("Transfer-Encoding: xchunked\r\n"), 501},
    {"CodingInOldVersion", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
    {"SpaceBeforeColon", with_fields("Transfer-Encoding : chunked\r\n"), 400},
    {"TabBeforeColon", with_fields("Content-Length\t: 3\r\n"), 400},
    {"SpaceBeforeName", with_fields(" Content-Length: 3\r\n"), 400},
    {"Folded", with_fields("X: a\r\n\tb\r\n"), 400},
    {"FoldedFirst", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400},
    {"NoColon", with_fields("nonsense\r\n"), 400},
    {"EmptyName", with_fields(": a\r\n"), 400},
    {"BareLineFeed", "GET / HTTP/1.1\nHost: a\n\n", 400},
    {"BareLineFeedBetween", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400},
    {"BareLineFeedAtTheEnd", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400},
    {"BareReturn", with_fields("X: a\rContent-Length: 3\r\n"), 400},
    {"BareReturnInLine", "GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"TwoReturns", "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", 400},
    {"NulInValue", with_fields(std::string("X: a\0b\r\n", 8)), 400},
    {"NulInName", with_fields(std::string("X\0: a\r\n", 7)), 400},
    {"DeleteInValue", with_fields("X: a\x7f\r\n"), 400},
    {"HighByteInName", with_fields("X\xe9: a\r\n"), 400},
    {"NoHost", "GET / HTTP/1.1\r\n\r\n", 400},
    {"EmptyHost", "GET / HTTP/1.1\r\nHost: \r\n\r\n", 400},
    {"TwoHosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
    {"TwoEqualHosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
    {"HostWithPath", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
    {"HostWithUser", "GET / HTTP/1.1\r\nHost: b@a\r\n\r\n", 400},
    {"HostWithSpace", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
    {"HostWithComma", "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 400},
    {"HostIsNotTheTargets", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"TargetWithUser", "GET http://b@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"ConnectionNamesHost", with_fields("Connection: close, host\r\n"), 400},
    {"ConnectionNamesLength", with_fields("Connection: content-length\r\n"), 400},
    {"ConnectionNamesAuthorization", with_fields("Connection: Authorization\r\n"), 400},
    {"TwoConnectionsThatName", with_fields("Connection: x-a\r\nConnection: x-b\r\n"), 400},
    {"NoVersion", "GET /\r\n\r\n", 400},
    {"OldVersion", "GET / HTTP/0.9\r\n\r\n", 505},
    {"NewVersion", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
    {"LowerCaseVersion", "GET / http/1.1\r\nHost: a\r\n\r\n", 400},
    {"VersionWithMore", "GET / HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"SpaceInTarget", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"TabInTarget", "GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"TwoSpaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"LeadingSpace", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"RelativeTarget", "GET status HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"OtherScheme", "GET gopher://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"Fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"HighByteInTarget", "GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"StarForGet", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"Connect", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501},
    {"MethodNoToken", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"TwoEmptyLines", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"UnknownExpect", with_fields("Expect: 200-ok\r\n"), 417},
    {"UpgradeWithBody",
     with_fields("Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n"), 400},
    {"HeadPastTheBound", with_fields("X: " + std::string(62'000, 'a') + "\r\n"), 431},
    {"EndlessLine", "GET /" + std::string(70'000, 'a'), 431},
    {"TooManyFields", with_fields(many_fields(101)), 431},
    {"ChunkSizeNoNumber", with_chunks("x\r\n"), 400},
    {"ChunkSizeEmpty", with_chunks("\r\n"), 400},
    {"ChunkSizeSigned", with_chunks("+1\r\na\r\n0\r\n\r\n"), 400},
    {"ChunkSizePrefixed", with_chunks("0x1\r\na\r\n0\r\n\r\n"), 400},
    {"ChunkSizeWithSpace", with_chunks("1 \r\na\r\n0\r\n\r\n"), 400},
    {"ChunkSizePast64Bits", with_chunks("10000000000000001\r\na\r\n0\r\n\r\n"), 400},
    {"ChunkSizeOfManyZeros", with_chunks(std::string(20, '0') + "1\r\na\r\n0\r\n\r\n"), 400},
    {"ChunkLongerThanItsSize", with_chunks("1\r\nab\r\n0\r\n\r\n"), 400},
    {"ChunkEndsWithLineFeed", with_chunks("1\r\na\n0\r\n\r\n"), 400},
    {"ChunkLineBareLineFeed", with_chunks("1\na\r\n0\r\n\r\n"), 400},
    {"ChunkLineBareReturn", with_chunks("1\r1\r\na\r\n0\r\n\r\n"), 400},
    {"ChunkExtensionWithLineFeed", with_chunks("1;a\nb\r\na\r\n0\r\n\r\n"), 400},
    {"ChunkExtensionEndless", with_chunks("1;" + std::string(300, 'a') + "\r\na\r\n0\r\n\r\n"),
     400},
    {"TrailerFolded", with_chunks("0\r\nX: a\r\n b\r\n\r\n"), 400},
    {"TrailerBareLineFeed", with_chunks("0\r\nX: a\n\r\n"), 400},
    {"TrailerFramesTheMessage", with_chunks("0\r\nContent-Length: 5\r\n\r\n"), 400},
    {"TrailerNamesAHost", with_chunks("0\r\nHost: b\r\n\r\n"), 400},
    {"TrailerBehindAChunkNamesAHost", with_chunks("1\r\na\r\n0\r\nHost: b\r\n\r\n"), 400},
    {"TrailerTooLong", with_chunks("0\r\nX: " + std::string(9'000, 'a') + "\r\n\r\n"), 400},
};

class Http1SmugglingTest : public testing::Http1Test, public ::testing::WithParamInterface<Case> {};

// Reads the body and answers what is wrong with it, as the waypoint does.
TEST_P(Http1SmugglingTest, IsRefusedHoweverItComes) {
  for (const size_t piece : {1U, 5U, 1U << 14}) {
    if (piece < 100 && GetParam().bytes.size() > 10'000) continue;
    const Answered got = answer_to(GetParam().bytes + kSmuggled, piece);
    EXPECT_EQ(got.bytes.find("/smuggled"), std::string::npos) << got.bytes;
    if (got.requests == 1) {
      EXPECT_EQ(got.bytes, "broken") << "the head was taken, so its body must have been refused";
      EXPECT_EQ(GetParam().status, 400);
    } else {
      EXPECT_EQ(got.requests, 0);
      EXPECT_THAT(got.bytes, StartsWith("HTTP/1.1 " + std::to_string(GetParam().status) + " "));
      EXPECT_NE(got.bytes.find("connection: close\r\n"), std::string::npos);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Request, Http1SmugglingTest, ::testing::ValuesIn(kRefused),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace weft::http
