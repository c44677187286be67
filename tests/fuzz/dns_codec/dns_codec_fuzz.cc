// DNS messages as anybody may send them: what can be read is written again and read again, and then
// says the same.

#include "ztunnel/base/check.h"
#include "ztunnel/dns/exchange.h"
#include "ztunnel/dns/framing.h"
#include "ztunnel/dns/message.h"

namespace {

using namespace weft;  // NOLINT: one file, one test

void check_query(std::string_view bytes) {
  const auto query = dns::read_query(bytes);
  if (!query) {
    CHECK(query.error().empty() || query.error().compare(0, 2, bytes.substr(0, 2)) == 0);
    CHECK(query.error().empty() || dns::parse(query.error())->header.response);
    return;
  }
  if (query->header.opcode != 0) return;
  const std::string answer = encode(dns::answer_to(*query, dns::Rcode::kNxDomain), 512);
  CHECK(dns::answers(answer, bytes));
}

void check_again(const dns::Message& message, size_t bytes_max) {
  const std::string written = encode(message, bytes_max);
  CHECK(written.size() <= bytes_max);
  const auto again = dns::parse(written);
  CHECK(again);
  CHECK(again->header.id == message.header.id);
  CHECK(again->question.has_value() == message.question.has_value());
  if (message.question) CHECK(again->question->name == message.question->name);
  CHECK(again->answers.size() <= message.answers.size());
  CHECK(again->edns.has_value() == message.edns.has_value());
  for (const dns::Record& record : again->answers) {
    CHECK(*dns::Name::parse("x") != record.name || record.name.key() == "x");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (size > dns::kMessageBytesMax) return 0;
  check_query(bytes);
  if (const auto message = dns::parse(bytes)) {
    check_again(*message, dns::kUdpBytesMin);
    check_again(*message, dns::kMessageBytesMax);
  }
  dns::Deframer deframer;
  for (const char byte : bytes) deframer.push({&byte, 1});
  while (deframer.next()) {
  }
  return 0;
}
