#pragma once

#include "agent/identity/ca.h"

#include <memory>
#include <string>

namespace weft::identity {

// The CA that an operator brings, in a folder with the names that Istio gives these files:
//   ca-key.pem      the key that signs (RSA from 2048 bits, ECDSA, Ed25519)
//   ca-cert.pem     its certificate
//   cert-chain.pem  what leads from there to a root, in any order; may be missing where ca-cert.pem
//                   is signed by a root itself; what is not needed is left out
//   root-cert.pem   every root that workloads shall trust; several while roots are rotated
// Links are followed, because Kubernetes mounts Secrets so. Thread-safe; refresh() is for one
// thread.
class PluggedAuthority : public Authority {
 public:
  // kInvalid names the file and what is wrong with it: the key does not fit, not a CA, expired, no
  // way to a root, or a chain that ztunnels would refuse (weak, a constraint broken).
  static Result<std::unique_ptr<PluggedAuthority>> open(
      const std::string& folder, std::string trust_domain,
      Clock clock = std::chrono::system_clock::now);

  // Looks at the files again. True: they have changed and are in force. An error: they have changed
  // and are wrong; what was in force stays. It is told once for each change.
  virtual Result<bool> refresh() = 0;
};

}  // namespace weft::identity
