#pragma once

#include "ztunnel/base/result.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <string_view>

// OpenSSL objects with owners, and its errors as ours. For this room's .cc files: no header that
// another room includes may include this one.

namespace weft::identity {

template <auto kFree>
struct Freed {
  template <class T>
  void operator()(T* object) const {
    kFree(object);
  }
};

using BioPtr = std::unique_ptr<BIO, Freed<BIO_free_all>>;
using BignumPtr = std::unique_ptr<BIGNUM, Freed<BN_free>>;
using EcdsaSigPtr = std::unique_ptr<ECDSA_SIG, Freed<ECDSA_SIG_free>>;
using DigestPtr = std::unique_ptr<EVP_MD_CTX, Freed<EVP_MD_CTX_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using RequestPtr = std::unique_ptr<X509_REQ, Freed<X509_REQ_free>>;
using CertificatePtr = std::unique_ptr<X509, Freed<X509_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, Freed<X509_EXTENSION_free>>;
using NamesPtr = std::unique_ptr<GENERAL_NAMES, Freed<GENERAL_NAMES_free>>;

// "what: OpenSSL's reason"; empties this thread's error queue.
Error openssl_error(Code code, std::string_view what);

Result<KeyPtr> generate_p256();
// Exactly one PEM block and nothing else but white space; an encrypted key is an error, never a
// prompt.
Result<KeyPtr> private_key_from_pem(std::string_view pem);
Result<KeyPtr> public_key_from_pem(std::string_view pem);
Result<CertificatePtr> certificate_from_pem(std::string_view pem);
Result<RequestPtr> request_from_pem(std::string_view pem);

Result<std::string> private_key_to_pem(const EVP_PKEY* key);  // PKCS#8
Result<std::string> public_key_to_pem(const EVP_PKEY* key);
Result<std::string> certificate_to_pem(const X509* certificate);

// The named curve of an EC key ("prime256v1"); empty for other keys and for curves written out as
// parameters.
std::string curve_of(const EVP_PKEY* key);

}  // namespace weft::identity
