#pragma once

#include "ztunnel/base/result.h"
#include "ztunnel/runtime/buffer.h"
#include "ztunnel/tls/context.h"

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>

namespace weft::tls {

// One TLS session without a transport: ciphertext in by feed(), out by take_outgoing(). Internal to
// the room; TlsStream moves the bytes. OpenSSL reads from the fed buffer and writes into pooled
// ones through a BIO of ours, so that a session that waits holds no buffer of the pool.
class Session {
 public:
  // AES-GCM keeps its guarantees for 2^24.5 full records under one key (RFC 8446 section 5.5): we
  // change ours well before. 128 GiB of full records.
  static constexpr uint64_t kRecordsPerKeyMax = 1ULL << 23;
  // Answers to a peer's KeyUpdates wait for the next write; each costs us 50 us. A peer whose 150
  // updates we had no reason to follow by a write is flooding: at one in 128 GiB that were 19 TiB.
  static constexpr size_t kAnswerBytesMax = 4 * 1024;

  static Result<std::unique_ptr<Session>> make(Context::Impl& context, Verification expected,
                                               runtime::BufferPool& pool,
                                               uint64_t records_per_key = kRecordsPerKeyMax);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  enum class Progress { kDone, kNeedsInput };
  // kRefused says who refused whom, and why. Whatever it returns, outgoing bytes are to be sent.
  Result<Progress> handshake();
  // The next ciphertext, once everything fed before has been used up.
  void feed(runtime::Buffer ciphertext);
  // Plain text, as much as there is up to a buffer; nothing: feed more; an empty buffer: the peer
  // said close_notify. An error is for good.
  Result<std::optional<runtime::Buffer>> open();
  // Into records of 16 KiB, the last one shorter.
  Result<void> seal(runtime::Buffer plain);
  Result<void> end();  // close_notify; only open() is left after it
  std::optional<runtime::Buffer> take_outgoing();

  const Verification& verification() const { return *verification_; }
  void forget_verification();  // after the handshake; keeps an idle session small
  std::string cipher() const;
  std::string alpn() const;
  SSL* ssl() { return ssl_.get(); }

 private:
  Session(runtime::BufferPool& pool, uint64_t records_per_key);
  static int bio_read(BIO* bio, char* into, size_t size, size_t* done);
  static int bio_write(BIO* bio, const char* from, size_t size, size_t* done);
  static long bio_control(BIO* bio, int command, long number, void* pointer);
  static BIO_METHOD* bio_method();
  Error handshake_error();
  Error session_error();

  runtime::BufferPool& pool_;
  uint64_t records_per_key_;
  uint64_t records_sealed_ = 0;  // under the present key
  runtime::Buffer incoming_;
  std::deque<runtime::Buffer> outgoing_;
  size_t answer_bytes_ = 0;  // made by open() since the last write
  bool opening_ = false;     // what is written now is an answer
  bool peer_ended_ = false;
  std::optional<Error> broken_;
  std::unique_ptr<Verification> verification_;
  SslPtr ssl_;
};

}  // namespace weft::tls
