// A peer that holds the right keys and puts anything into its records. The first byte chooses our
// side (bit 0) and the size of the pieces that come (the rest); then follow orders: a kind, a
// length and as many bytes. Plain text must come out as it was put in, and no storage may stay
// behind.
#include "tests/unit/ztunnel/tls/record_forge.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace {

using namespace weft::tls;
using weft::runtime::Buffer;
using weft::runtime::BufferPool;

struct Script {
  std::string bytes;  // what is sent
  std::string plain;  // what may come out of it at most
};

Script read_script(std::string_view orders) {
  Script script;
  RecordForge peer;
  while (orders.size() >= 3) {
    const size_t wanted = static_cast<size_t>(static_cast<uint8_t>(orders[1])) << 8U |
                          static_cast<uint8_t>(orders[2]);
    const int kind = orders[0] & 7;
    orders.remove_prefix(3);
    const std::string_view text = orders.substr(0, wanted);
    orders.remove_prefix(text.size());
    switch (kind) {
      case 0:
        script.bytes += text;
        break;
      case 1:
        script.bytes += peer.sealed(text);
        // Whatever of it is application data.
        script.plain += text;
        break;
      case 2:
        script.bytes += peer.key_update(static_cast<int>(wanted & 3U));
        break;
      case 3:
        script.bytes += peer.handshake(text);
        break;
      case 4:
        script.bytes += peer.alert(1, static_cast<int>(wanted & 0xffU));
        break;
      default:
        script.bytes += peer.data(text);
        script.plain += text;
        break;
    }
  }
  return script;
}

// All that is opened; stops at the first error or end.
std::string open_all(Records& records, BufferPool& pool, std::string_view bytes, size_t step) {
  std::string plain;
  while (!bytes.empty()) {
    const std::string_view part = bytes.substr(0, step);
    bytes.remove_prefix(part.size());
    records.feed(pool.copy_of(part));
    while (true) {
      weft::Result<std::optional<Buffer>> some = records.open();
      if (!some) {
        CHECK(!some.error().message.empty() && !records.open());
        return plain;
      }
      if (!*some) break;
      if ((*some)->empty()) return plain;
      CHECK((*some)->size() <= Records::kPlainBytesMax);
      plain += (*some)->text();
    }
  }
  return plain;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const Script script = read_script({reinterpret_cast<const char*>(data + 1), size - 1});
  BufferPool pool;
  {
    Outgoing outgoing(pool);
    const Records::Side side = data[0] % 2 == 0 ? Records::Side::kServer : Records::Side::kClient;
    Records records(side, forge_key('o'), forge_key('p'), Records::kPerKeyMax, pool, outgoing);
    const size_t step = std::max<size_t>(1, size_t{data[0]} * 100);
    const std::string plain = open_all(records, pool, script.bytes, step);
    CHECK(plain.size() <= script.plain.size());
    Buffer answer = pool.copy_of("answer");
    static_cast<void>(records.seal({&answer, 1}));
    static_cast<void>(records.end());
  }
  CHECK(pool.in_use() == 0);
  return 0;
}
