#include "agent/identity/csr.h"

#include "agent/identity/ca.h"

#include <openssl/err.h>

namespace weft::identity {
namespace {

// Bounds the time that one signature check may take.
constexpr int kRsaBitsMax = 8192;
constexpr int kRsaBitsMin = 2048;

bool is_accepted(const EVP_PKEY* key) {
  switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_EC: {
      const std::string curve = curve_of(key);
      return curve == "prime256v1" || curve == "secp384r1";
    }
    case EVP_PKEY_RSA:
      return EVP_PKEY_get_bits(key) >= kRsaBitsMin && EVP_PKEY_get_bits(key) <= kRsaBitsMax;
    case EVP_PKEY_ED25519:
      return true;
    default:
      return false;
  }
}

Result<SpiffeId> only_san(const X509_REQ* request) {
  // The const_cast: OpenSSL 3.0's getter takes a non-const pointer and does not write.
  STACK_OF(X509_EXTENSION)* extensions =
      X509_REQ_get_extensions(const_cast<X509_REQ*>(request));  // NOLINT
  int problem = 0;
  const NamesPtr names(static_cast<GENERAL_NAMES*>(
      X509V3_get_d2i(extensions, NID_subject_alt_name, &problem, nullptr)));
  sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  ERR_clear_error();  // a SAN that does not parse: nothing was found
  if (!names || sk_GENERAL_NAME_num(names.get()) != 1) {
    return fail(Code::kInvalid, "expected exactly one subject alternative name in the request");
  }
  const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), 0);
  if (name->type != GEN_URI) {
    return fail(Code::kInvalid, "expected a URI as subject alternative name of the request");
  }
  const ASN1_STRING* uri = name->d.uniformResourceIdentifier;
  return SpiffeId::parse({reinterpret_cast<const char*>(ASN1_STRING_get0_data(uri)),
                          static_cast<size_t>(ASN1_STRING_length(uri))});
}

}  // namespace

Result<Csr> parse_csr(std::string_view pem) {
  if (pem.size() > kCsrBytesMax) {
    return fail(Code::kInvalid, "the certificate request is longer than " +
                                    std::to_string(kCsrBytesMax) + " bytes");
  }
  const RequestPtr request = TRY(request_from_pem(pem));
  KeyPtr key(X509_REQ_get_pubkey(request.get()));
  if (!key) return Fail(openssl_error(Code::kInvalid, "the request's public key is malformed"));
  if (!is_accepted(key.get())) {
    return fail(Code::kInvalid,
                "expected an ECDSA P-256 or P-384, Ed25519 or RSA 2048 to 8192 bit key in the "
                "request");
  }
  if (X509_REQ_verify(request.get(), key.get()) != 1) {
    return Fail(openssl_error(Code::kInvalid, "the request is not signed by its own key"));
  }
  SpiffeId identity = TRY(only_san(request.get()));
  return Csr{std::move(key), std::move(identity)};
}

Result<SpiffeId> identity_in_csr(const std::string& csr_pem) {
  return TRY(parse_csr(csr_pem)).identity;
}

}  // namespace weft::identity
