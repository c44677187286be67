#pragma once

#include "agent/sandbox/services.h"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace weft::sandbox {

// RFC 1035 section 4.2.1: what fits into UDP without EDNS; a longer answer is cut and marked TC.
constexpr size_t kDnsUdpBytesMax = 512;
// One pooled buffer holds it; room for a thousand endpoints.
constexpr size_t kDnsTcpBytesMax = 16384;
// What a question may be at most: header, one name of 255 bytes, and room for an EDNS record.
constexpr size_t kDnsQueryBytesMax = 4096;

// Answers one DNS query out of the zone, with authority: A and AAAA records for names in it, no
// data for other types, NXDOMAIN for other names. Nothing is asked upstream: the sandbox has no
// outside. Malformed: FORMERR where there is a header to answer to, else nothing. Longer than
// `answer_bytes_max` only as far as the query's EDNS says. Pure.
std::optional<std::string> answer_dns(std::string_view query, const Zone& zone,
                                      size_t answer_bytes_max);

}  // namespace weft::sandbox
