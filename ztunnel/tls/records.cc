#include "ztunnel/tls/records.h"

#include "ztunnel/base/check.h"
#include "ztunnel/tls/alerts.h"

#include <algorithm>
#include <string>

namespace weft::tls {

using runtime::Buffer;

namespace {

constexpr uint8_t kAlert = 21;
constexpr uint8_t kHandshake = 22;
constexpr uint8_t kApplicationData = 23;
constexpr uint8_t kNewSessionTicket = 4;
constexpr uint8_t kKeyUpdate = 24;
constexpr uint8_t kUserCanceled = 90;
constexpr uint8_t kWarning = 1;
constexpr uint8_t kFatal = 2;
// What a record may be longer than its plain text (RFC 8446, 5.2).
constexpr size_t kExpansionMax = 256;

}  // namespace

// ---- out

Result<void> Records::seal(std::span<Buffer> pieces) {
  if (broken_) return Fail(*broken_);
  if (we_ended_) return fail(Code::kInternal, "TLS: a write behind the end of our side");
  updates_ = 0;
  while (true) {
    while (!pieces.empty() && pieces.front().empty()) pieces = pieces.subspan(1);
    if (pieces.empty()) return {};
    TRY(before_writing());
    size_t sealed = TRY(seal_record(pieces));
    for (Buffer& piece : pieces) {
      const size_t part = std::min(sealed, piece.size());
      piece.trim_front(part);
      if (piece.empty()) piece.clear();
      sealed -= part;
      if (sealed == 0) break;
    }
  }
}

// Our key changes where it is worn out, or the peer has asked for it.
Result<void> Records::before_writing() {
  if (!answer_due_ && ours_.records() < records_per_key_) return {};
  answer_due_ = false;
  constexpr uint8_t kUpdateNotRequested[] = {kKeyUpdate, 0, 0, 1, 0};
  TRY(say(kHandshake, kUpdateNotRequested));
  if (Result<void> renewed = ours_.renew(); !renewed) {
    broken_ = std::move(renewed.error());
    return Fail(*broken_);
  }
  return {};
}

Result<size_t> Records::seal_record(std::span<Buffer> pieces) {
  Parts parts;
  size_t count = 0;
  size_t size = 0;
  for (const Buffer& piece : pieces) {
    if (count == kPiecesMax || size == kPlainBytesMax) break;
    parts[count] = piece.bytes().first(std::min(piece.size(), kPlainBytesMax - size));
    size += parts[count++].size();
  }
  TRY(write(kApplicationData, parts, count, size));
  return size;
}

Result<void> Records::say(uint8_t type, std::span<const uint8_t> message) {
  Parts parts;
  parts[0] = message;
  return write(type, parts, 1, message.size());
}

Result<void> Records::write(uint8_t type, Parts& parts, size_t count, size_t size) {
  parts[count] = {&type, 1};
  const size_t sealed = size + 1 + AesGcm::kTagBytes;
  const std::span<uint8_t> out = outgoing_.room(kHeaderBytes + sealed);
  const std::span<uint8_t> header = out.first(kHeaderBytes);
  header[0] = kApplicationData;
  header[1] = 3;
  header[2] = 3;
  header[3] = static_cast<uint8_t>(sealed >> 8);
  header[4] = static_cast<uint8_t>(sealed);
  if (!ours_.cipher().seal(ours_.take_nonce(), header, std::span(parts).first(count + 1),
                           out.data() + kHeaderBytes)) {
    broken_ = Error(Code::kInternal, "TLS: sealing a record: " + take_openssl_error());
    return Fail(*broken_);
  }
  outgoing_.commit(kHeaderBytes + sealed);
  return {};
}

Result<void> Records::end() {
  if (broken_) return Fail(*broken_);
  if (std::exchange(we_ended_, true)) return {};
  constexpr uint8_t kCloseNotify[] = {kWarning, 0};
  return say(kAlert, kCloseNotify);
}

// Tells the peer, and is the end of this session.
Fail Records::broken(int alert, Error error) {
  incoming_.clear();
  partial_.clear();
  const uint8_t message[] = {kFatal, static_cast<uint8_t>(alert)};
  if (!we_ended_) static_cast<void>(say(kAlert, message));
  broken_ = std::move(error);
  return Fail(*broken_);
}

// ---- in

void Records::feed(Buffer ciphertext) {
  CHECK(incoming_.empty());
  incoming_ = std::move(ciphertext);
}

Result<std::optional<Buffer>> Records::open() {
  while (true) {
    if (broken_) return Fail(*broken_);
    if (peer_ended_) return Buffer();
    std::optional<Buffer> record = TRY(next_record());
    if (!record) return std::nullopt;
    std::optional<Buffer> plain = TRY(open_record(std::move(*record)));
    if (plain) return plain;
  }
}

// Fills up partial_ from what has come; whether it is so long now.
bool Records::complete(size_t bytes) {
  if (partial_.size() < bytes) {
    const size_t part = std::min(bytes - partial_.size(), incoming_.size());
    std::copy_n(incoming_.data(), part, partial_.tail().data());
    partial_.extend(part);
    incoming_.trim_front(part);
    if (incoming_.empty()) incoming_.clear();
  }
  return partial_.size() >= bytes;
}

// A whole record in one piece. Most are taken from where they were received; one that came in two
// parts is put together in a buffer of its own.
Result<std::optional<Buffer>> Records::next_record() {
  if (partial_.empty()) {
    if (incoming_.empty()) return std::nullopt;
    if (incoming_.size() >= kHeaderBytes) {
      const size_t bytes = TRY(record_bytes(incoming_));
      if (incoming_.size() == bytes) return std::exchange(incoming_, Buffer());
      if (incoming_.size() > bytes) {
        Buffer record = incoming_.share(0, bytes);
        incoming_.trim_front(bytes);
        return record;
      }
    }
    partial_ = pool_.get();
  }
  if (!complete(kHeaderBytes)) return std::nullopt;
  const size_t bytes = TRY(record_bytes(partial_));
  if (!complete(bytes)) return std::nullopt;
  return std::exchange(partial_, Buffer());
}

Result<size_t> Records::record_bytes(const Buffer& begins) {
  const std::span<const uint8_t> header = begins.bytes().first(kHeaderBytes);
  if (header[0] != kApplicationData) {
    return broken(SSL_AD_UNEXPECTED_MESSAGE,
                  {Code::kReset, "TLS session broke: the peer sent a record of type " +
                                     std::to_string(header[0]) + " behind the handshake"});
  }
  const size_t sealed = static_cast<size_t>(header[3]) << 8 | header[4];
  if (sealed > kPlainBytesMax + kExpansionMax) {
    return broken(SSL_AD_RECORD_OVERFLOW,
                  {Code::kReset, "TLS session broke: the peer sent a record of " +
                                     std::to_string(sealed) + " bytes"});
  }
  return kHeaderBytes + sealed;
}

Result<std::optional<Buffer>> Records::open_record(Buffer record) {
  const std::span<uint8_t> bytes(record.data(), record.size());
  if (!peers_.cipher().open(peers_.take_nonce(), bytes.first(kHeaderBytes),
                            bytes.subspan(kHeaderBytes))) {
    ERR_clear_error();
    return broken(SSL_AD_BAD_RECORD_MAC, {Code::kReset, "TLS session broke: bad record mac"});
  }
  // Content, its type, and padding of zeros.
  size_t size = bytes.size() - AesGcm::kTagBytes;
  while (size > kHeaderBytes && bytes[size - 1] == 0) --size;
  if (size == kHeaderBytes) {
    return broken(SSL_AD_UNEXPECTED_MESSAGE,
                  {Code::kReset, "TLS session broke: the peer sent a record without a type"});
  }
  const uint8_t type = bytes[size - 1];
  const std::span<const uint8_t> content = bytes.first(size - 1).subspan(kHeaderBytes);
  if (bytes.size() - kHeaderBytes - AesGcm::kTagBytes > kPlainBytesMax + 1) {
    return broken(SSL_AD_RECORD_OVERFLOW,
                  {Code::kReset, "TLS session broke: the peer sent more than 16 KiB in a record"});
  }
  if (type == kHandshake && !content.empty()) {
    TRY(take_handshake(content));
    return std::nullopt;
  }
  const bool amidst_message = message_header_bytes_ > 0;
  if (type == kAlert && !amidst_message) {
    TRY(take_alert(content));
    return std::nullopt;
  }
  const bool too_many = content.empty() && ++empty_in_a_row_ > kEmptyMax;
  if (type != kApplicationData || amidst_message || too_many) {
    return broken(SSL_AD_UNEXPECTED_MESSAGE,
                  {Code::kReset, "TLS session broke: the peer sent an unexpected record"});
  }
  if (content.empty()) return std::nullopt;
  empty_in_a_row_ = 0;
  record.trim_front(kHeaderBytes);
  record.trim_to(content.size());
  return record;
}

Result<void> Records::take_alert(std::span<const uint8_t> alert) {
  if (alert.size() != 2) {
    return broken(SSL_AD_DECODE_ERROR, {Code::kReset, "TLS session broke: a malformed alert"});
  }
  if (alert[1] == kUserCanceled) return {};  // a close_notify follows
  incoming_.clear();
  partial_.clear();
  if (alert[1] == SSL_AD_CLOSE_NOTIFY) {
    peer_ended_ = true;
    return {};
  }
  broken_ = error_of_alert(alert[1]);
  return Fail(*broken_);
}

// Tickets are read and dropped, as nothing is resumed; they may come in parts.
Result<void> Records::take_handshake(std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    if (message_header_bytes_ < message_.size()) {
      message_[message_header_bytes_++] = bytes.front();
      bytes = bytes.subspan(1);
      if (message_header_bytes_ < message_.size()) continue;
      TRY(take_header());
    } else if (message_[0] == kKeyUpdate) {
      if (bytes.size() != 1) break;  // the old key's last words (RFC 8446, 5.1)
      TRY(follow_update(bytes.front()));
      message_left_ = 0;
      bytes = {};
    } else {
      const size_t part = std::min(bytes.size(), message_left_);
      message_left_ -= part;
      bytes = bytes.subspan(part);
    }
    if (message_left_ == 0) message_header_bytes_ = 0;
  }
  if (bytes.empty()) return {};
  return broken(SSL_AD_UNEXPECTED_MESSAGE,
                {Code::kReset, "TLS session broke: the peer went on behind a key update"});
}

