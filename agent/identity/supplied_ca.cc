#include "agent/identity/supplied_ca.h"

#include "agent/identity/signer.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>

#include <algorithm>
#include <mutex>

namespace weft::identity {
namespace {

// A root bundle in the middle of two rotations has three; a chain rarely as many.
constexpr size_t kCertificatesMax = 32;
// As ztunnel's handshakes: 112 bits, so RSA from 2048 and no SHA-1.
constexpr int kAuthLevel = 2;

void free_stack(STACK_OF(X509) * stack) { sk_X509_pop_free(stack, X509_free); }
using StackPtr = std::unique_ptr<STACK_OF(X509), Freed<free_stack>>;
using StorePtr = std::unique_ptr<X509_STORE, Freed<X509_STORE_free>>;
using StoreContextPtr = std::unique_ptr<X509_STORE_CTX, Freed<X509_STORE_CTX_free>>;

// All certificates of a PEM text; what stands between them is skipped, as people keep notes there.
Result<std::vector<CertificatePtr>> parse_all(const std::string& pem, const std::string& file) {
  const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  std::vector<CertificatePtr> certificates;
  const auto no_password = [](char*, int, int, void*) { return -1; };
  ERR_clear_error();
  while (X509* read = PEM_read_bio_X509(bio.get(), nullptr, no_password, nullptr)) {
    certificates.emplace_back(read);
    if (certificates.size() > kCertificatesMax) {
      return fail(Code::kInvalid, file + ": expected at most " + std::to_string(kCertificatesMax) +
                                      " certificates");
    }
  }
  const unsigned long end = ERR_peek_last_error();
  ERR_clear_error();
  if (ERR_GET_REASON(end) != PEM_R_NO_START_LINE) {
    return fail(Code::kInvalid, file + ": certificate " + std::to_string(certificates.size() + 1) +
                                    " cannot be read");
  }
  return certificates;
}

Result<void> check_authority(X509* certificate, const std::string& what, TimePoint now) {
  if (X509_check_ca(certificate) != 1) {
    return fail(Code::kInvalid, what +
                                    " is not a CA's: expected basicConstraints CA:TRUE and the "
                                    "key usage certificate signing");
  }
  if (TRY(not_after_of(certificate)) <= now) return fail(Code::kInvalid, what + " has expired");
  if (TRY(not_before_of(certificate)) > now)
    return fail(Code::kInvalid, what + " is not valid yet");
  return {};
}

// Signs a leaf for nobody and judges it as a peer would, in the role `purpose`: so whatever would
// make ztunnels refuse each other shows here. Returns the way from the leaf to its root.
Result<StackPtr> prove(const Issuer& issuer, const std::vector<CertificatePtr>& between,
                       const std::vector<CertificatePtr>& roots, const std::string& trust_domain,
                       TimePoint now, int purpose) {
  CertificateSpec spec;
  spec.uris.push_back(SpiffeId{trust_domain, "probe", "probe"}.to_string());
  spec.not_before = now - Authority::kClockSkew;
  spec.not_after = now + std::chrono::minutes(1);
  const KeyPtr key = TRY(generate_p256());
  const CertificatePtr leaf =
      TRY(make_certificate(spec, key.get(), issuer.certificate.get(), issuer.key.get()));
  const StorePtr store(X509_STORE_new());
  const StoreContextPtr context(X509_STORE_CTX_new());
  const StackPtr others(sk_X509_new_null());
  if (!store || !context || !others) {
    return Fail(openssl_error(Code::kInternal, "checking a chain"));
  }
  for (const auto& root : roots) X509_STORE_add_cert(store.get(), root.get());
  for (const auto& one : between) {
    X509_up_ref(one.get());
    sk_X509_push(others.get(), one.get());
  }
  X509_up_ref(issuer.certificate.get());
  sk_X509_push(others.get(), issuer.certificate.get());
  if (X509_STORE_CTX_init(context.get(), store.get(), leaf.get(), others.get()) != 1) {
    return Fail(openssl_error(Code::kInternal, "checking a chain"));
  }
  X509_VERIFY_PARAM* rules = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_flags(rules, X509_V_FLAG_PARTIAL_CHAIN);
  X509_VERIFY_PARAM_set_auth_level(rules, kAuthLevel);
  X509_VERIFY_PARAM_set_time(rules, std::chrono::system_clock::to_time_t(now));
  X509_STORE_CTX_set_purpose(context.get(), purpose);
  if (X509_verify_cert(context.get()) == 1) {
    return StackPtr(X509_STORE_CTX_get1_chain(context.get()));
  }
  const int reason = X509_STORE_CTX_get_error(context.get());
  ERR_clear_error();
  const bool is_loose = reason == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT ||
                        reason == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
                        reason == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN;
  return fail(Code::kInvalid,
              is_loose ? "cert-chain.pem does not lead from ca-cert.pem to a root of root-cert.pem"
                       : "no peer would accept what this CA signs: " +
                             std::string(X509_verify_cert_error_string(reason)));
}

Result<Issuer> judge(const CaFiles& files, const std::string& trust_domain, TimePoint now) {
  Issuer issuer;
  auto key = private_key_from_pem(files.key);
  if (!key) return Fail(std::move(key.error()).in("ca-key.pem"));
  issuer.key = std::move(*key);
  auto own = TRY(parse_all(files.certificate, "ca-cert.pem"));
  if (own.empty()) return fail(Code::kInvalid, "ca-cert.pem: expected a certificate");
  issuer.certificate = std::move(own.front());
  if (X509_check_private_key(issuer.certificate.get(), issuer.key.get()) != 1) {
    return Fail(openssl_error(Code::kInvalid, "ca-key.pem does not belong to ca-cert.pem"));
  }
  TRY(check_authority(issuer.certificate.get(), "ca-cert.pem", now));
  auto between = TRY(parse_all(files.chain, "cert-chain.pem"));
  std::move(own.begin() + 1, own.end(), std::back_inserter(between));
  const auto roots = TRY(parse_all(files.roots, "root-cert.pem"));
  if (roots.empty())
    return fail(Code::kInvalid, "root-cert.pem: expected at least one certificate");
  for (size_t i = 0; i < roots.size(); ++i) {
    if (X509_check_ca(roots[i].get()) != 1) {
      return fail(Code::kInvalid,
                  "root-cert.pem: certificate " + std::to_string(i + 1) + " is not a CA's");
    }
  }
  TRY(prove(issuer, between, roots, trust_domain, now, X509_PURPOSE_SSL_SERVER));
  const StackPtr way =
      TRY(prove(issuer, between, roots, trust_domain, now, X509_PURPOSE_SSL_CLIENT));
  const X509* anchor = sk_X509_value(way.get(), sk_X509_num(way.get()) - 1);
  for (const bool signs : {true, false}) {
    for (const auto& root : roots) {
      if ((X509_cmp(root.get(), anchor) == 0) != signs) continue;
      issuer.roots_pem += TRY(certificate_to_pem(root.get()));
    }
  }
  issuer.not_after = TRY(not_after_of(issuer.certificate.get()));
  for (int i = 1; i < sk_X509_num(way.get()); ++i) {
    X509* one = sk_X509_value(way.get(), i);
    issuer.not_after = std::min(issuer.not_after, TRY(not_after_of(one)));
    const bool is_self_signed = X509_self_signed(one, 0) == 1;
    if (!is_self_signed) issuer.chain_pem.push_back(TRY(certificate_to_pem(one)));
  }
  return issuer;
}

class TextAuthority final : public SuppliedAuthority {
 public:
  TextAuthority(std::string trust_domain, Clock clock)
      : trust_domain_(std::move(trust_domain)), clock_(std::move(clock)) {}

