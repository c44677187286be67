#pragma once

#include "ztunnel/tls/credentials.h"

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace weft::testing {

// How a certificate differs from a good one: a test that wants a bad peer says in which way.
struct LeafOptions {
  std::vector<std::string> more_uris{};  // URI names besides the first
  std::vector<std::string> dns_names{};
  std::vector<std::string> ip_addresses{};
  std::chrono::seconds valid_from{-60};  // from now
  std::chrono::seconds valid_until{3600};
  bool client_auth = true;  // extended key usage
  bool server_auth = true;
  bool is_ca = false;
  bool by_intermediate = false;  // signed by an intermediate, which is then part of the chain
  std::string roots_pem{};       // what its holder trusts; empty: this authority's root
};

// A certificate with its key, as PEM, for whatever takes files or strings (grpc++, openssl).
struct Issued {
  std::string certificate_pem;  // leaf first, then intermediates
  std::string key_pem;
  tls::Secret key_der;
};

// How a CRL differs from an ordinary one.
struct CrlOptions {
  bool by_intermediate = false;
  bool with_key_id = true;
  bool is_delta = false;
  std::chrono::seconds next_update{3600};  // from now
};

// A CA in memory for tests. Nothing here checks anything: it signs what it is asked for.
class TestAuthority {
 public:
  explicit TestAuthority(std::string trust_domain);
  ~TestAuthority();
  TestAuthority(const TestAuthority&) = delete;
  TestAuthority& operator=(const TestAuthority&) = delete;

  const std::string& trust_domain() const;
  const std::string& root_pem() const;

  // Credentials that prove `uri` and trust this authority's root; also bad ones, which
  // Credentials::from_chain would refuse. Empty `uri`: no URI name at all.
  std::shared_ptr<const tls::Credentials> issue(std::string_view uri,
                                                const LeafOptions& options = {}) const;
  // The same as PEM. With DNS names or addresses and an empty `uri`: a server's certificate.
  Issued issue_pem(std::string_view uri, const LeafOptions& options = {}) const;
  // A CRL (PEM) with the first certificate of each PEM text given.
  std::string revoke(const std::vector<std::string>& certificates_pem,
                     const CrlOptions& options = {}) const;
  const std::string& intermediate_pem() const;
  // What a CA answers to CreateCertificate: the leaf, any intermediate, the root. The name comes
  // from `uri`, the key from the request, whose signature must be good. Empty: it is not.
  std::vector<std::string> sign(std::string_view csr_pem, std::string_view uri,
                                const LeafOptions& options = {}) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The bytes inside the first block of a PEM text.
std::string der_of_pem(const std::string& pem);

}  // namespace weft::testing
