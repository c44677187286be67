#include "tests/support/test_authority.h"

#include "ztunnel/base/check.h"
#include "ztunnel/tls/openssl.h"
#include "ztunnel/tls/x509.h"

#include <openssl/pem.h>
#include <openssl/rand.h>

#include <ctime>
#include <utility>

namespace weft::testing {
namespace {

using tls::BioPtr;
using tls::KeyPtr;
using tls::X509Ptr;

KeyPtr make_key() {
  KeyPtr key(EVP_EC_gen("P-256"));
  CHECK(key != nullptr);
  return key;
}

std::string pem_of(EVP_PKEY* key) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  CHECK(PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1);
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  return std::string(text, static_cast<size_t>(size));
}

tls::Secret der_of(EVP_PKEY* key) {
  PKCS8_PRIV_KEY_INFO* info = EVP_PKEY2PKCS8(key);
  unsigned char* der = nullptr;
  const int size = i2d_PKCS8_PRIV_KEY_INFO(info, &der);
  PKCS8_PRIV_KEY_INFO_free(info);
  CHECK(size > 0);
  tls::Secret secret(std::string(reinterpret_cast<const char*>(der), static_cast<size_t>(size)));
  OPENSSL_free(der);
  return secret;
}

void add_extension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  CHECK(extension != nullptr);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

std::string join(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : ",") + part;
  return text;
}

// A certificate over `key` with everything but extensions and signature.
X509Ptr make_certificate(EVP_PKEY* key, std::chrono::seconds from, std::chrono::seconds until) {
  X509Ptr certificate(X509_new());
  X509_set_version(certificate.get(), X509_VERSION_3);
  const tls::BignumPtr serial(BN_new());
  BN_rand(serial.get(), 120, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY);
  BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(certificate.get()));
  const time_t now = std::time(nullptr);
  ASN1_TIME_set(X509_getm_notBefore(certificate.get()), now + from.count());
  ASN1_TIME_set(X509_getm_notAfter(certificate.get()), now + until.count());
  X509_set_pubkey(certificate.get(), key);
  return certificate;
}

X509Ptr make_ca(const std::string& name, EVP_PKEY* key, X509* issuer, EVP_PKEY* issuer_key) {
  using std::chrono::hours;
  X509Ptr certificate = make_certificate(key, hours(-24), hours(24 * 365));
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()), "O", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  X509* signer = issuer != nullptr ? issuer : certificate.get();
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(signer));
  add_extension(certificate.get(), signer, NID_basic_constraints, "critical,CA:TRUE");
  add_extension(certificate.get(), signer, NID_key_usage, "critical,keyCertSign,cRLSign");
  add_extension(certificate.get(), signer, NID_subject_key_identifier, "hash");
  CHECK(X509_sign(certificate.get(), issuer_key, EVP_sha256()) > 0);
  return certificate;
}

void add_leaf_extensions(X509* leaf, X509* issuer, std::string_view uri,
                         const LeafOptions& options) {
  add_extension(leaf, issuer, NID_basic_constraints,
                options.is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
  add_extension(
      leaf, issuer, NID_key_usage,
      options.is_ca ? "critical,digitalSignature,keyCertSign" : "critical,digitalSignature");
  // As every real CA does: tells roots of one name apart.
  add_extension(leaf, issuer, NID_authority_key_identifier, "keyid:always");
  std::vector<std::string> usages;
  if (options.server_auth) usages.emplace_back("serverAuth");
  if (options.client_auth) usages.emplace_back("clientAuth");
  if (usages.empty()) usages.emplace_back("codeSigning");
  add_extension(leaf, issuer, NID_ext_key_usage, join(usages));
  std::vector<std::string> names;
  if (!uri.empty()) names.push_back("URI:" + std::string(uri));
  for (const std::string& more : options.more_uris) names.push_back("URI:" + more);
  for (const std::string& name : options.dns_names) names.push_back("DNS:" + name);
  for (const std::string& address : options.ip_addresses) names.push_back("IP:" + address);
  if (!names.empty()) {
    add_extension(leaf, issuer, NID_subject_alt_name, "critical," + join(names));
  }
}

}  // namespace

struct TestAuthority::Impl {
  std::string trust_domain;
  KeyPtr root_key = make_key();
  KeyPtr intermediate_key = make_key();
  X509Ptr root;
  X509Ptr intermediate;
  std::string root_pem;
  std::string intermediate_pem;

  X509Ptr sign_leaf(EVP_PKEY* key, std::string_view uri, const LeafOptions& options) const {
    X509* issuer = options.by_intermediate ? intermediate.get() : root.get();
    EVP_PKEY* issuer_key = options.by_intermediate ? intermediate_key.get() : root_key.get();
    X509Ptr leaf = make_certificate(key, options.valid_from, options.valid_until);
    X509_set_issuer_name(leaf.get(), X509_get_subject_name(issuer));
    add_leaf_extensions(leaf.get(), issuer, uri, options);
    CHECK(X509_sign(leaf.get(), issuer_key, EVP_sha256()) > 0);
    return leaf;
  }
};

TestAuthority::TestAuthority(std::string trust_domain) : impl_(std::make_unique<Impl>()) {
  impl_->trust_domain = std::move(trust_domain);
  EVP_PKEY* root_key = impl_->root_key.get();
  impl_->root = make_ca("root of " + impl_->trust_domain, root_key, nullptr, root_key);
  impl_->intermediate = make_ca("intermediate of " + impl_->trust_domain,
                                impl_->intermediate_key.get(), impl_->root.get(), root_key);
  impl_->root_pem = tls::to_pem(impl_->root.get());
  impl_->intermediate_pem = tls::to_pem(impl_->intermediate.get());
}