  Result<void> replace(const CaFiles& files) override {
    auto signer = std::make_shared<const Signer>(TRY(judge(files, trust_domain_, clock_())),
                                                 trust_domain_, clock_);
    const std::scoped_lock lock(mutex_);
    signer_ = std::move(signer);
    return {};
  }
  Result<std::vector<std::string>> sign(const std::string& csr_pem, const SpiffeId& identity,
                                        std::chrono::seconds lifetime) const override {
    return signer()->sign(csr_pem, identity, lifetime);
  }
  Result<ServerCertificate> issue_server(const std::vector<std::string>& names,
                                         std::chrono::seconds lifetime) const override {
    return signer()->issue_server(names, lifetime);
  }
  std::string roots_pem() const override { return signer()->issuer().roots_pem; }
  const std::string& trust_domain() const override { return trust_domain_; }
  TimePoint not_after() const override { return signer()->issuer().not_after; }

 private:
  std::shared_ptr<const Signer> signer() const {
    const std::scoped_lock lock(mutex_);
    return signer_;
  }

  const std::string trust_domain_;
  const Clock clock_;
  mutable std::mutex mutex_;
  std::shared_ptr<const Signer> signer_;  // guarded by mutex_; set from the first replace() on
};

}  // namespace

Result<std::unique_ptr<SuppliedAuthority>> SuppliedAuthority::make(const CaFiles& files,
                                                                   std::string trust_domain,
                                                                   Clock clock) {
  auto authority = std::make_unique<TextAuthority>(std::move(trust_domain), std::move(clock));
  TRY(authority->replace(files));
  return authority;
}

Result<CaFiles> make_root_files(const std::string& trust_domain, TimePoint now) {
  const KeyPtr key = TRY(generate_p256());
  const CertificatePtr certificate = TRY(make_root_certificate(key.get(), trust_domain, now));
  CaFiles files;
  files.key = TRY(private_key_to_pem(key.get()));
  files.certificate = TRY(certificate_to_pem(certificate.get()));
  files.roots = files.certificate;
  return files;
}

Result<bool> share_a_root(const std::string& one_pem, const std::string& other_pem) {
  const auto one = TRY(parse_all(one_pem, "roots"));
  const auto other = TRY(parse_all(other_pem, "roots"));
  return std::ranges::any_of(one, [&](const CertificatePtr& root) {
    return std::ranges::any_of(other, [&](const CertificatePtr& candidate) {
      return X509_cmp(root.get(), candidate.get()) == 0;
    });
  });
}

}  // namespace weft::identity
