#pragma once

#include "ztunnel/base/result.h"
#include "ztunnel/base/spiffe_id.h"

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace weft::identity {

// Wall-clock time, as certificates and tokens are judged by it; tests bring their own.
using Clock = std::function<std::chrono::system_clock::time_point()>;

// A request with an RSA 8192 bit key and a long SAN has under 4 KiB.
constexpr size_t kCsrBytesMax = 16 * 1024;

// The SPIFFE id that a request (PEM) asks for, checked as Authority::sign checks it.
Result<SpiffeId> identity_in_csr(const std::string& csr_pem);

// The certificate authority. Of its own it has one self-signed root (ECDSA P-256, ten years), kept
// in `folder` as root-key.pem (0600) and root-cert.pem; see plugged_ca.h for one that an operator
// brings. Thread-safe.
class Authority {
 public:
  static constexpr std::chrono::hours kLeafLifetimeMax{90 * 24};
  static constexpr std::chrono::hours kRootLifetime{10 * 365 * 24};
  // Certificates begin this much before they are made: nodes' clocks differ.
  static constexpr std::chrono::minutes kClockSkew{2};

  // Loads what is in the folder, or makes a root and writes it: both files beside their places
  // first, then two renames, the key's before the certificate's. A crash in between is finished by
  // the next open(). A root whose halves do not fit or that has expired, or a key that others can
  // read, is an error, never replaced.
  static Result<std::unique_ptr<Authority>> open(const std::string& folder,
                                                 std::string trust_domain,
                                                 Clock clock = std::chrono::system_clock::now);
  virtual ~Authority() = default;

  // Signs a CSR (PEM) for `identity`. kInvalid: malformed, not self-signed, not exactly one SAN, a
  // SAN that is not `identity`, an identity of another trust domain, a weak key, no lifetime. The
  // subject and all other extensions of the request are ignored; the lifetime is cut to
  // kLeafLifetimeMax and to the CA's end. Returns PEM blocks: the leaf, intermediates, and at the
  // end all roots in one.
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
  // What workloads shall trust; the one under which this CA signs now stands first, so that a new
  // signer shows in the text, too.
  virtual std::string roots_pem() const = 0;
  virtual const std::string& trust_domain() const = 0;
  // From then on it can sign nothing.
  virtual std::chrono::system_clock::time_point not_after() const = 0;
};

}  // namespace weft::identity
