#pragma once

#include "agent/identity/openssl.h"
#include "ztunnel/base/spiffe_id.h"

namespace weft::identity {

// What a certificate request says that the CA uses: nothing else in it is looked at.
struct Csr {
  KeyPtr key;         // the requester's public key, of an accepted kind
  SpiffeId identity;  // its only SAN
};

// Parses a request in PEM and checks it: at most kCsrBytesMax, one block, a key of at least the
// strength of P-256 or RSA 2048, signed by that key, exactly one SAN and that a SPIFFE id. kInvalid
// with the reason.
Result<Csr> parse_csr(std::string_view pem);

}  // namespace weft::identity
