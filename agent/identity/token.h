#pragma once

#include "agent/identity/ca.h"
#include "ztunnel/base/result.h"

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

namespace weft::identity {

// Who calls control, proven by a token.
struct Caller {
  std::string node;                                 // the node it runs on
  std::string subject;                              // "system:serviceaccount:<ns>:<name>"
  std::chrono::system_clock::time_point expires{};  // set by a verifier
};

// Checks bearer tokens. Thread-safe.
class TokenVerifier {
 public:
  virtual ~TokenVerifier() = default;
  // kRefused with the reason: malformed, wrong signature, expired, wrong audience.
  virtual Result<Caller> verify(std::string_view token) const = 0;
};

constexpr std::string_view kTokenAudience = "istio-ca";

// Tokens as signed JWTs (ES256), for where there is no TokenReview: the sandbox. Claims: aud, sub,
// exp, iat and "weft.io/node". The signer's key is a PEM file (0600), the verifier's its public
// half.
class TokenSigner {
 public:
  virtual ~TokenSigner() = default;
  // Neither file may exist.
  static Result<std::unique_ptr<TokenSigner>> create_key(const std::string& private_key_file,
                                                         const std::string& public_key_file);
  static Result<std::unique_ptr<TokenSigner>> load(const std::string& private_key_file);
  // kInvalid where a name is not one. Caller::expires is not looked at.
  virtual Result<std::string> sign(const Caller& caller, std::chrono::seconds lifetime) const = 0;
};

Result<std::shared_ptr<const TokenVerifier>> load_verifier(
    const std::string& public_key_file, Clock clock = std::chrono::system_clock::now);
Result<std::shared_ptr<const TokenVerifier>> make_verifier(
    const std::string& public_key_pem, Clock clock = std::chrono::system_clock::now);

}  // namespace weft::identity
