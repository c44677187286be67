#pragma once

#include "agent/identity/ca.h"

#include <chrono>
#include <memory>
#include <string>

namespace weft::identity {

// A CA as text, by the names that Istio gives the files of one.
struct CaFiles {
  std::string key;          // ca-key.pem: the key that signs (RSA from 2048 bits, ECDSA, Ed25519)
  std::string certificate;  // ca-cert.pem: its certificate
  // cert-chain.pem: what leads from there to a root, in any order; may be empty where ca-cert.pem
  // is signed by a root itself; what is not needed is left out
  std::string chain;
  // root-cert.pem: every root that workloads shall trust; several while roots are rotated
  std::string roots;
  bool operator==(const CaFiles&) const = default;
};

// The CA that somebody supplies, replaced while it is in use. Thread-safe; replace() is for one
// thread. The key stays in memory.
class SuppliedAuthority : public Authority {
 public:
  // kInvalid names the file and what is wrong with it: the key does not fit, not a CA, expired, no
  // way to a root, or a chain that ztunnels would refuse (weak, a constraint broken).
  static Result<std::unique_ptr<SuppliedAuthority>> make(
      const CaFiles& files, std::string trust_domain, Clock clock = std::chrono::system_clock::now);

  // The same errors; what was in force then stays.
  virtual Result<void> replace(const CaFiles& files) = 0;
};

// A new self-signed root that signs itself: ECDSA P-256, Authority::kRootLifetime.
Result<CaFiles> make_root_files(const std::string& trust_domain,
                                std::chrono::system_clock::time_point now);

// Whether a root of one bundle (PEM) is in the other, too: so that nobody who trusts one only is
// cut off by a change from one to the other.
Result<bool> share_a_root(const std::string& one_pem, const std::string& other_pem);

}  // namespace weft::identity
