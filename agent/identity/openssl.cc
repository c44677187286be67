#include "agent/identity/openssl.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>

namespace weft::identity {
namespace {

// OpenSSL would ask on the terminal.
int no_password(char*, int, int, void*) { return -1; }

Result<BioPtr> reader_of(std::string_view text) {
  BioPtr bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  if (!bio) return Fail(openssl_error(Code::kInternal, "reading PEM"));
  return bio;
}

std::string rest_of(BIO* bio) {
  char* data = nullptr;
  const auto size = BIO_get_mem_data(bio, &data);
  return size > 0 ? std::string(data, static_cast<size_t>(size)) : std::string();
}

template <class Ptr, class Read>
Result<Ptr> read_one(std::string_view pem, const char* what, Read read) {
  const BioPtr bio = TRY(reader_of(pem));
  Ptr object(read(bio.get(), nullptr, no_password, nullptr));
  if (!object) return Fail(openssl_error(Code::kInvalid, std::string("expected a PEM ") + what));
  if (rest_of(bio.get()).find_first_not_of(" \t\r\n") != std::string::npos) {
    return fail(Code::kInvalid, std::string("expected one PEM ") + what + " and nothing behind it");
  }
  return object;
}

template <class Write>
Result<std::string> write_pem(const char* what, Write write) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (!bio || write(bio.get()) != 1) {
    return Fail(openssl_error(Code::kInternal, std::string("writing a ") + what));
  }
  return rest_of(bio.get());
}

}  // namespace

Error openssl_error(Code code, std::string_view what) {
  std::string message(what);
  const unsigned long first = ERR_get_error();
  if (const char* reason = first == 0 ? nullptr : ERR_reason_error_string(first)) {
    message += ": ";
    message += reason;
  }
  ERR_clear_error();
  return {code, std::move(message)};
}

Result<KeyPtr> generate_p256() {
  KeyPtr key(EVP_EC_gen("P-256"));
  if (!key) return Fail(openssl_error(Code::kInternal, "making a P-256 key"));
  return key;
}

Result<KeyPtr> private_key_from_pem(std::string_view pem) {
  return read_one<KeyPtr>(pem, "private key", PEM_read_bio_PrivateKey);
}

Result<KeyPtr> public_key_from_pem(std::string_view pem) {
  return read_one<KeyPtr>(pem, "public key", PEM_read_bio_PUBKEY);
}

Result<CertificatePtr> certificate_from_pem(std::string_view pem) {
  return read_one<CertificatePtr>(pem, "certificate", PEM_read_bio_X509);
}

Result<RequestPtr> request_from_pem(std::string_view pem) {
  return read_one<RequestPtr>(pem, "certificate request", PEM_read_bio_X509_REQ);
}

Result<std::string> private_key_to_pem(const EVP_PKEY* key) {
  return write_pem("private key", [&](BIO* bio) {
    return PEM_write_bio_PKCS8PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr);
  });
}

Result<std::string> public_key_to_pem(const EVP_PKEY* key) {
  return write_pem("public key", [&](BIO* bio) { return PEM_write_bio_PUBKEY(bio, key); });
}

Result<std::string> certificate_to_pem(const X509* certificate) {
  return write_pem("certificate", [&](BIO* bio) { return PEM_write_bio_X509(bio, certificate); });
}

std::string curve_of(const EVP_PKEY* key) {
  int is_explicit = 0;
  EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &is_explicit);
  char name[64];
  size_t size = 0;
  const bool named = EVP_PKEY_get_base_id(key) == EVP_PKEY_EC && is_explicit == 0 &&
                     EVP_PKEY_get_group_name(key, name, sizeof name, &size) == 1;
  ERR_clear_error();
  return named ? std::string(name, size) : std::string();
}

}  // namespace weft::identity
