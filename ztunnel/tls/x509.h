#pragma once

#include "ztunnel/base/result.h"
#include "ztunnel/base/spiffe_id.h"
#include "ztunnel/tls/openssl.h"
#include "ztunnel/tls/revocation.h"

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

// Certificates as values: what this room reads out of them. Internal to the room.

namespace weft::tls {

// A chain or a bundle of roots of one PEM text: more than any mesh has (a bundle of every root of a
// public trust store is under 400 KiB), little enough to parse at once (0.1 ms a certificate).
constexpr size_t kPemBytesMax = 512 * 1024;
constexpr size_t kCertificatesMax = 256;

// All certificates of a PEM text, at least one. Text between them is skipped; kInvalid for anything
// else than a certificate, and where a bound is passed. `library` may be null: OpenSSL's own.
Result<std::vector<X509Ptr>> parse_certificates(std::string_view pem, OSSL_LIB_CTX* library);
std::string to_pem(X509* certificate);

// The URI names of a certificate; none where it has none. kInvalid: the extension is malformed.
Result<std::vector<std::string>> uri_names(const X509* certificate);
// The same as words for a message: "spiffe://a, spiffe://b", or "no URI name".
std::string describe_names(const X509* certificate);

std::string serial_of(const X509* certificate);  // hexadecimal
Result<std::chrono::system_clock::time_point> time_of(const ASN1_TIME* time);

CertificateId id_of(X509* certificate);

// A store that trusts `roots`, whether self-signed or not (as Istio's CA may hand out an
// intermediate as the mesh's root).
Result<StorePtr> make_store(const std::vector<X509Ptr>& roots);

}  // namespace weft::tls
