#include "agent/sandbox/dns_message.h"

#include "ztunnel/dns/message.h"

#include <algorithm>

namespace weft::sandbox {

namespace {

constexpr uint32_t kTtlSeconds = 5;  // as Kubernetes' cluster DNS

dns::Message answer_query(const dns::Query& query, const Zone& zone) {
  if (!query.question) return answer_to(query, dns::Rcode::kNotImp);
  const dns::Question& question = *query.question;
  if (question.klass != dns::kClassIn) return answer_to(query, dns::Rcode::kRefused);
  const auto found = zone.find(question.name.key());
  if (found == zone.end()) return answer_to(query, dns::Rcode::kNxDomain);
  dns::Message answer = answer_to(query, dns::Rcode::kNoError);
  for (const std::string& text : found->second) {
    const auto address = IpAddress::parse(text);
    if (!address) continue;
    const uint16_t type = address->is_v4() ? dns::type::kA : dns::type::kAaaa;
    if (question.type != type && question.type != dns::type::kAny) continue;
    answer.answers.push_back({question.name, kTtlSeconds, *address});
  }
  return answer;
}

}  // namespace

std::optional<std::string> answer_dns(std::string_view query, const Zone& zone,
                                      size_t answer_bytes_max) {
  const auto read = dns::read_query(query);
  if (!read) return read.error().empty() ? std::nullopt : std::optional(read.error());
  dns::Message answer = answer_query(*read, zone);
  answer.header.authoritative = true;
  return encode(answer, std::max(answer_bytes_max, read->udp_bytes_max()));
}

}  // namespace weft::sandbox
