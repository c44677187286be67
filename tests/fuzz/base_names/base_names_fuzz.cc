// What peers and configuration name things by: addresses, prefixes, identities. Whatever is taken
// must come out again as the same value.

#include "ztunnel/base/check.h"
#include "ztunnel/base/ip.h"
#include "ztunnel/base/spiffe_id.h"

#include <string_view>

namespace weft {
namespace {

void try_address(std::string_view text) {
  const Result<SocketAddress> address = SocketAddress::parse(text);
  if (!address) {
    CHECK(address.error().code == Code::kInvalid && address.error().message.size() < 512);
    return;
  }
  CHECK(SocketAddress::parse(address->to_string()) == *address);
  sockaddr_storage raw{};
  address->to_sockaddr(raw);
  CHECK(SocketAddress::from_sockaddr(raw) == *address);
  CHECK(IpAddress::from_bytes(address->ip.to_bytes()) == address->ip);
}

void try_cidr(std::string_view text) {
  const Result<Cidr> cidr = Cidr::parse(text);
  if (!cidr) return;
  CHECK(Cidr::parse(cidr->to_string()) == *cidr);
  CHECK(cidr->contains(cidr->address()));
}

void try_identity(std::string_view text) {
  const Result<SpiffeId> id = SpiffeId::parse(text);
  if (id) CHECK(id->to_string() == text);
}

}  // namespace
}  // namespace weft

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  weft::try_address(text);
  weft::try_cidr(text);
  weft::try_identity(text);
  static_cast<void>(weft::IpAddress::from_bytes(text));
  return 0;
}
