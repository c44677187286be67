#include "ztunnel/tls/credentials.h"

#include "ztunnel/tls/x509.h"

#include <openssl/crypto.h>
#include <openssl/pem.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace weft::tls {
namespace {

// 112 bits: RSA from 2048, no SHA-1, as the handshakes demand too.
constexpr int kAuthLevel = 2;

Fail openssl_fail(const char* what) {
  return fail(Code::kInternal, std::string(what) + ": " + take_openssl_error());
}

Result<KeyPtr> read_key(const Secret& der) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(der.bytes().data());
  ERR_clear_error();
  KeyPtr key(d2i_AutoPrivateKey(nullptr, &bytes, static_cast<long>(der.bytes().size())));
  if (key == nullptr) return fail(Code::kInvalid, "private key: " + take_openssl_error());
  return key;
}

struct RequestFree {
  void operator()(X509_REQ* request) const { X509_REQ_free(request); }
};
struct ExtensionsFree {
  void operator()(X509_EXTENSIONS* extensions) const {
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  }
};

// The request's only extension. Critical, because with an empty subject the name is all there is
// (RFC 5280 section 4.2.1.6).
bool add_uri_name(X509_REQ* request, const std::string& uri) {
  const GeneralNamesPtr names(GENERAL_NAMES_new());
  GENERAL_NAME* name = GENERAL_NAME_new();
  ASN1_IA5STRING* value = ASN1_IA5STRING_new();
  if (names == nullptr || name == nullptr || value == nullptr) return false;
  ASN1_STRING_set(value, uri.data(), static_cast<int>(uri.size()));
  GENERAL_NAME_set0_value(name, GEN_URI, value);
  sk_GENERAL_NAME_push(names.get(), name);
  const std::unique_ptr<X509_EXTENSIONS, ExtensionsFree> extensions(sk_X509_EXTENSION_new_null());
  X509_EXTENSION* extension = X509V3_EXT_i2d(NID_subject_alt_name, 1, names.get());
  if (extensions == nullptr || extension == nullptr) return false;
  sk_X509_EXTENSION_push(extensions.get(), extension);
  return X509_REQ_add_extensions(request, extensions.get()) == 1;
}

struct Parsed {
  std::vector<X509Ptr> certificates;  // leaf first
  std::vector<X509Ptr> roots;
};

Result<Parsed> parse_chain(const std::vector<std::string>& chain) {
  if (chain.size() < 2 || chain.size() > kCertificatesMax) {
    return fail(Code::kInvalid, "certificate chain: " + std::to_string(chain.size()) +
                                    " elements, expected a leaf first and the roots last");
  }
  Parsed parsed;
  for (size_t i = 0; i < chain.size(); ++i) {
    Result<std::vector<X509Ptr>> some = parse_certificates(chain[i], nullptr);
    if (!some) {
      return Fail(std::move(some.error()).in("certificate chain: element " + std::to_string(i)));
    }
    std::vector<X509Ptr>& into = i + 1 < chain.size() ? parsed.certificates : parsed.roots;
    std::ranges::move(*some, std::back_inserter(into));
    if (parsed.certificates.size() > kCertificatesMax) {
      return fail(Code::kInvalid, "certificate chain: more than " +
                                      std::to_string(kCertificatesMax) + " certificates");
    }
  }
  return parsed;
}

Result<void> check_identity(const X509* leaf, const SpiffeId& expected) {
  const std::vector<std::string> uris = TRY(uri_names(leaf));
  if (uris.size() != 1) {
    return fail(Code::kInvalid, "certificate: expected exactly one URI name (" +
                                    expected.to_string() + "), got " + describe_names(leaf));
  }
  const SpiffeId identity = TRY(SpiffeId::parse(uris.front()));
  if (identity != expected) {
    return fail(Code::kInvalid,
                "certificate: asked for " + expected.to_string() + ", got " + identity.to_string());
  }
  return {};
}

// As a peer would: the chain ends at a root, every date and signature is good, and the leaf may be
// both a client and a server.
Result<void> check_chain(const Parsed& parsed) {
  const StorePtr store = TRY(make_store(parsed.roots));
  for (const auto& [purpose, name] : {std::pair{X509_PURPOSE_SSL_CLIENT, "client"},
                                      std::pair{X509_PURPOSE_SSL_SERVER, "server"}}) {
    const X509StackPtr others(sk_X509_new_null());
    const StoreContextPtr context(X509_STORE_CTX_new());
    if (others == nullptr || context == nullptr) return openssl_fail("X509_STORE_CTX_new");
    for (size_t i = 1; i < parsed.certificates.size(); ++i) {
      X509_up_ref(parsed.certificates[i].get());
      sk_X509_push(others.get(), parsed.certificates[i].get());
    }
    if (X509_STORE_CTX_init(context.get(), store.get(), parsed.certificates.front().get(),
                            others.get()) != 1) {
      return openssl_fail("X509_STORE_CTX_init");
    }
    X509_STORE_CTX_set_purpose(context.get(), purpose);
    X509_VERIFY_PARAM_set_auth_level(X509_STORE_CTX_get0_param(context.get()), kAuthLevel);
    if (X509_verify_cert(context.get()) != 1) {
      const int reason = X509_STORE_CTX_get_error(context.get());
      ERR_clear_error();
      return fail(Code::kInvalid, std::string("certificate: no peer would accept it from a ") +
                                      name + ": " + X509_verify_cert_error_string(reason));
    }
  }
  return {};
}

}  // namespace

