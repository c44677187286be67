#include "ztunnel/dns/message.h"

#include <algorithm>

namespace weft::dns {
namespace {

// So that a client which sent what nobody can read knows whom the complaint is for.
Header header_of_answer(const Header& asked, Rcode rcode) {
  Header header;
  header.id = asked.id;
  header.response = true;
  header.opcode = asked.opcode;
  header.recursion_desired = asked.recursion_desired;
  header.recursion_available = true;
  header.checking_disabled = asked.checking_disabled;
  header.rcode = rcode;
  return header;
}

}  // namespace

size_t Query::udp_bytes_max() const {
  if (!edns) return kUdpBytesMin;
  return std::clamp<size_t>(edns->payload_bytes, kUdpBytesMin, kUdpBytesMax);
}

std::expected<Query, std::string> read_query(std::string_view bytes) {
  if (bytes.size() < kHeaderBytes) return std::unexpected(std::string());
  // A message of nothing but the header: what can be said of one whose rest cannot be read.
  std::string head(bytes.substr(0, 4));
  head.resize(kHeaderBytes);
  const Result<Message> bare = parse(head);
  const Header& header = bare->header;
  if (header.response) return std::unexpected(std::string());
  Query query{header, std::nullopt, std::nullopt};
  if (header.opcode != 0) return query;

  Result<Message> message = parse(bytes);
  if (!message || !message->question) {
    Message complaint;
    complaint.header = header_of_answer(header, Rcode::kFormErr);
    return std::unexpected(encode(complaint, kUdpBytesMin));
  }
  query.question = std::move(message->question);
  query.edns = message->edns;
  if (query.edns && query.edns->version > 0) {
    return std::unexpected(encode(answer_to(query, Rcode::kBadVers), kUdpBytesMin));
  }
  return query;
}

Message answer_to(const Query& query, Rcode rcode) {
  Message answer;
  answer.header = header_of_answer(query.header, rcode);
  answer.question = query.question;
  if (query.edns) answer.edns = Edns{kUdpBytesMax, 0, query.edns->dnssec_ok};
  return answer;
}

uint16_t id_of(std::string_view message) {
  return static_cast<uint16_t>((static_cast<unsigned char>(message[0]) << 8U) |
                               static_cast<unsigned char>(message[1]));
}

void set_id(std::string& message, uint16_t id) {
  message[0] = static_cast<char>(id >> 8U);
  message[1] = static_cast<char>(id & 0xffU);
}

}  // namespace weft::dns
