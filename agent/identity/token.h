#pragma once

#include "agent/identity/ca.h"
#include "ztunnel/base/result.h"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace weft::identity {

// Who calls control, proven by a token.
struct Caller {
  std::string node;                                 // the node it runs on
  std::string subject;                              // "system:serviceaccount:<ns>:<name>"
  std::chrono::system_clock::time_point expires{};  // set by a verifier
  // A node proxy: it may ask for whatever runs on its node. Others may ask for themselves only.
  bool is_node_proxy = false;
};

// Finds out who shows a bearer token, where need be by asking somebody else. Thread-safe.
class Authenticator {
 public:
  using Done = std::move_only_function<void(Result<Caller>)>;
  virtual ~Authenticator() = default;
  // Calls `done` once, before it returns or later, on any thread. kRefused with the reason:
  // malformed, wrong signature, expired, wrong audience. kUnavailable: nobody could be asked.
  virtual void authenticate(std::string token, Done done) const = 0;
};

// Checks bearer tokens by what it has itself. Thread-safe.
class TokenVerifier : public Authenticator {
 public:
  virtual Result<Caller> verify(std::string_view token) const = 0;
  void authenticate(std::string token, Done done) const final { done(verify(token)); }
};

constexpr std::string_view kTokenAudience = "istio-ca";

// "system:serviceaccount:<ns>:<name>"
std::string subject_of(std::string_view ns, std::string_view service_account);
// Whether it is of that form.
bool is_service_account(std::string_view subject);
// Namespace and name of one that is; otherwise empty.
std::pair<std::string_view, std::string_view> account_of(std::string_view subject);

// What a token says of itself, whether it is true or not: for a token that an API server has
// accepted, or to spare it one that it never would. kRefused: malformed.
struct TokenClaims {
  std::optional<std::chrono::system_clock::time_point> expires;
  bool is_for_us = false;  // its audience is kTokenAudience
};
Result<TokenClaims> peek_claims(std::string_view token);
// SHA-256: what a token is remembered by.
std::string fingerprint_of(std::string_view token);

// Tokens as signed JWTs (ES256), for where there is no TokenReview: the sandbox. Claims: aud, sub,
// exp, iat and "weft.io/node", or of a pod that is no node proxy "weft.io/pod-node". The signer's
// key is a PEM file (0600), the verifier's its public half.
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