TestAuthority::~TestAuthority() = default;

const std::string& TestAuthority::trust_domain() const { return impl_->trust_domain; }
const std::string& TestAuthority::root_pem() const { return impl_->root_pem; }

Issued TestAuthority::issue_pem(std::string_view uri, const LeafOptions& options) const {
  const KeyPtr key = make_key();
  const X509Ptr leaf = impl_->sign_leaf(key.get(), uri, options);
  Issued issued;
  issued.certificate_pem = tls::to_pem(leaf.get());
  if (options.by_intermediate) issued.certificate_pem += tls::to_pem(impl_->intermediate.get());
  issued.key_pem = pem_of(key.get());
  issued.key_der = der_of(key.get());
  return issued;
}

std::shared_ptr<const tls::Credentials> TestAuthority::issue(std::string_view uri,
                                                             const LeafOptions& options) const {
  Issued issued = issue_pem(uri, options);
  auto credentials = std::make_shared<tls::Credentials>();
  // What proves the identity of a bad one is its certificate; the trust domain is always ours.
  credentials->identity =
      SpiffeId::parse(uri).value_or(SpiffeId{impl_->trust_domain, "none", "none"});
  credentials->key_der = std::move(issued.key_der);
  credentials->chain_pem = {issued.certificate_pem};
  credentials->roots_pem = options.roots_pem.empty() ? impl_->root_pem : options.roots_pem;
  credentials->not_before = std::chrono::system_clock::now() + options.valid_from;
  credentials->not_after = std::chrono::system_clock::now() + options.valid_until;
  const X509Ptr leaf = std::move(tls::parse_certificates(issued.certificate_pem, nullptr)->front());
  credentials->serial = tls::serial_of(leaf.get());
  return credentials;
}

const std::string& TestAuthority::intermediate_pem() const { return impl_->intermediate_pem; }

std::string TestAuthority::revoke(const std::vector<std::string>& certificates_pem,
                                  const CrlOptions& options) const {
  X509* issuer = options.by_intermediate ? impl_->intermediate.get() : impl_->root.get();
  EVP_PKEY* key = options.by_intermediate ? impl_->intermediate_key.get() : impl_->root_key.get();
  X509_CRL* crl = X509_CRL_new();
  X509_CRL_set_version(crl, X509_CRL_VERSION_2);
  X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer));
  ASN1_TIME* time = ASN1_TIME_set(nullptr, std::time(nullptr) - 3600);
  X509_CRL_set1_lastUpdate(crl, time);
  ASN1_TIME_set(time, std::time(nullptr) + options.next_update.count());
  X509_CRL_set1_nextUpdate(crl, time);
  for (const std::string& pem : certificates_pem) {
    const X509Ptr certificate = std::move(tls::parse_certificates(pem, nullptr)->front());
    X509_REVOKED* entry = X509_REVOKED_new();
    X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(certificate.get()));
    X509_REVOKED_set_revocationDate(entry, time);
    X509_CRL_add0_revoked(crl, entry);
  }
  ASN1_TIME_free(time);
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, nullptr, nullptr, crl, 0);
  const auto extend = [&](int nid, const char* value) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
    CHECK(extension != nullptr);
    X509_CRL_add_ext(crl, extension, -1);
    X509_EXTENSION_free(extension);
  };
  if (options.with_key_id) extend(NID_authority_key_identifier, "keyid:always");
  if (options.is_delta) {
    ASN1_INTEGER* base = ASN1_INTEGER_new();
    ASN1_INTEGER_set(base, 1);
    X509_CRL_add1_ext_i2d(crl, NID_delta_crl, base, 1, 0);
    ASN1_INTEGER_free(base);
  }
  X509_CRL_sort(crl);
  CHECK(X509_CRL_sign(crl, key, EVP_sha256()) > 0);
  const BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509_CRL(bio.get(), crl);
  X509_CRL_free(crl);
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  return std::string(text, static_cast<size_t>(size));
}

std::vector<std::string> TestAuthority::sign(std::string_view csr_pem, std::string_view uri,
                                             const LeafOptions& options) const {
  const BioPtr bio(BIO_new_mem_buf(csr_pem.data(), static_cast<int>(csr_pem.size())));
  X509_REQ* request = PEM_read_bio_X509_REQ(bio.get(), nullptr, nullptr, nullptr);
  if (request == nullptr) return {};
  std::vector<std::string> chain;
  EVP_PKEY* key = X509_REQ_get0_pubkey(request);
  if (key != nullptr && X509_REQ_verify(request, key) == 1) {
    chain.push_back(tls::to_pem(impl_->sign_leaf(key, uri, options).get()));
    if (options.by_intermediate) chain.push_back(tls::to_pem(impl_->intermediate.get()));
    chain.push_back(impl_->root_pem);
  }
  X509_REQ_free(request);
  return chain;
}

std::string der_of_pem(const std::string& pem) {
  const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  char* name = nullptr;
  char* header = nullptr;
  unsigned char* data = nullptr;
  long size = 0;
  CHECK(PEM_read_bio(bio.get(), &name, &header, &data, &size) == 1);
  std::string der(reinterpret_cast<const char*>(data), static_cast<size_t>(size));
  OPENSSL_free(name);
  OPENSSL_free(header);
  OPENSSL_free(data);
  return der;
}

}  // namespace weft::testing
