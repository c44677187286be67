#pragma once

#include "agent/identity/ca.h"
#include "agent/identity/certificate.h"

#include <string>
#include <vector>

namespace weft::identity {

// What signs: a CA's key and certificate, and what is handed out beside its leaves.
struct Issuer {
  KeyPtr key;
  CertificatePtr certificate;
  std::vector<std::string> chain_pem;  // from `certificate` upwards, without what is self-signed
  std::string roots_pem;               // one or more
  TimePoint not_after;                 // of whatever in the chain ends first
};

// Makes leaves, as Authority says. Immutable, and OpenSSL 3 signs with a shared key: thread-safe.
class Signer {
 public:
  Signer(Issuer issuer, std::string trust_domain, Clock clock)
      : issuer_(std::move(issuer)),
        trust_domain_(std::move(trust_domain)),
        clock_(std::move(clock)) {}

  Result<std::vector<std::string>> sign(const std::string& csr_pem, const SpiffeId& identity,
                                        std::chrono::seconds lifetime) const;
  Result<Authority::ServerCertificate> issue_server(const std::vector<std::string>& names,
                                                    std::chrono::seconds lifetime) const;
  const Issuer& issuer() const { return issuer_; }
  const std::string& trust_domain() const { return trust_domain_; }

 private:
  Result<CertificateSpec> leaf_spec(std::chrono::seconds lifetime) const;
  Result<std::string> issue(const CertificateSpec& spec, EVP_PKEY* key) const;

  Issuer issuer_;
  std::string trust_domain_;
  Clock clock_;
};

}  // namespace weft::identity
