// Arbitrary bytes as a snapshot. The checksum would stop nearly all, so they are also taken as the
// body of one whose checksum is right; what is accepted is applied as at a start.
#include "ztunnel/base/check.h"
#include "ztunnel/base/log.h"
#include "ztunnel/learn/snapshot.h"

#include <openssl/evp.h>

#include <cstddef>
#include <cstdint>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace weft::learn;
  weft::log::set_level(weft::log::Level::kError);
  weft::log::set_sink([](std::string_view) {});
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  static_cast<void>(decode_snapshot(bytes));
  std::string digest(32, '\0');
  EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(digest.data()), nullptr,
             EVP_sha256(), nullptr);
  const auto responses = decode_snapshot("weft-snapshot 1\n" + digest + bytes);
  if (!responses) {
    CHECK(!responses.error().message.empty());
    return 0;
  }
  CHECK(responses->size() == 2);
  StateBuilder builder("Kubernetes");
  for (const DeltaResponse& response : *responses) builder.apply(response);
  CHECK(builder.publish()->data().complete());
  // What it has read it can write, and read again.
  const auto again =
      encode_snapshot({builder.resources(kAuthorizationType), builder.resources(kAddressType)});
  CHECK(again && decode_snapshot(*again));
  return 0;
}
