#pragma once

#include "agent/identity/openssl.h"

#include <chrono>
#include <string>
#include <vector>

namespace weft::identity {

using TimePoint = std::chrono::system_clock::time_point;

// A certificate to be made.
struct CertificateSpec {
  std::string organization;  // of the subject; empty: an empty subject, and then a critical SAN
  std::string common_name;
  std::vector<std::string> uris;       // SANs
  std::vector<std::string> dns_names;  // SANs
  std::vector<std::string> addresses;  // SANs: IP addresses as text
  bool is_authority = false;           // else a leaf for TLS, server and client
  bool server_only = false;
  TimePoint not_before;
  TimePoint not_after;
};

// Makes the certificate with a random 128-bit serial number. `issuer` null: self-signed.
Result<CertificatePtr> make_certificate(const CertificateSpec& spec, EVP_PKEY* public_key,
                                        const X509* issuer, EVP_PKEY* issuer_key);

// A self-signed root: Authority::kRootLifetime from `now` on.
Result<CertificatePtr> make_root_certificate(EVP_PKEY* key, const std::string& trust_domain,
                                             TimePoint now);

Result<TimePoint> not_before_of(const X509* certificate);
Result<TimePoint> not_after_of(const X509* certificate);

}  // namespace weft::identity
