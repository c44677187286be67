#pragma once

#include "ztunnel/base/result.h"

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace weft::tls {

// Which certificate it is, as a CRL names it; digests, so that a tunnel can remember its peer's.
struct CertificateId {
  using Digest = std::array<uint8_t, 16>;  // half of a SHA-256
  Digest issuer_and_serial{};
  Digest authority_key{};  // tells CAs of one name apart; zero: the certificate does not say
  bool operator==(const CertificateId&) const = default;
};

// Certificates that their CAs have taken back, from a file of CRLs. The file is believed as it
// stands, signatures and nextUpdate are not looked at: whoever may write it may as well remove it.
// Of a CA without a CRL here nothing is revoked, as in Istio's ztunnel. Immutable: threads share
// it.
class RevocationList {
 public:
  // A CRL of 400 000 entries; more is a CA that should issue shorter certificates.
  static constexpr size_t kBytesMax = 16U * 1024 * 1024;

  // PEM with one or more CRLs, or one in DER. kInvalid for anything else, and for what cannot be
  // honoured: a delta CRL, or one whose scope is limited by a critical extension.
  static Result<std::shared_ptr<const RevocationList>> parse(std::string_view bytes);

  bool revokes(const CertificateId& certificate) const;
  bool revokes_any(std::span<const CertificateId> certificates) const;
  size_t size() const { return entries_.size(); }
  // Issuers whose CRL is past its nextUpdate: to be said to the operator.
  const std::vector<std::string>& stale() const { return stale_; }

 private:
  struct Hash {
    size_t operator()(const CertificateId::Digest& digest) const noexcept;
  };
  friend class ListReader;

  // By issuer_and_serial; the value is the authority key, zero where the CRL does not say.
  std::unordered_multimap<CertificateId::Digest, CertificateId::Digest, Hash> entries_;
  std::vector<std::string> stale_;
};

// What a mesh's TLS takes into account beside the roots. Immutable; replaced as a whole.
struct Trust {
  // Clients of these trust domains are accepted besides those of our own.
  std::vector<std::string> trust_domain_aliases;
  std::shared_ptr<const RevocationList> revoked;  // null: nothing is asked
};

// Why a tunnel is broken whose peer's certificate has been revoked meanwhile.
Error revoked_error(std::string_view peer);
// Whether an error, or what caused it, is about a revoked certificate of the peer.
bool is_about_revocation(const Error& error);

}  // namespace weft::tls
