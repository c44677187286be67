// A bearer token from anyone who can connect. The claims are also fed directly: behind the
// signature check a fuzzer would never get there.
#include "agent/identity/jwt.h"
#include "ztunnel/base/check.h"

#include <cstddef>
#include <cstdint>

namespace {

// The corpus' good token is signed by its private half, which nobody kept.
constexpr const char* kPublicKey =
    "-----BEGIN PUBLIC KEY-----\n"
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE/IAnIeUGEcJawTWXOYfNnklj7FPR\n"
    "LHHbgBI2j5RhTWM7q9+R4jEvUmYhfSl5QZPYbOEtfhNis9y1XWKzboQuyw==\n"
    "-----END PUBLIC KEY-----\n";
constexpr time_t kNow = 1'800'000'000;  // when the corpus' good token was made

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using weft::identity::make_verifier;
  static const auto verifier =
      make_verifier(kPublicKey, [] { return std::chrono::system_clock::from_time_t(kNow); });
  CHECK(verifier);
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto caller = (*verifier)->verify(text);
  if (caller) CHECK(!caller->node.empty() && !caller->subject.empty());
  const auto claims =
      weft::identity::read_claims(text, std::chrono::system_clock::from_time_t(kNow));
  if (claims) CHECK(claims->expires > std::chrono::system_clock::from_time_t(kNow));
  return 0;
}
