#pragma once

#include "ztunnel/base/result.h"
#include "ztunnel/runtime/buffer.h"
#include "ztunnel/tls/context.h"
#include "ztunnel/tls/outgoing.h"
#include "ztunnel/tls/records.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace weft::tls {

// One TLS session without a transport: ciphertext in by feed(), out by take_outgoing(). OpenSSL
// shakes hands, through a BIO of ours; then its secrets are taken over, it goes, and Records carry
// on. Neither holds a buffer of the pool while the session waits. Internal to the room; TlsStream
// moves the bytes.
class Session {
 public:
  static Result<std::unique_ptr<Session>> make(Context::Impl& context, Verification expected,
                                               runtime::BufferPool& pool,
                                               uint64_t records_per_key = Records::kPerKeyMax);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  enum class Progress { kDone, kNeedsInput };
  // kRefused says who refused whom, and why. Whatever it returns, outgoing bytes are to be sent.
  Result<Progress> handshake();
  bool is_established() const { return records_.has_value(); }
  // The next ciphertext, once everything fed before has been used up.
  void feed(runtime::Buffer ciphertext);
  std::optional<runtime::Buffer> take_outgoing() { return outgoing_.take(); }

  // Only once the handshake is done; see Records.
  Result<std::optional<runtime::Buffer>> open() { return records_->open(); }
  Result<void> seal(std::span<runtime::Buffer> plain) { return records_->seal(plain); }
  Result<void> end() { return records_->end(); }

  const Verification& verification() const { return *verification_; }
  void forget_verification() { verification_.reset(); }  // keeps an idle session small
  const std::string& cipher() const { return cipher_; }
  const std::string& alpn() const { return alpn_; }

 private:
  Session(Context::Impl& context, runtime::BufferPool& pool, uint64_t records_per_key);
  static int bio_read(BIO* bio, char* into, size_t size, size_t* done);
  static int bio_write(BIO* bio, const char* from, size_t size, size_t* done);
  static long bio_control(BIO* bio, int command, long number, void* pointer);
  static BIO_METHOD* bio_method();
  Result<void> take_over();
  Error handshake_error();

  runtime::BufferPool& pool_;
  OSSL_LIB_CTX* library_;
  uint64_t records_per_key_;
  runtime::Buffer incoming_;  // of the handshake
  Outgoing outgoing_;
  std::string cipher_;
  std::string alpn_;
  std::optional<Error> broken_;
  std::unique_ptr<Verification> verification_;
  SslPtr ssl_;  // until the handshake is done
  std::optional<Records> records_;
};

}  // namespace weft::tls
