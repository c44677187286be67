#pragma once

#include "ztunnel/base/result.h"
#include "ztunnel/base/spiffe_id.h"

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace weft::tls {

// Bytes that are wiped when they go.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string bytes) : bytes_(std::move(bytes)) {}
  Secret(Secret&&) noexcept;
  Secret& operator=(Secret&&) noexcept;
  ~Secret();
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

// A fresh ECDSA P-256 key, as PKCS#8 DER.
Result<Secret> generate_key();

// A certificate request in PEM: empty subject, one critical URI SAN (what Istio's CA expects).
Result<std::string> make_csr(const Secret& key_der, const SpiffeId& identity);

// A workload's certificate with its key and the roots it trusts. Immutable, so threads may share
// it; each worker makes its own Context from it.
struct Credentials {
  SpiffeId identity;  // from the leaf's only URI SAN
  Secret key_der;
  std::vector<std::string> chain_pem;  // leaf first, then intermediates
  std::string roots_pem;               // one or more
  std::string serial;                  // of the leaf, hexadecimal
  std::chrono::system_clock::time_point not_before;
  std::chrono::system_clock::time_point not_after;

  // Half of the lifetime: when a replacement is asked for.
  std::chrono::system_clock::time_point renew_at() const;
  // From a CreateCertificate response (leaf first, the last element holds the roots). kInvalid
  // where the leaf does not fit the key, names another identity or is malformed.
  static Result<std::shared_ptr<const Credentials>> from_chain(
      Secret key_der, const std::vector<std::string>& chain, const SpiffeId& expected);
};

// A certificate as operators see it.
struct CertificateFacts {
  std::string pem;
  std::string serial;  // hexadecimal
  std::chrono::system_clock::time_point not_before;
  std::chrono::system_clock::time_point not_after;
};
// Of every certificate in a PEM text, in its order.
Result<std::vector<CertificateFacts>> facts_of(std::string_view pem);

}  // namespace weft::tls
