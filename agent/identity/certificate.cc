#include "agent/identity/certificate.h"

#include "agent/identity/ca.h"
#include "ztunnel/base/ip.h"

#include <algorithm>
#include <ctime>

namespace weft::identity {
namespace {

constexpr int kSerialBits = 128;  // RFC 5280 allows 159; the CA/Browser Forum asks for 64 random

// The year 2200. X.509 knows 9999 (RFC 5280, section 4.1.2.5), a time point of ours only 2262.
constexpr time_t kTimeMax = 7'258'118'400;

Error broken(std::string_view what) { return openssl_error(Code::kInternal, what); }

Result<void> set_serial(X509* certificate) {
  const BignumPtr serial(BN_new());
  if (!serial || BN_rand(serial.get(), kSerialBits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) != 1 ||
      BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(certificate)) == nullptr) {
    return Fail(broken("making a serial number"));
  }
  return {};
}

Result<void> set_times(X509* certificate, const CertificateSpec& spec) {
  const time_t begin = std::chrono::system_clock::to_time_t(spec.not_before);
  const time_t end = std::chrono::system_clock::to_time_t(spec.not_after);
  if (ASN1_TIME_set(X509_getm_notBefore(certificate), begin) == nullptr ||
      ASN1_TIME_set(X509_getm_notAfter(certificate), end) == nullptr) {
    return Fail(broken("setting a certificate's lifetime"));
  }
  return {};
}

Result<void> add_name(X509_NAME* subject, const char* field, const std::string& value) {
  if (value.empty()) return {};
  const auto* bytes = reinterpret_cast<const unsigned char*>(value.data());
  if (X509_NAME_add_entry_by_txt(subject, field, MBSTRING_UTF8, bytes,
                                 static_cast<int>(value.size()), -1, 0) != 1) {
    return Fail(broken("setting a certificate's subject"));
  }
  return {};
}

// `value` in OpenSSL's configuration language; never holds outside input.
Result<void> add_extension(X509* certificate, const X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, const_cast<X509*>(issuer), certificate, nullptr, nullptr, 0);  // NOLINT
  const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value));
  if (!extension || X509_add_ext(certificate, extension.get(), -1) != 1) {
    return Fail(broken(std::string("adding the extension ") + OBJ_nid2sn(nid)));
  }
  return {};
}

Result<void> add_general_name(GENERAL_NAMES* names, int type, std::string_view bytes) {
  GENERAL_NAME* name = GENERAL_NAME_new();
  ASN1_STRING* text =
      ASN1_STRING_type_new(type == GEN_IPADD ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);
  const bool made = name != nullptr && text != nullptr &&
                    ASN1_STRING_set(text, bytes.data(), static_cast<int>(bytes.size())) == 1;
  if (!made) {
    ASN1_STRING_free(text);
    GENERAL_NAME_free(name);
    return Fail(broken("making a subject alternative name"));
  }
  GENERAL_NAME_set0_value(name, type, text);
  if (sk_GENERAL_NAME_push(names, name) <= 0) {
    GENERAL_NAME_free(name);
    return Fail(broken("making a subject alternative name"));
  }
  return {};
}

// Built by hand: names in OpenSSL's configuration language could carry a comma and another name.
Result<void> add_sans(X509* certificate, const CertificateSpec& spec) {
  const NamesPtr names(GENERAL_NAMES_new());
  if (!names) return Fail(broken("making subject alternative names"));
  for (const auto& uri : spec.uris) TRY(add_general_name(names.get(), GEN_URI, uri));
  for (const auto& dns : spec.dns_names) TRY(add_general_name(names.get(), GEN_DNS, dns));
  for (const auto& text : spec.addresses) {
    const std::string bytes = TRY(IpAddress::parse(text)).to_bytes();
    TRY(add_general_name(names.get(), GEN_IPADD, bytes));
  }
  if (sk_GENERAL_NAME_num(names.get()) == 0) return {};
  const int critical = spec.organization.empty() && spec.common_name.empty() ? 1 : 0;
  if (X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), critical,
                        X509V3_ADD_DEFAULT) != 1) {
    return Fail(broken("adding subject alternative names"));
  }
  return {};
}

Result<void> add_extensions(X509* certificate, const X509* issuer, const CertificateSpec& spec) {
  TRY(add_extension(certificate, issuer, NID_subject_key_identifier, "hash"));
  if (spec.is_authority) {
    TRY(add_extension(certificate, issuer, NID_basic_constraints, "critical,CA:TRUE"));
    return add_extension(certificate, issuer, NID_key_usage, "critical,keyCertSign,cRLSign");
  }
  TRY(add_extension(certificate, issuer, NID_authority_key_identifier, "keyid:always"));
  TRY(add_extension(certificate, issuer, NID_basic_constraints, "critical,CA:FALSE"));
  TRY(add_extension(certificate, issuer, NID_key_usage, "critical,digitalSignature"));
  return add_extension(certificate, issuer, NID_ext_key_usage,
                       spec.server_only ? "serverAuth" : "serverAuth,clientAuth");
}

Result<TimePoint> time_of(const ASN1_TIME* time) {
  tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) {
    return Fail(openssl_error(Code::kInvalid, "a certificate's time is malformed"));
  }
  return std::chrono::system_clock::from_time_t(std::min(timegm(&parts), kTimeMax));
}

}  // namespace

Result<CertificatePtr> make_certificate(const CertificateSpec& spec, EVP_PKEY* public_key,
                                        const X509* issuer, EVP_PKEY* issuer_key) {
  CertificatePtr certificate(X509_new());
  if (!certificate || X509_set_version(certificate.get(), X509_VERSION_3) != 1 ||
      X509_set_pubkey(certificate.get(), public_key) != 1) {
    return Fail(broken("making a certificate"));
  }
  TRY(set_serial(certificate.get()));
  TRY(set_times(certificate.get(), spec));
  X509_NAME* subject = X509_get_subject_name(certificate.get());
  TRY(add_name(subject, "O", spec.organization));
  TRY(add_name(subject, "CN", spec.common_name));
  const X509_NAME* issuer_name = issuer == nullptr ? subject : X509_get_subject_name(issuer);
  if (X509_set_issuer_name(certificate.get(), issuer_name) != 1) {
    return Fail(broken("setting a certificate's issuer"));
  }
  TRY(add_extensions(certificate.get(), issuer == nullptr ? certificate.get() : issuer, spec));
  TRY(add_sans(certificate.get(), spec));
  // Ed25519 brings its own digest.
  const bool is_ed25519 = EVP_PKEY_get_base_id(issuer_key) == EVP_PKEY_ED25519;
  if (X509_sign(certificate.get(), issuer_key, is_ed25519 ? nullptr : EVP_sha256()) == 0) {
    return Fail(broken("signing a certificate"));
  }
  return certificate;
}

Result<CertificatePtr> make_root_certificate(EVP_PKEY* key, const std::string& trust_domain,
                                             TimePoint now) {
  CertificateSpec spec;
  spec.organization = trust_domain;
  spec.common_name = "Weft root CA";
  spec.is_authority = true;
  spec.not_before = now - Authority::kClockSkew;
  spec.not_after = now + Authority::kRootLifetime;
  return make_certificate(spec, key, nullptr, key);
}

Result<TimePoint> not_before_of(const X509* certificate) {
  return time_of(X509_get0_notBefore(certificate));
}

Result<TimePoint> not_after_of(const X509* certificate) {
  return time_of(X509_get0_notAfter(certificate));
}

}  // namespace weft::identity