Result<void> Records::take_header() {
  message_left_ =
      static_cast<size_t>(message_[1]) << 16 | static_cast<size_t>(message_[2]) << 8 | message_[3];
  const bool is_ticket = message_[0] == kNewSessionTicket && side_ == Side::kClient;
  const bool is_update = message_[0] == kKeyUpdate && message_left_ == 1;
  if (is_ticket || is_update) return {};
  return broken(SSL_AD_UNEXPECTED_MESSAGE,
                {Code::kReset, "TLS session broke: the peer sent a handshake message of type " +
                                   std::to_string(message_[0]) + " behind the handshake"});
}

Result<void> Records::follow_update(uint8_t request) {
  if (request > 1) {
    return broken(SSL_AD_ILLEGAL_PARAMETER,
                  {Code::kReset, "TLS session broke: a malformed key update"});
  }
  if (++updates_ > kUpdatesMax) {
    return broken(SSL_AD_INTERNAL_ERROR,
                  {Code::kLimit, "TLS: peer makes key updates, and many without any need"});
  }
  if (request == 1) answer_due_ = true;
  if (Result<void> renewed = peers_.renew(); !renewed) {
    return broken(SSL_AD_INTERNAL_ERROR, std::move(renewed.error()));
  }
  return {};
}

}  // namespace weft::tls
