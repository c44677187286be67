#include "ztunnel/tls/revocation.h"

#include "ztunnel/tls/x509.h"

#include <openssl/pem.h>
#include <openssl/sha.h>

#include <algorithm>
#include <cstring>
#include <ctime>

namespace weft::tls {
namespace {

constexpr std::string_view kRevokedWords = "certificate was revoked";
constexpr size_t kListsMax = 256;  // one a CA

using CrlPtr = std::unique_ptr<X509_CRL, Free<X509_CRL_free>>;
using KeyIdPtr = std::unique_ptr<AUTHORITY_KEYID, Free<AUTHORITY_KEYID_free>>;
using Digest = CertificateId::Digest;

Digest digest_of(std::string_view bytes) {
  std::array<uint8_t, SHA256_DIGEST_LENGTH> whole{};
  SHA256(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), whole.data());
  Digest half;
  std::copy_n(whole.begin(), half.size(), half.begin());
  return half;
}

std::string der_of(const X509_NAME* name) {
  uint8_t* der = nullptr;
  const int size = i2d_X509_NAME(name, &der);
  if (size <= 0) return {};
  std::string bytes(reinterpret_cast<const char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return bytes;
}

std::string bytes_of(const ASN1_STRING* text) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
          static_cast<size_t>(ASN1_STRING_length(text))};
}

Digest issuer_and_serial(const std::string& issuer_der, const ASN1_INTEGER* serial) {
  const char sign = ASN1_STRING_type(serial) == V_ASN1_NEG_INTEGER ? '-' : '+';
  return digest_of(issuer_der + sign + bytes_of(serial));
}

Digest key_digest(const ASN1_OCTET_STRING* key_id) {
  return key_id == nullptr ? Digest{} : digest_of(bytes_of(key_id));
}

}  // namespace

CertificateId id_of(X509* certificate) {
  return {issuer_and_serial(der_of(X509_get_issuer_name(certificate)),
                            X509_get0_serialNumber(certificate)),
          key_digest(X509_get0_authority_key_id(certificate))};
}

// Takes the entries of one CRL after the other.
class ListReader {
 public:
  Result<void> add(X509_CRL* crl) {
    const X509_NAME* issuer = X509_CRL_get_issuer(crl);
    const std::string name = name_of(issuer);
    TRY(check_extensions(crl, name));
    const std::string issuer_der = der_of(issuer);
    const Digest key = authority_key_of(crl);
    STACK_OF(X509_REVOKED)* revoked = X509_CRL_get_REVOKED(crl);
    for (int i = 0; i < sk_X509_REVOKED_num(revoked); ++i) {
      const X509_REVOKED* one = sk_X509_REVOKED_value(revoked, i);
      if (has_critical(one)) {
        return fail(Code::kInvalid, "CRL of " + name + ": entry " + std::to_string(i + 1) +
                                        " has a critical extension that is not understood");
      }
      list_->entries_.emplace(issuer_and_serial(issuer_der, X509_REVOKED_get0_serialNumber(one)),
                              key);
    }
    const ASN1_TIME* next = X509_CRL_get0_nextUpdate(crl);
    if (next != nullptr && X509_cmp_current_time(next) < 0) list_->stale_.push_back(name);
    return {};
  }
  std::shared_ptr<const RevocationList> take() { return std::move(list_); }

