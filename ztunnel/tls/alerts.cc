#include "ztunnel/tls/alerts.h"

#include "ztunnel/tls/openssl.h"

namespace weft::tls {
namespace {

bool is_about_certificate(int alert) {
  switch (alert) {
    case SSL_AD_HANDSHAKE_FAILURE:
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_ACCESS_DENIED:
    case SSL_AD_DECRYPT_ERROR:  // a signature in the chain or of the handshake does not fit
    case TLS13_AD_CERTIFICATE_REQUIRED:
      return true;
    default:
      return false;
  }
}

}  // namespace

std::string words_of_alert(int alert) {
  return std::string("(alert: ") + SSL_alert_desc_string_long(alert) + ")";
}

Error error_of_alert(int alert) {
  const std::string words = words_of_alert(alert);
  if (is_about_certificate(alert)) return {Code::kRefused, "peer refused our certificate " + words};
  return {Code::kReset, "peer broke the TLS session " + words};
}

}  // namespace weft::tls
