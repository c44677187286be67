#include "ztunnel/tls/traffic_key.h"

#include <span>
#include <string>
#include <string_view>

namespace weft::tls {
namespace {

// HKDF-Expand-Label with an empty context (RFC 8446, 7.1). All that is asked for here is no longer
// than the hash, which is one turn of HKDF-Expand (RFC 5869, 2.3): one HMAC.
Result<Secret> expand(const Suite& suite, const Secret& secret, std::string_view label,
                      size_t bytes, OSSL_LIB_CTX* library) {
  const std::string full = "tls13 " + std::string(label);
  std::string info{static_cast<char>(bytes >> 8), static_cast<char>(bytes),
                   static_cast<char>(full.size())};
  info += full;
  info += '\0';    // no context
  info += '\x01';  // the first turn
  std::string out(suite.hash_bytes, '\0');
  size_t size = 0;
  const std::string& key = secret.bytes();
  if (EVP_Q_mac(library, "HMAC", nullptr, suite.hash, nullptr, key.data(), key.size(),
                reinterpret_cast<const unsigned char*>(info.data()), info.size(),
                reinterpret_cast<unsigned char*>(out.data()), out.size(), &size) == nullptr ||
      size < bytes) {
    return fail(Code::kInternal, "TLS: deriving a key: " + take_openssl_error());
  }
  out.resize(bytes);
  return Secret(std::move(out));
}

std::span<const uint8_t> bytes_of(const Secret& secret) {
  return {reinterpret_cast<const uint8_t*>(secret.bytes().data()), secret.bytes().size()};
}

}  // namespace

Result<Suite> suite_of(const SSL_CIPHER* cipher) {
  switch (cipher == nullptr ? 0 : SSL_CIPHER_get_protocol_id(cipher)) {
    case 0x1301:
      return Suite{.hash = "SHA256", .hash_bytes = 32, .key_bytes = 16};
    case 0x1302:
      return Suite{.hash = "SHA384", .hash_bytes = 48, .key_bytes = 32};
    default:
      return fail(Code::kInvalid, "TLS: a cipher suite that was not offered");
  }
}

Result<TrafficKey> TrafficKey::make(const Suite& suite, Secret secret, OSSL_LIB_CTX* library) {
  if (secret.bytes().size() != suite.hash_bytes) {
    return fail(Code::kInternal, "TLS: a traffic secret of the wrong length");
  }
  TrafficKey made(suite, library);
  TRY(made.use(std::move(secret)));
  return made;
}

Result<void> TrafficKey::renew() {
  return use(TRY(expand(suite_, secret_, "traffic upd", suite_.hash_bytes, library_)));
}

Result<void> TrafficKey::use(Secret secret) {
  const Secret key = TRY(expand(suite_, secret, "key", suite_.key_bytes, library_));
  const Secret iv = TRY(expand(suite_, secret, "iv", iv_.size(), library_));
  cipher_ = make_aes_gcm(bytes_of(key), library_);
  if (cipher_ == nullptr) return fail(Code::kInternal, "AES-GCM: " + take_openssl_error());
  std::ranges::copy(bytes_of(iv), iv_.begin());
  secret_ = std::move(secret);
  records_ = 0;
  return {};
}

AesGcm::Nonce TrafficKey::take_nonce() {
  AesGcm::Nonce nonce = iv_;
  for (size_t i = 0; i < sizeof records_; ++i) {
    nonce[nonce.size() - 1 - i] ^= static_cast<uint8_t>(records_ >> 8 * i);
  }
  ++records_;
  return nonce;
}

}  // namespace weft::tls
