// A certificate request from a node that has a good token but is not to be trusted further: what
// the CA parses, and what it then signs.
#include "agent/identity/ca.h"
#include "tests/unit/agent/identity/temp_folder.h"
#include "ztunnel/base/check.h"

#include <cstddef>
#include <cstdint>

namespace {

const weft::identity::Authority& authority() {
  static const weft::TempFolder folder;
  static const auto made = weft::identity::Authority::open(folder.path(), "cluster.local");
  CHECK(made);
  return **made;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string pem(reinterpret_cast<const char*>(data), size);
  const auto identity = weft::identity::identity_in_csr(pem);
  const weft::SpiffeId other{"cluster.local", "fuzz", "nobody"};
  const auto refused = authority().sign(pem, other, std::chrono::hours(1));
  CHECK(!refused || identity == other);
  if (!identity) return 0;
  // What reads as a request for an identity of ours can be signed for exactly that.
  const auto chain = authority().sign(pem, *identity, std::chrono::hours(1));
  CHECK(chain.has_value() == (identity->trust_domain == "cluster.local"));
  return 0;
}
