#include "agent/identity/token.h"

#include "agent/identity/jwt.h"
#include "agent/identity/key_files.h"

namespace weft::identity {
namespace {

constexpr std::string_view kHeader = R"({"alg":"ES256","typ":"JWT"})";

Result<void> check_p256(const EVP_PKEY* key) {
  if (curve_of(key) == "prime256v1") return {};
  return fail(Code::kInvalid, "expected an ECDSA P-256 key");
}

// Thread-safe: a key is only read.
class JwtVerifier final : public TokenVerifier {
 public:
  JwtVerifier(KeyPtr key, Clock clock) : key_(std::move(key)), clock_(std::move(clock)) {}

  Result<Caller> verify(std::string_view token) const override {
    const std::string payload = TRY(verify_jwt(token, key_.get()));
    return read_claims(payload, clock_());
  }

 private:
  KeyPtr key_;
  Clock clock_;
};

class JwtSigner final : public TokenSigner {
 public:
  explicit JwtSigner(KeyPtr key) : key_(std::move(key)) {}

  Result<std::string> sign(const Caller& caller, std::chrono::seconds lifetime) const override {
    const std::string payload =
        TRY(write_claims(caller, std::chrono::system_clock::now(), lifetime));
    return sign_jwt(kHeader, payload, key_.get());
  }

 private:
  KeyPtr key_;
};

}  // namespace

Result<std::unique_ptr<TokenSigner>> TokenSigner::create_key(const std::string& private_key_file,
                                                             const std::string& public_key_file) {
  KeyPtr key = TRY(generate_p256());
  const std::string private_pem = TRY(private_key_to_pem(key.get()));
  const std::string public_pem = TRY(public_key_to_pem(key.get()));
  TRY(write_new_file(private_key_file, private_pem, 0600, Durable::kYes));
  TRY(write_new_file(public_key_file, public_pem, 0644, Durable::kYes));
  return std::make_unique<JwtSigner>(std::move(key));
}

Result<std::unique_ptr<TokenSigner>> TokenSigner::load(const std::string& private_key_file) {
  const std::string pem = TRY(read_private_file(private_key_file));
  auto key = private_key_from_pem(pem);
  if (!key) return Fail(std::move(key.error()).in(private_key_file));
  auto kind = check_p256(key->get());
  if (!kind) return Fail(std::move(kind.error()).in(private_key_file));
  return std::make_unique<JwtSigner>(std::move(*key));
}

Result<std::shared_ptr<const TokenVerifier>> make_verifier(const std::string& public_key_pem,
                                                           Clock clock) {
  KeyPtr key = TRY(public_key_from_pem(public_key_pem));
  TRY(check_p256(key.get()));
  return std::make_shared<const JwtVerifier>(std::move(key), std::move(clock));
}

Result<std::shared_ptr<const TokenVerifier>> load_verifier(const std::string& public_key_file,
                                                           Clock clock) {
  const std::string pem = TRY(read_small_file(public_key_file));
  auto verifier = make_verifier(pem, std::move(clock));
  if (!verifier) return Fail(std::move(verifier.error()).in(public_key_file));
  return verifier;
}

}  // namespace weft::identity
