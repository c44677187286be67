// Arbitrary bytes as a file of CRLs: read or refused with a reason, never a crash.
#include "ztunnel/base/check.h"
#include "ztunnel/tls/revocation.h"

#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using weft::tls::RevocationList;
  const auto list =
      RevocationList::parse(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!list) {
    CHECK(!list.error().message.empty());
    return 0;
  }
  CHECK(!(*list)->revokes({}));
  return 0;
}
