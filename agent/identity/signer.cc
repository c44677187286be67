#include "agent/identity/signer.h"

#include "agent/identity/csr.h"
#include "ztunnel/base/ip.h"

#include <algorithm>

namespace weft::identity {
namespace {

constexpr size_t kDnsNameBytesMax = 253;  // RFC 1035, section 2.3.4, as text

bool is_dns_name(std::string_view name) {
  if (name.empty() || name.size() > kDnsNameBytesMax || name.front() == '.') return false;
  return std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.';
  });
}

}  // namespace

Result<std::vector<std::string>> Signer::sign(const std::string& csr_pem, const SpiffeId& identity,
                                              std::chrono::seconds lifetime) const {
  if (identity.trust_domain != trust_domain_) {
    return fail(Code::kInvalid, identity.to_string() + " is not of the trust domain " +
                                    trust_domain_ + " that this CA signs for");
  }
  const Csr csr = TRY(parse_csr(csr_pem));
  if (csr.identity != identity) {
    return fail(Code::kInvalid, "the request is for " + csr.identity.to_string() + ", not for " +
                                    identity.to_string());
  }
  CertificateSpec spec = TRY(leaf_spec(lifetime));
  spec.uris.push_back(identity.to_string());
  std::vector<std::string> chain;
  chain.push_back(TRY(issue(spec, csr.key.get())));
  chain.insert(chain.end(), issuer_.chain_pem.begin(), issuer_.chain_pem.end());
  chain.push_back(issuer_.roots_pem);
  return chain;
}

Result<Authority::ServerCertificate> Signer::issue_server(const std::vector<std::string>& names,
                                                          std::chrono::seconds lifetime) const {
  CertificateSpec spec = TRY(leaf_spec(lifetime));
  spec.server_only = true;
  for (const auto& name : names) {
    if (IpAddress::parse(name)) {
      spec.addresses.push_back(name);
    } else if (is_dns_name(name)) {
      spec.dns_names.push_back(name);
    } else {
      return fail(Code::kInvalid, "expected a DNS name or an IP address, got \"" + name + "\"");
    }
  }
  if (names.empty()) return fail(Code::kInvalid, "a server certificate needs a name");
  const KeyPtr key = TRY(generate_p256());
  Authority::ServerCertificate server;
  server.chain_pem = TRY(issue(spec, key.get()));
  for (const std::string& pem : issuer_.chain_pem) server.chain_pem += pem;
  server.key_pem = TRY(private_key_to_pem(key.get()));
  return server;
}

Result<CertificateSpec> Signer::leaf_spec(std::chrono::seconds lifetime) const {
  if (lifetime <= std::chrono::seconds::zero()) {
    return fail(Code::kInvalid, "expected a lifetime of at least one second");
  }
  const TimePoint now = clock_();
  if (now >= issuer_.not_after) {
    return fail(Code::kUnavailable, "the CA's certificate has expired: nothing can be signed");
  }
  CertificateSpec spec;
  spec.not_before = now - Authority::kClockSkew;
  spec.not_after =
      std::min(now + std::min<std::chrono::seconds>(lifetime, Authority::kLeafLifetimeMax),
               issuer_.not_after);
  return spec;
}

Result<std::string> Signer::issue(const CertificateSpec& spec, EVP_PKEY* key) const {
  const CertificatePtr leaf =
      TRY(make_certificate(spec, key, issuer_.certificate.get(), issuer_.key.get()));
  return certificate_to_pem(leaf.get());
}

}  // namespace weft::identity
