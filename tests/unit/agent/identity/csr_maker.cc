#include "tests/unit/agent/identity/csr_maker.h"

#include "ztunnel/base/check.h"

#include <openssl/pem.h>

namespace weft::identity {
namespace {

void add(STACK_OF(X509_EXTENSION) * extensions, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  CHECK(extension != nullptr);
  CHECK(sk_X509_EXTENSION_push(extensions, extension) > 0);
}

}  // namespace

KeyPtr make_rsa(unsigned bits) { return KeyPtr(EVP_RSA_gen(bits)); }
KeyPtr make_ec(const char* curve) { return KeyPtr(EVP_EC_gen(curve)); }
KeyPtr make_ed25519() { return KeyPtr(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")); }

std::string make_csr(EVP_PKEY* key, const CsrRecipe& recipe) {
  const RequestPtr request(X509_REQ_new());
  CHECK(X509_REQ_set_pubkey(request.get(), key) == 1);
  if (!recipe.subject.empty()) {
    CHECK(X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(request.get()), "CN", MBSTRING_UTF8,
                                     reinterpret_cast<const unsigned char*>(recipe.subject.c_str()),
                                     -1, -1, 0) == 1);
  }
  STACK_OF(X509_EXTENSION)* extensions = sk_X509_EXTENSION_new_null();
  std::string sans;
  for (const auto& san : recipe.sans) sans += (sans.empty() ? "critical," : ",") + san;
  if (!sans.empty()) add(extensions, NID_subject_alt_name, sans);
  if (recipe.asks_for_ca) add(extensions, NID_basic_constraints, "critical,CA:TRUE");
  if (sk_X509_EXTENSION_num(extensions) > 0) {
    CHECK(X509_REQ_add_extensions(request.get(), extensions) == 1);
  }
  sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  EVP_PKEY* signer = recipe.signer == nullptr ? key : recipe.signer;
  const bool ed25519 = EVP_PKEY_get_base_id(signer) == EVP_PKEY_ED25519;
  CHECK(X509_REQ_sign(request.get(), signer, ed25519 ? nullptr : EVP_sha256()) > 0);
  const BioPtr bio(BIO_new(BIO_s_mem()));
  CHECK(PEM_write_bio_X509_REQ(bio.get(), request.get()) == 1);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<size_t>(size)};
}

std::string good_csr(const std::string& uri) {
  return make_csr(make_ec("P-256").get(), {.sans = {"URI:" + uri}, .subject = {}});
}

}  // namespace weft::identity
