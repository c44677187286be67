#pragma once

#include "agent/identity/openssl.h"

#include <string>
#include <utility>
#include <vector>

namespace weft::identity {

// What a test wants in a certificate request, right or wrong.
struct CsrRecipe {
  std::vector<std::string> sans;  // in OpenSSL's words: "URI:spiffe://..", "DNS:a"; one extension
  std::string subject;            // a common name; empty: none
  bool asks_for_ca = false;       // basicConstraints CA:TRUE
  EVP_PKEY* signer = nullptr;     // null: the key itself
};

KeyPtr make_rsa(unsigned bits);
KeyPtr make_ec(const char* curve);
KeyPtr make_ed25519();
std::string make_csr(EVP_PKEY* key, const CsrRecipe& recipe);
// A good one: a fresh P-256 key and the URI.
std::string good_csr(const std::string& uri);

}  // namespace weft::identity
