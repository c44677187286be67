// Arbitrary bytes as parked identities: whatever is accepted has a key, a chain and an identity.
#include "ztunnel/base/check.h"
#include "ztunnel/base/log.h"
#include "ztunnel/learn/parking.h"

#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace weft::learn;
  weft::log::set_sink([](std::string_view) {});
  const auto parked = decode_parked({reinterpret_cast<const char*>(data), size},
                                    std::chrono::system_clock::from_time_t(1'700'000'000));
  if (!parked) {
    CHECK(!parked.error().message.empty());
    return 0;
  }
  for (const auto& one : *parked) {
    CHECK(!one->key_der.bytes().empty() && !one->chain_pem.empty() && !one->roots_pem.empty());
  }
  CHECK(encode_parked(*parked));
  return 0;
}
