// Arbitrary bytes as a snapshot. The checksum would stop nearly all, so they are also taken as a
// change whose checksum is right, and as what is cut off behind it; what is accepted is applied as
// at a start.
#include "ztunnel/base/check.h"
#include "ztunnel/base/log.h"
#include "ztunnel/learn/snapshot.h"

#include <cstddef>
#include <cstdint>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace weft::learn;
  weft::log::set_level(weft::log::Level::kError);
  weft::log::set_sink([](std::string_view) {});
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  static_cast<void>(decode_snapshot(bytes));
  const auto responses = decode_snapshot(encode_snapshot({}) + encode_record('d', bytes) + bytes);
  if (!responses) {
    CHECK(!responses.error().message.empty());
    return 0;
  }
  CHECK(responses->size() >= 3);
  StateBuilder builder("Kubernetes");
  for (const DeltaResponse& response : *responses) builder.apply(response);
  CHECK(builder.publish()->data().complete());
  // What it has read it can write, and read again.
  CHECK(decode_snapshot(
      encode_snapshot({builder.resources(kAuthorizationType), builder.resources(kAddressType)})));
  return 0;
}
