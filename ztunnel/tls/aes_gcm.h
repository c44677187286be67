#pragma once

#include "ztunnel/tls/openssl.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

// AES-GCM (NIST SP 800-38D) with one key, as TLS 1.3 uses it: nonces of 12 bytes, tags of 16.
// Internal to the room.

namespace weft::tls {

struct CipherFree {
  void operator()(EVP_CIPHER* cipher) const noexcept { EVP_CIPHER_free(cipher); }
  void operator()(EVP_CIPHER_CTX* context) const noexcept { EVP_CIPHER_CTX_free(context); }
};

// Both ways to do it: with the 512-bit vector instructions where the processor has them, three
// times as fast as OpenSSL 3.0, and by OpenSSL elsewhere.
class AesGcm {
 public:
  static constexpr size_t kNonceBytes = 12;
  static constexpr size_t kTagBytes = 16;
  using Nonce = std::array<uint8_t, kNonceBytes>;
  using Pieces = std::span<const std::span<const uint8_t>>;

  virtual ~AesGcm() = default;
  AesGcm() = default;
  AesGcm(const AesGcm&) = delete;
  AesGcm& operator=(const AesGcm&) = delete;

  // Seals the pieces, one behind the other, into `out`, which is as long as all of them and the
  // tag together, and overlaps none. A nonce must never come twice. False: OpenSSL has failed.
  virtual bool seal(const Nonce& nonce, std::span<const uint8_t> additional, Pieces pieces,
                    uint8_t* out) = 0;
  // In place; the last kTagBytes are the tag. False: they are not what was sealed with this key,
  // and hold garbage now.
  virtual bool open(const Nonce& nonce, std::span<const uint8_t> additional,
                    std::span<uint8_t> sealed) = 0;
};

// `key`: 16 or 32 bytes. Null: OpenSSL has failed.
std::unique_ptr<AesGcm> make_aes_gcm(std::span<const uint8_t> key, OSSL_LIB_CTX* library);

// The two, for tests. The first is null where the processor lacks the instructions (AVX-512 with
// VAES and VPCLMULQDQ).
std::unique_ptr<AesGcm> make_vector_aes_gcm(std::span<const uint8_t> key);
std::unique_ptr<AesGcm> make_openssl_aes_gcm(std::span<const uint8_t> key, OSSL_LIB_CTX* library);

}  // namespace weft::tls
