// The cluster DNS responder of the sandbox, fed with whatever pods send it.

#include "agent/sandbox/dns_message.h"
#include "ztunnel/base/check.h"
#include "ztunnel/dns/message.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const weft::sandbox::Zone zone = {
      {"web.shop.svc.cluster.local", {"10.96.1.1", "not an address"}},
      {"many.shop.svc.cluster.local", std::vector<std::string>(200, "10.244.1.1")}};
  const std::string_view query(reinterpret_cast<const char*>(data), size);
  if (size > weft::sandbox::kDnsQueryBytesMax) return 0;
  const auto answer = weft::sandbox::answer_dns(query, zone, weft::sandbox::kDnsUdpBytesMax);
  if (!answer) return 0;
  CHECK(answer->size() <= weft::dns::kUdpBytesMax);
  CHECK(answer->compare(0, 2, query.substr(0, 2)) == 0);
  CHECK((static_cast<unsigned char>((*answer)[2]) & 0x80U) != 0);
  return 0;
}
