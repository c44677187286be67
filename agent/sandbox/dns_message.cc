#include "agent/sandbox/dns_message.h"

#include "ztunnel/base/ip.h"

#include <algorithm>
#include <cstdint>

namespace weft::sandbox {

namespace {

constexpr size_t kHeaderBytes = 12;
constexpr uint16_t kTypeA = 1;
constexpr uint16_t kTypeAaaa = 28;
constexpr uint16_t kTypeAny = 255;
constexpr uint16_t kClassIn = 1;
constexpr uint32_t kTtlSeconds = 5;  // as Kubernetes' cluster DNS

enum Rcode : uint16_t { kNoError = 0, kFormErr = 1, kNxDomain = 3, kNotImp = 4, kRefused = 5 };

uint16_t get16(std::string_view bytes, size_t at) {
  return static_cast<uint16_t>((static_cast<unsigned char>(bytes[at]) << 8) |
                               static_cast<unsigned char>(bytes[at + 1]));
}

void put16(std::string& out, uint16_t value) {
  out += static_cast<char>(value >> 8);
  out += static_cast<char>(value & 0xff);
}

void put32(std::string& out, uint32_t value) {
  put16(out, static_cast<uint16_t>(value >> 16));
  put16(out, static_cast<uint16_t>(value));
}

struct Question {
  std::string name;  // lower case, without the last dot
  uint16_t type = 0;
  uint16_t klass = 0;
  std::string_view wire;  // as it was asked, to be repeated
};

// A question's name has no compression pointer: there is nothing before it to point to.
std::optional<Question> parse_question(std::string_view query) {
  Question question;
  size_t at = kHeaderBytes;
  while (true) {
    if (at >= query.size()) return std::nullopt;
    const size_t length = static_cast<unsigned char>(query[at]);
    ++at;
    if (length == 0) break;
    if (length > 63 || at + length > query.size()) return std::nullopt;
    if (!question.name.empty()) question.name += '.';
    for (const char c : query.substr(at, length)) {
      question.name += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
    at += length;
    if (question.name.size() > 253) return std::nullopt;
  }
  if (at + 4 > query.size()) return std::nullopt;
  question.type = get16(query, at);
  question.klass = get16(query, at + 2);
  question.wire = query.substr(kHeaderBytes, at + 4 - kHeaderBytes);
  return question;
}

std::string record_of(const IpAddress& address) {
  const std::string bytes = address.to_bytes();
  std::string out;
  put16(out, 0xc000U | kHeaderBytes);  // the question's name
  put16(out, address.is_v4() ? kTypeA : kTypeAaaa);
  put16(out, kClassIn);
  put32(out, kTtlSeconds);
  put16(out, static_cast<uint16_t>(bytes.size()));
  return out + bytes;
}

// Of the type that was asked for.
std::vector<IpAddress> select(const std::vector<std::string>& addresses, uint16_t type) {
  std::vector<IpAddress> selected;
  for (const std::string& text : addresses) {
    const auto address = IpAddress::parse(text);
    if (!address) continue;
    const uint16_t own = address->is_v4() ? kTypeA : kTypeAaaa;
    if (type == own || type == kTypeAny) selected.push_back(*address);
  }
  return selected;
}

std::string make_answer(std::string_view query, Rcode rcode, const Question* question,
                        const std::vector<IpAddress>& addresses, size_t bytes_max) {
  std::string records;
  size_t fit = 0;
  const size_t fixed = kHeaderBytes + (question != nullptr ? question->wire.size() : 0);
  for (; fit < addresses.size(); ++fit) {
    const std::string record = record_of(addresses[fit]);
    if (fixed + records.size() + record.size() > bytes_max) break;
    records += record;
  }
  const bool truncated = fit < addresses.size();
  const auto asked = get16(query, 2);
  // QR, the opcode as asked, AA, TC, RD as asked.
  const auto flags = static_cast<uint16_t>(0x8400U | (asked & 0x7900U) | (truncated ? 0x0200U : 0) |
                                           static_cast<uint16_t>(rcode));
  std::string out(query.substr(0, 2));
  put16(out, flags);
  put16(out, question != nullptr ? 1 : 0);
  put16(out, static_cast<uint16_t>(fit));
  put32(out, 0);  // no authority, no additional records
  if (question != nullptr) out += question->wire;
  return out + records;
}

}  // namespace

std::optional<std::string> answer_dns(std::string_view query, const Zone& zone,
                                      size_t answer_bytes_max) {
  if (query.size() < kHeaderBytes) return std::nullopt;
  const uint16_t flags = get16(query, 2);
  if ((flags & 0x8000U) != 0) return std::nullopt;  // an answer: two servers must not talk forever
  if ((flags & 0x7800U) != 0) return make_answer(query, kNotImp, nullptr, {}, answer_bytes_max);
  const auto question = get16(query, 4) == 1 ? parse_question(query) : std::nullopt;
  if (!question) return make_answer(query, kFormErr, nullptr, {}, answer_bytes_max);
  if (question->klass != kClassIn) {
    return make_answer(query, kRefused, &*question, {}, answer_bytes_max);
  }
  const auto found = zone.find(question->name);
  if (found == zone.end()) {
    return make_answer(query, kNxDomain, &*question, {}, answer_bytes_max);
  }
  return make_answer(query, kNoError, &*question, select(found->second, question->type),
                     answer_bytes_max);
}

}  // namespace weft::sandbox