 private:
  static std::string name_of(const X509_NAME* name) {
    const BioPtr bio(BIO_new(BIO_s_mem()));
    X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_RFC2253);
    char* text = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &text);
    return {text, static_cast<size_t>(size)};
  }

  // A limited scope (only CA certificates, only some reasons, another issuer's) is always critical.
  static Result<void> check_extensions(X509_CRL* crl, const std::string& name) {
    for (int i = 0; i < X509_CRL_get_ext_count(crl); ++i) {
      X509_EXTENSION* extension = X509_CRL_get_ext(crl, i);
      if (X509_EXTENSION_get_critical(extension) == 0) continue;
      const int kind = OBJ_obj2nid(X509_EXTENSION_get_object(extension));
      const char* what = kind == NID_undef ? "an unknown one" : OBJ_nid2sn(kind);
      return fail(Code::kInvalid, "CRL of " + name + ": it has a critical extension (" + what +
                                      "), expected a complete CRL of one CA");
    }
    return {};
  }

  static bool has_critical(const X509_REVOKED* entry) {
    for (int i = 0; i < X509_REVOKED_get_ext_count(entry); ++i) {
      if (X509_EXTENSION_get_critical(X509_REVOKED_get_ext(entry, i)) != 0) return true;
    }
    return false;
  }

  static Digest authority_key_of(X509_CRL* crl) {
    const KeyIdPtr id(static_cast<AUTHORITY_KEYID*>(
        X509_CRL_get_ext_d2i(crl, NID_authority_key_identifier, nullptr, nullptr)));
    return key_digest(id ? id->keyid : nullptr);
  }

  std::shared_ptr<RevocationList> list_ = std::make_shared<RevocationList>();
};

Result<std::shared_ptr<const RevocationList>> RevocationList::parse(std::string_view bytes) {
  if (bytes.size() > kBytesMax) {
    return fail(Code::kLimit, "CRL: more than " + std::to_string(kBytesMax) + " bytes");
  }
  ListReader reader;
  ERR_clear_error();
  if (bytes.find("-----BEGIN ") == std::string_view::npos) {
    const auto* at = reinterpret_cast<const uint8_t*>(bytes.data());
    const auto* end = at + bytes.size();
    const CrlPtr crl(d2i_X509_CRL(nullptr, &at, static_cast<long>(bytes.size())));
    ERR_clear_error();
    if (!crl || at != end) return fail(Code::kInvalid, "CRL: expected PEM, or one CRL in DER");
    TRY(reader.add(crl.get()));
    return reader.take();
  }
  const BioPtr bio(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
  size_t lists = 0;
  while (true) {
    const CrlPtr crl(PEM_read_bio_X509_CRL(bio.get(), nullptr, nullptr, nullptr));
    if (!crl) break;
    if (++lists > kListsMax) {
      return fail(Code::kLimit, "CRL: more than " + std::to_string(kListsMax) + " in one file");
    }
    TRY(reader.add(crl.get()));
  }
  const unsigned long end = ERR_peek_last_error();
  const bool at_end = ERR_GET_LIB(end) == ERR_LIB_PEM && ERR_GET_REASON(end) == PEM_R_NO_START_LINE;
  const std::string reason = take_openssl_error();
  if (!at_end || lists == 0) {
    return fail(Code::kInvalid,
                "CRL " + std::to_string(lists + 1) + " of the PEM cannot be read: " + reason);
  }
  return reader.take();
}

size_t RevocationList::Hash::operator()(const Digest& digest) const noexcept {
  size_t value = 0;
  std::memcpy(&value, digest.data(), sizeof value);
  return value;
}

bool RevocationList::revokes(const CertificateId& certificate) const {
  const auto [begin, end] = entries_.equal_range(certificate.issuer_and_serial);
  return std::any_of(begin, end, [&](const auto& entry) {
    return entry.second == Digest{} || certificate.authority_key == Digest{} ||
           entry.second == certificate.authority_key;
  });
}

bool RevocationList::revokes_any(std::span<const CertificateId> certificates) const {
  return std::ranges::any_of(certificates, [this](const auto& one) { return revokes(one); });
}

Error revoked_error(std::string_view peer) {
  return {Code::kRefused, std::string(peer) + ": the peer's " + std::string(kRevokedWords)};
}

bool is_about_revocation(const Error& error) {
  for (const Error* one = &error; one != nullptr; one = one->cause.get()) {
    if (one->message.find(kRevokedWords) != std::string::npos) return true;
  }
  return false;
}

}  // namespace weft::tls