// A short string's bytes live inside the object, so moving leaves a copy behind: wipe it.
Secret::Secret(Secret&& other) noexcept : bytes_(std::move(other.bytes_)) {
  OPENSSL_cleanse(other.bytes_.data(), other.bytes_.capacity());
  other.bytes_.clear();
}

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this == &other) return *this;
  OPENSSL_cleanse(bytes_.data(), bytes_.capacity());
  bytes_ = std::move(other.bytes_);
  OPENSSL_cleanse(other.bytes_.data(), other.bytes_.capacity());
  other.bytes_.clear();
  return *this;
}

Secret::~Secret() { OPENSSL_cleanse(bytes_.data(), bytes_.capacity()); }

Result<Secret> generate_key() {
  ERR_clear_error();
  const KeyPtr key(EVP_EC_gen("P-256"));
  if (key == nullptr) return openssl_fail("making a P-256 key");
  PKCS8_PRIV_KEY_INFO* info = EVP_PKEY2PKCS8(key.get());
  if (info == nullptr) return openssl_fail("writing a key as PKCS#8");
  unsigned char* der = nullptr;
  const int size = i2d_PKCS8_PRIV_KEY_INFO(info, &der);
  PKCS8_PRIV_KEY_INFO_free(info);
  if (size <= 0) return openssl_fail("writing a key as PKCS#8");
  Secret secret(std::string(reinterpret_cast<const char*>(der), static_cast<size_t>(size)));
  OPENSSL_clear_free(der, static_cast<size_t>(size));
  return secret;
}

Result<std::string> make_csr(const Secret& key_der, const SpiffeId& identity) {
  const KeyPtr key = TRY(read_key(key_der));
  const std::unique_ptr<X509_REQ, RequestFree> request(X509_REQ_new());
  if (request == nullptr || X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) != 1 ||
      X509_REQ_set_pubkey(request.get(), key.get()) != 1 ||
      !add_uri_name(request.get(), identity.to_string()) ||
      X509_REQ_sign(request.get(), key.get(), EVP_sha256()) <= 0) {
    return openssl_fail("making a certificate request");
  }
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (bio == nullptr || PEM_write_bio_X509_REQ(bio.get(), request.get()) != 1) {
    return openssl_fail("writing a certificate request");
  }
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  return std::string(text, static_cast<size_t>(size));
}

std::chrono::system_clock::time_point Credentials::renew_at() const {
  return not_before + (not_after - not_before) / 2;
}

Result<std::shared_ptr<const Credentials>> Credentials::from_chain(
    Secret key_der, const std::vector<std::string>& chain, const SpiffeId& expected) {
  const Parsed parsed = TRY(parse_chain(chain));
  X509* leaf = parsed.certificates.front().get();
  const KeyPtr key = TRY(read_key(key_der));
  ERR_clear_error();
  if (X509_check_private_key(leaf, key.get()) != 1) {
    return fail(Code::kInvalid, "certificate for " + expected.to_string() +
                                    ": it does not fit our key: " + take_openssl_error());
  }
  TRY(check_identity(leaf, expected));
  if (X509_check_ca(leaf) != 0) {
    return fail(Code::kInvalid,
                "certificate for " + expected.to_string() + ": it is a CA's, expected a leaf");
  }
  TRY(check_chain(parsed));

  auto credentials = std::make_shared<Credentials>();
  credentials->identity = expected;
  credentials->key_der = std::move(key_der);
  for (const X509Ptr& certificate : parsed.certificates) {
    credentials->chain_pem.push_back(to_pem(certificate.get()));
  }
  for (const X509Ptr& root : parsed.roots) credentials->roots_pem += to_pem(root.get());
  credentials->serial = serial_of(leaf);
  credentials->not_before = TRY(time_of(X509_get0_notBefore(leaf)));
  credentials->not_after = TRY(time_of(X509_get0_notAfter(leaf)));
  return credentials;
}

Result<std::vector<CertificateFacts>> facts_of(std::string_view pem) {
  std::vector<CertificateFacts> result;
  for (const X509Ptr& certificate : TRY(parse_certificates(pem, nullptr))) {
    result.push_back({.pem = to_pem(certificate.get()),
                      .serial = serial_of(certificate.get()),
                      .not_before = TRY(time_of(X509_get0_notBefore(certificate.get()))),
                      .not_after = TRY(time_of(X509_get0_notAfter(certificate.get())))});
  }
  return result;
}

}  // namespace weft::tls
