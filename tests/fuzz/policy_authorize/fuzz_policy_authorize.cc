// Arbitrary bytes as an Authorization: compiled or refused with a reason, never a crash; and a
// policy with a caveat never lets anyone in.
#include "ztunnel/base/check.h"
#include "ztunnel/policy/authorize.h"

#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace weft;
  istio::security::Authorization resource;
  if (!resource.ParseFromArray(data, static_cast<int>(size))) return 0;
  const auto compiled = policy::compile(resource);
  if (!compiled) {
    CHECK(!compiled.error().message.empty());
    return 0;
  }
  policy::Connection connection;
  connection.source_ip = IpAddress::v4(0x0a010203);
  connection.destination = {IpAddress::v4(0x0a010204), 8080};
  for (const bool identified : {false, true}) {
    if (identified) connection.source = SpiffeId{"td", "ns", "sa"};
    const auto verdict = policy::authorize({*compiled}, connection);
    CHECK(verdict.allowed == verdict.reason.empty());
    if (!policy::caveat_of(**compiled).empty() && !resource.dry_run()) CHECK(!verdict.allowed);
  }
  return 0;
}
