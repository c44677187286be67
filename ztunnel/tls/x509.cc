#include "ztunnel/tls/x509.h"

#include <openssl/pem.h>

#include <algorithm>
#include <ctime>

namespace weft::tls {
namespace {

// Without it OpenSSL would ask at the terminal for an encrypted PEM's password.
int no_password(char* /*buffer*/, int /*size*/, int /*write*/, void* /*context*/) { return -1; }

}  // namespace

std::string take_openssl_error() {
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  if (code == 0) return "no reason given";
  const char* reason = ERR_reason_error_string(code);
  return reason != nullptr ? reason : "error " + std::to_string(code);
}

Result<std::vector<X509Ptr>> parse_certificates(std::string_view pem, OSSL_LIB_CTX* library) {
  if (pem.size() > kPemBytesMax) {
    return fail(Code::kInvalid, "certificates: " + std::to_string(pem.size()) +
                                    " bytes of PEM, expected at most " +
                                    std::to_string(kPemBytesMax));
  }
  ERR_clear_error();
  const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  std::vector<X509Ptr> certificates;
  while (true) {
    X509* certificate = X509_new_ex(library, nullptr);
    if (PEM_read_bio_X509(bio.get(), &certificate, no_password, nullptr) == nullptr) {
      X509_free(certificate);
      break;
    }
    certificates.emplace_back(certificate);
    if (certificates.size() > kCertificatesMax) {
      return fail(Code::kInvalid,
                  "certificates: more than " + std::to_string(kCertificatesMax) + " in one PEM");
    }
  }
  const unsigned long end = ERR_peek_last_error();
  const bool at_end = ERR_GET_LIB(end) == ERR_LIB_PEM && ERR_GET_REASON(end) == PEM_R_NO_START_LINE;
  const std::string reason = take_openssl_error();
  if (!at_end || certificates.empty()) {
    return fail(Code::kInvalid, "certificate " + std::to_string(certificates.size() + 1) +
                                    " of the PEM cannot be read: " + reason);
  }
  return certificates;
}

std::string to_pem(X509* certificate) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(bio.get(), certificate);
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  return std::string(text, static_cast<size_t>(size));
}

Result<std::vector<std::string>> uri_names(const X509* certificate) {
  int found = 0;
  const GeneralNamesPtr names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, &found, nullptr)));
  if (names == nullptr) {
    // -1: not there. -2: there more than once. Otherwise: there, and not readable.
    if (found == -1) return std::vector<std::string>{};
    ERR_clear_error();
    return fail(Code::kInvalid, "certificate: subjectAltName is malformed or given twice");
  }
  std::vector<std::string> uris;
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_URI) continue;
    const ASN1_IA5STRING* uri = name->d.uniformResourceIdentifier;
    uris.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(uri)),
                      static_cast<size_t>(ASN1_STRING_length(uri)));
  }
  return uris;
}

std::string describe_names(const X509* certificate) {
  constexpr size_t kNamesMax = 4;  // enough to recognise a peer in a log line
  constexpr size_t kNameBytesMax = 256;
  const Result<std::vector<std::string>> uris = uri_names(certificate);
  if (!uris) return "a malformed name";
  if (uris->empty()) return "no URI name";
  std::string text;
  for (size_t i = 0; i < uris->size(); ++i) {
    if (i == kNamesMax) return text + ", ...";
    if (i > 0) text += ", ";
    text += uris->at(i).substr(0, kNameBytesMax);
  }
  return text;
}

std::string serial_of(const X509* certificate) {
  const BignumPtr number(ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr));
  if (number == nullptr) return {};
  char* text = BN_bn2hex(number.get());
  std::string serial = text != nullptr ? text : "";
  OPENSSL_free(text);
  return serial;
}

Result<std::chrono::system_clock::time_point> time_of(const ASN1_TIME* time) {
  tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) {
    ERR_clear_error();
    return fail(Code::kInvalid, "certificate: a validity date is malformed");
  }
  // The clock counts nanoseconds in 64 bits: year 9999, which means "never", would not fit.
  constexpr time_t kLatest = 9'000'000'000;
  return std::chrono::system_clock::from_time_t(std::min<time_t>(timegm(&parts), kLatest));
}

Result<StorePtr> make_store(const std::vector<X509Ptr>& roots) {
  StorePtr store(X509_STORE_new());
  if (store == nullptr) return fail(Code::kInternal, "X509_STORE_new: " + take_openssl_error());
  for (const X509Ptr& root : roots) {
    if (X509_STORE_add_cert(store.get(), root.get()) != 1) {
      return fail(Code::kInvalid, "root certificate: " + take_openssl_error());
    }
  }
  X509_STORE_set_flags(store.get(), X509_V_FLAG_PARTIAL_CHAIN);
  return store;
}

}  // namespace weft::tls
