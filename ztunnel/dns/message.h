#pragma once

#include "ztunnel/base/ip.h"
#include "ztunnel/base/result.h"
#include "ztunnel/dns/name.h"

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

// DNS messages (RFC 1035, EDNS by RFC 6891): bytes in, values out, and back. Pure.

namespace weft::dns {

constexpr uint16_t kDnsPort = 53;
constexpr size_t kHeaderBytes = 12;
// RFC 1035 section 4.2.1: what fits into UDP where the client says nothing about it.
constexpr size_t kUdpBytesMin = 512;
// What we announce and what our own answers over UDP are cut at, whatever a client allows: it
// passes every path unfragmented.
constexpr size_t kUdpBytesMax = 1232;
constexpr size_t kMessageBytesMax = 65535;  // TCP's length field

namespace type {
constexpr uint16_t kA = 1;
constexpr uint16_t kCname = 5;
constexpr uint16_t kSoa = 6;
constexpr uint16_t kAaaa = 28;
constexpr uint16_t kSrv = 33;
constexpr uint16_t kOpt = 41;
constexpr uint16_t kAny = 255;
}  // namespace type

constexpr uint16_t kClassIn = 1;

enum class Rcode : uint16_t {
  kNoError = 0,
  kFormErr = 1,
  kServFail = 2,
  kNxDomain = 3,
  kNotImp = 4,
  kRefused = 5,
  kBadVers = 16,  // its upper bits travel in the OPT record
};

struct Header {
  uint16_t id = 0;
  bool response = false;
  uint8_t opcode = 0;  // 0: QUERY
  bool authoritative = false;
  bool truncated = false;
  bool recursion_desired = false;
  bool recursion_available = false;
  bool authentic_data = false;
  bool checking_disabled = false;
  Rcode rcode = Rcode::kNoError;
};

struct Question {
  Name name;
  uint16_t type = 0;
  uint16_t klass = kClassIn;

  bool same_as(const Question& other) const {
    return type == other.type && klass == other.klass && name.same_as(other.name);
  }
};

struct Alias {  // CNAME
  Name target;
};

struct Location {  // SRV, RFC 2782
  uint16_t priority = 0;
  uint16_t weight = 0;
  uint16_t port = 0;
  Name target;
};

// A record of no type that we know, or not of class IN. Its data cannot be sent on elsewhere: names
// in it may point into the message that it came from.
struct Opaque {
  uint16_t type = 0;
};

struct Record {
  Name name;
  uint32_t ttl_s = 0;
  std::variant<IpAddress, Alias, Location, Opaque> data;  // an IpAddress is A, or AAAA
};

struct Edns {
  uint16_t payload_bytes = kUdpBytesMax;  // what the sender takes over UDP
  uint8_t version = 0;
  bool dnssec_ok = false;
};

// The SOA in the authority section: whose word it is that nothing is there, and for how long
// (RFC 2308).
struct Denial {
  Name zone;
  uint32_t ttl_s = 0;
};

struct Message {
  Header header;
  std::optional<Question> question;
  std::vector<Record> answers;
  std::vector<Record> additional;  // without OPT
  std::optional<Edns> edns;        // the OPT record
  std::optional<Denial> denial;
};

// kInvalid says what is wrong where: a name that does not end, a record that is cut, more than one
// question, bytes behind the end. Takes time in proportion to its size, whatever the pointers.
Result<Message> parse(std::string_view bytes);

// Writes at most `bytes_max` (at least kUdpBytesMin, at most kMessageBytesMax): answers that do not
// fit are left out and TC is set; additional records that do not fit are just left out. Opaque
// records are not written, nor of the authority section anything but a denial that fits.
std::string encode(const Message& message, size_t bytes_max);

// A message to be answered or to be sent on: a QUERY with one question, or anything of another
// opcode, of which only the header is read.
struct Query {
  Header header;
  std::optional<Question> question;  // absent: another opcode
  std::optional<Edns> edns;

  // What an answer over UDP may have.
  size_t udp_bytes_max() const;
};
// The error is what to say instead; empty: nothing (too short for a header, or itself an answer:
// two servers must not talk forever).
std::expected<Query, std::string> read_query(std::string_view bytes);

// An answer's frame: id, question (its case as it was asked), RD, RA, and our OPT where there was
// one.
Message answer_to(const Query& query, Rcode rcode);

// The id of a message of at least kHeaderBytes.
uint16_t id_of(std::string_view message);
void set_id(std::string& message, uint16_t id);

}  // namespace weft::dns
