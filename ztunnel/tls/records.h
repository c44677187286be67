#pragma once

#include "ztunnel/base/result.h"
#include "ztunnel/runtime/buffer.h"
#include "ztunnel/tls/outgoing.h"
#include "ztunnel/tls/traffic_key.h"

#include <array>
#include <cstdint>
#include <optional>
#include <span>

namespace weft::tls {

// TLS 1.3 behind the handshake (RFC 8446, 5 and 4.6): records in and out, key updates, alerts, the
// end. No I/O. Plain text is opened where its record was received and handed out from there; what
// is sealed is read once, from where it lies, into the buffer that is sent. That, and AES-GCM by
// vector instructions, is why this is not OpenSSL's. Internal to the room.
class Records {
 public:
  // AES-GCM keeps its guarantees for 2^24.5 full records under one key (RFC 8446 section 5.5): we
  // change ours well before. 128 GiB of full records.
  static constexpr uint64_t kPerKeyMax = 1ULL << 23;
  // A peer's key updates cost us some 10 us each. One that makes so many and gives us no reason to
  // write in between is flooding: at one in 128 GiB that were 19 TiB.
  static constexpr int kUpdatesMax = 150;
  // Records without content in a row, which cost a peer nothing; as OpenSSL bounds them.
  static constexpr int kEmptyMax = 32;
  static constexpr size_t kPlainBytesMax = 16 * 1024;

  enum class Side { kClient, kServer };

  Records(Side side, TrafficKey ours, TrafficKey peers, uint64_t records_per_key,
          runtime::BufferPool& pool, Outgoing& outgoing)
      : side_(side),
        ours_(std::move(ours)),
        peers_(std::move(peers)),
        records_per_key_(records_per_key),
        pool_(pool),
        outgoing_(outgoing) {}

  // Into records of 16 KiB, the last one shorter, across the pieces' borders. The pieces are empty
  // then.
  Result<void> seal(std::span<runtime::Buffer> pieces);
  // The next ciphertext, once open() has used up what was fed before.
  void feed(runtime::Buffer ciphertext);
  // The plain text of one record; nothing: feed more; an empty buffer: the peer said close_notify.
  // An error is for good; what the peer is told of it is outgoing.
  Result<std::optional<runtime::Buffer>> open();
  Result<void> end();  // close_notify; only open() is left after it

 private:
  static constexpr size_t kHeaderBytes = 5;
  static constexpr size_t kPiecesMax = 32;  // that one record is gathered from
  using Parts = std::array<std::span<const uint8_t>, kPiecesMax + 1>;  // and the inner type

  Result<void> before_writing();
  Result<size_t> seal_record(std::span<runtime::Buffer> pieces);
  Result<void> write(uint8_t type, Parts& parts, size_t count, size_t size);
  Result<void> say(uint8_t type, std::span<const uint8_t> message);
  Result<std::optional<runtime::Buffer>> next_record();
  Result<size_t> record_bytes(const runtime::Buffer& begins);
  bool complete(size_t bytes);
  Result<std::optional<runtime::Buffer>> open_record(runtime::Buffer record);
  Result<void> take_alert(std::span<const uint8_t> alert);
  Result<void> take_handshake(std::span<const uint8_t> bytes);
  Result<void> take_header();
  Result<void> follow_update(uint8_t request);
  Fail broken(int alert, Error error);

  Side side_;
  TrafficKey ours_;
  TrafficKey peers_;
  uint64_t records_per_key_;
  runtime::BufferPool& pool_;
  Outgoing& outgoing_;
  runtime::Buffer incoming_;
  runtime::Buffer partial_;  // a record whose rest has not come
  // A handshake message that comes: its header, and how much of its body is still to come.
  std::array<uint8_t, 4> message_{};
  size_t message_header_bytes_ = 0;
  size_t message_left_ = 0;
  int empty_in_a_row_ = 0;
  int updates_ = 0;          // of the peer, since the last write
  bool answer_due_ = false;  // it asked us to change our key too
  bool peer_ended_ = false;
  bool we_ended_ = false;
  std::optional<Error> broken_;
};

}  // namespace weft::tls
