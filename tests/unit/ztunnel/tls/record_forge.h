#pragma once

#include "ztunnel/base/check.h"
#include "ztunnel/tls/records.h"

#include <string>
#include <string_view>

// A peer that holds the right keys and puts anything into its records. For tests and fuzzers.

namespace weft::tls {

inline constexpr Suite kForgeSuite{.hash = "SHA256", .hash_bytes = 32, .key_bytes = 16};

inline TrafficKey forge_key(char of) {
  return TrafficKey::make(kForgeSuite, Secret(std::string(32, of)), nullptr).value();
}

class RecordForge {
 public:
  // `inner`: content, its type, padding. What a record holds once it is open.
  std::string sealed(std::string_view inner, std::string_view outer = {"\x17\x03\x03", 3}) {
    const size_t size = inner.size() + AesGcm::kTagBytes;
    std::string record(outer);
    record += static_cast<char>(size >> 8);
    record += static_cast<char>(size);
    const std::span<const uint8_t> pieces[] = {
        {reinterpret_cast<const uint8_t*>(inner.data()), inner.size()}};
    std::string body(size, '\0');
    CHECK(key_.cipher().seal(key_.take_nonce(),
                             {reinterpret_cast<const uint8_t*>(record.data()), record.size()},
                             pieces, reinterpret_cast<uint8_t*>(body.data())));
    return record + body;
  }
  std::string data(std::string_view text) { return sealed(std::string(text) + '\x17'); }
  std::string handshake(std::string_view text) { return sealed(std::string(text) + '\x16'); }
  std::string alert(int level, int alert) {
    return sealed(std::string{static_cast<char>(level), static_cast<char>(alert), '\x15'});
  }
  std::string key_update(int request) {
    std::string record = handshake(std::string("\x18\0\0\x01", 4) + static_cast<char>(request));
    CHECK(key_.renew());
    return record;
  }

 private:
  TrafficKey key_ = forge_key('p');
};

}  // namespace weft::tls
