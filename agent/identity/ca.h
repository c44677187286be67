#pragma once

#include "ztunnel/base/result.h"
#include "ztunnel/base/spiffe_id.h"

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace weft::identity {

// The certificate authority: one self-signed root (ECDSA P-256, ten years), kept in `folder` as
// root-key.pem (0600) and root-cert.pem. Thread-safe.
class Authority {
 public:
  static constexpr std::chrono::hours kLeafLifetimeMax{90 * 24};

  // Loads what is in the folder, or makes a root and writes it (the key first, both by rename). A
  // root whose halves do not fit, or a key that others can read, is an error, never replaced.
  static Result<std::unique_ptr<Authority>> open(const std::string& folder,
                                                 std::string trust_domain);
  virtual ~Authority() = default;

  // Signs a CSR (PEM) for `identity`. kInvalid: malformed, not self-signed, more than one SAN, a
  // SAN that is not `identity`, a weak key. The subject and all other extensions of the request are
  // ignored. Returns PEM blocks, leaf first, the root last.
  virtual Result<std::vector<std::string>> sign(const std::string& csr_pem,
                                                const SpiffeId& identity,
                                                std::chrono::seconds lifetime) const = 0;
  // A certificate for control's own server, with DNS names and IP addresses.
  struct ServerCertificate {
    std::string chain_pem;
    std::string key_pem;
  };
  virtual Result<ServerCertificate> issue_server(const std::vector<std::string>& names,
                                                 std::chrono::seconds lifetime) const = 0;
  virtual const std::string& root_pem() const = 0;
  virtual const std::string& trust_domain() const = 0;
};

}  // namespace weft::identity
