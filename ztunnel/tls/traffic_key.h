#pragma once

#include "ztunnel/base/result.h"
#include "ztunnel/tls/aes_gcm.h"
#include "ztunnel/tls/credentials.h"

#include <cstdint>
#include <memory>

namespace weft::tls {

// What a cipher suite says: how long its keys are and which hash makes them.
struct Suite {
  const char* hash = "SHA256";
  size_t hash_bytes = 32;
  size_t key_bytes = 16;
};

// kInvalid: a suite that we never offer.
Result<Suite> suite_of(const SSL_CIPHER* cipher);

// The keys of one direction behind the handshake: the traffic secret, the key made of it and the
// number of the next record (RFC 8446, 5.3, 7.2, 7.3). Internal to the room.
class TrafficKey {
 public:
  // `secret`: application_traffic_secret_0. `library` must outlive this.
  static Result<TrafficKey> make(const Suite& suite, Secret secret, OSSL_LIB_CTX* library);

  Result<void> renew();                          // what a KeyUpdate says
  uint64_t records() const { return records_; }  // under the present key
  // For the next record; moves on by one.
  AesGcm::Nonce take_nonce();
  AesGcm& cipher() { return *cipher_; }

 private:
  TrafficKey(const Suite& suite, OSSL_LIB_CTX* library) : suite_(suite), library_(library) {}
  Result<void> use(Secret secret);

  Suite suite_;
  OSSL_LIB_CTX* library_;
  Secret secret_;
  std::unique_ptr<AesGcm> cipher_;
  AesGcm::Nonce iv_{};
  uint64_t records_ = 0;
};

}  // namespace weft::tls
