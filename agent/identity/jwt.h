#pragma once

#include "agent/identity/openssl.h"
#include "agent/identity/token.h"

#include <chrono>
#include <string>
#include <string_view>

// JSON Web Tokens (RFC 7515, 7519), the one form that we use: compact, ES256. No I/O, no clock.

namespace weft::identity {

// Our tokens have under 500 bytes, Kubernetes' service account tokens about 1.5 KiB.
constexpr size_t kTokenBytesMax = 8 * 1024;

// header and payload are JSON texts.
Result<std::string> sign_jwt(std::string_view header, std::string_view payload, EVP_PKEY* key);

// Checks form, header and signature; nothing of the payload is looked at before the signature is
// found good. Returns the payload. kRefused with the reason.
Result<std::string> verify_jwt(std::string_view token, EVP_PKEY* key);

// Checks a payload's claims at `now`. kRefused with the reason.
Result<Caller> read_claims(std::string_view payload, std::chrono::system_clock::time_point now);
// The payload that says so. kInvalid where a name in it is not one.
Result<std::string> write_claims(const Caller& caller, std::chrono::system_clock::time_point now,
                                 std::chrono::seconds lifetime);

}  // namespace weft::identity
