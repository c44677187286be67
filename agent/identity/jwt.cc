#include "agent/identity/jwt.h"

#include "agent/identity/base64url.h"

#include <openssl/err.h>
#include <simdjson.h>

#include <algorithm>
#include <optional>
#include <set>

namespace weft::identity {
namespace {

constexpr int kScalarBytes = 32;  // P-256; an ES256 signature is r and s, RFC 7518, section 3.4
constexpr size_t kNameBytesMax = 253;  // a Kubernetes object's name (DNS subdomain)
constexpr std::string_view kSubjectPrefix = "system:serviceaccount:";
constexpr std::string_view kNodeClaim = "weft.io/node";
constexpr std::string_view kPodNodeClaim = "weft.io/pod-node";
// A signer's clock may be ahead of ours by this much before its token counts as from the future.
constexpr int64_t kIssuedAheadSecondsMax = 60;
// The year 2200: what is beyond is a mistake, and soon (2262) overflows a time point.
constexpr int64_t kTimeMax = 7'258'118'400;

Fail refuse(const char* reason) { return fail(Code::kRefused, std::string("token: ") + reason); }

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= kNameBytesMax && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
  });
}

// A JSON object without repeated keys: two readers must not see two different tokens.
struct Json {
  simdjson::dom::parser parser;
  simdjson::dom::object object;

  bool parse(std::string_view text) {
    if (parser.parse(text.data(), text.size()).get(object) != simdjson::SUCCESS) return false;
    std::set<std::string_view> keys;
    return std::ranges::all_of(object.begin(), object.end(),
                               [&](const auto& field) { return keys.insert(field.key).second; });
  }
  std::optional<std::string_view> text(std::string_view key) const {
    std::string_view value;
    if (object.at_key(key).get(value) != simdjson::SUCCESS) return std::nullopt;
    return value;
  }
  std::optional<int64_t> time(std::string_view key) const {
    int64_t value = 0;
    const bool read = object.at_key(key).get(value) == simdjson::SUCCESS;
    return read && value >= 0 && value <= kTimeMax ? std::optional(value) : std::nullopt;
  }
  bool has(std::string_view key) const {
    return object.at_key(key).error() != simdjson::NO_SUCH_FIELD;
  }
};

bool names_audience(const Json& json) {
  if (const auto one = json.text("aud")) return *one == kTokenAudience;
  simdjson::dom::array several;
  if (json.object.at_key("aud").get(several) != simdjson::SUCCESS) return false;
  return std::ranges::any_of(several.begin(), several.end(), [](simdjson::dom::element element) {
    std::string_view text;
    return element.get(text) == simdjson::SUCCESS && text == kTokenAudience;
  });
}

Result<std::string> raw_signature(const std::string& der) {
  const auto* begin = reinterpret_cast<const unsigned char*>(der.data());
  const EcdsaSigPtr signature(d2i_ECDSA_SIG(nullptr, &begin, static_cast<long>(der.size())));
  if (!signature) return Fail(openssl_error(Code::kInternal, "reading a signature"));
  std::string raw(2UL * kScalarBytes, '\0');
  auto* out = reinterpret_cast<unsigned char*>(raw.data());
  if (BN_bn2binpad(ECDSA_SIG_get0_r(signature.get()), out, kScalarBytes) != kScalarBytes ||
      BN_bn2binpad(ECDSA_SIG_get0_s(signature.get()), out + kScalarBytes, kScalarBytes) !=
          kScalarBytes) {
    return Fail(openssl_error(Code::kInternal, "reading a signature"));
  }
  return raw;
}

// `raw`: exactly 2 * kScalarBytes.
Result<std::string> der_signature(std::string_view raw) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(raw.data());
  const EcdsaSigPtr signature(ECDSA_SIG_new());
  BignumPtr r(BN_bin2bn(bytes, kScalarBytes, nullptr));
  BignumPtr s(BN_bin2bn(bytes + kScalarBytes, kScalarBytes, nullptr));
  if (!signature || !r || !s || ECDSA_SIG_set0(signature.get(), r.release(), s.release()) != 1) {
    return Fail(openssl_error(Code::kInternal, "reading a signature"));
  }
  unsigned char* der = nullptr;
  const int size = i2d_ECDSA_SIG(signature.get(), &der);
  if (size <= 0) return Fail(openssl_error(Code::kInternal, "reading a signature"));
  std::string text(reinterpret_cast<char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return text;
}

Result<void> check_signature(std::string_view input, std::string_view raw, EVP_PKEY* key) {
  if (raw.size() != 2UL * kScalarBytes) return refuse("signature is not ES256");
  const std::string der = TRY(der_signature(raw));
  const DigestPtr digest(EVP_MD_CTX_new());
  if (!digest || EVP_DigestVerifyInit(digest.get(), nullptr, EVP_sha256(), nullptr, key) != 1) {
    return Fail(openssl_error(Code::kInternal, "checking a token"));
  }
  const int good =
      EVP_DigestVerify(digest.get(), reinterpret_cast<const unsigned char*>(der.data()), der.size(),
                       reinterpret_cast<const unsigned char*>(input.data()), input.size());
  if (good == 1) return {};
  ERR_clear_error();
  return refuse("wrong signature");
}

}  // namespace

std::string subject_of(std::string_view ns, std::string_view service_account) {
  return std::string(kSubjectPrefix) + std::string(ns) + ":" + std::string(service_account);
}

bool is_service_account(std::string_view subject) {
  if (!subject.starts_with(kSubjectPrefix)) return false;
  subject.remove_prefix(kSubjectPrefix.size());
  const size_t colon = subject.find(':');
  return colon != std::string_view::npos && is_name(subject.substr(0, colon)) &&
         is_name(subject.substr(colon + 1));
}

std::pair<std::string_view, std::string_view> account_of(std::string_view subject) {
  if (!is_service_account(subject)) return {};
  subject.remove_prefix(kSubjectPrefix.size());
  const size_t colon = subject.find(':');
  return {subject.substr(0, colon), subject.substr(colon + 1)};
}

Result<TokenClaims> peek_claims(std::string_view token) {
  if (token.size() > kTokenBytesMax) return refuse("too long");
  const size_t first = token.find('.');
  const size_t second = first == std::string_view::npos ? first : token.find('.', first + 1);
  if (second == std::string_view::npos) return refuse("malformed");
  const auto payload = decode_base64url(token.substr(first + 1, second - first - 1));
  if (!payload) return refuse("malformed");
  Json json;
  if (!json.parse(*payload)) return refuse("malformed claims");
  TokenClaims claims;
  if (const auto expires = json.time("exp")) {
    claims.expires = std::chrono::system_clock::from_time_t(*expires);
  } else if (json.has("exp")) {
    return refuse("malformed expiry");
  }
  claims.is_for_us = names_audience(json);
  return claims;
}

std::string fingerprint_of(std::string_view token) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_Digest(token.data(), token.size(), digest, &size, EVP_sha256(), nullptr);
  return {reinterpret_cast<const char*>(digest), size};
}

Result<std::string> sign_jwt(std::string_view header, std::string_view payload, EVP_PKEY* key) {
  const std::string input = encode_base64url(header) + "." + encode_base64url(payload);
  const DigestPtr digest(EVP_MD_CTX_new());
  size_t size = 0;
  const auto* bytes = reinterpret_cast<const unsigned char*>(input.data());
  if (!digest || EVP_DigestSignInit(digest.get(), nullptr, EVP_sha256(), nullptr, key) != 1 ||
      EVP_DigestSign(digest.get(), nullptr, &size, bytes, input.size()) != 1) {
    return Fail(openssl_error(Code::kInternal, "signing a token"));
  }
  std::string der(size, '\0');
  if (EVP_DigestSign(digest.get(), reinterpret_cast<unsigned char*>(der.data()), &size, bytes,
                     input.size()) != 1) {
    return Fail(openssl_error(Code::kInternal, "signing a token"));
  }
  der.resize(size);
  return input + "." + encode_base64url(TRY(raw_signature(der)));
}

Result<std::string> verify_jwt(std::string_view token, EVP_PKEY* key) {
  if (token.size() > kTokenBytesMax) return refuse("too long");
  const size_t first = token.find('.');
  const size_t second = first == std::string_view::npos ? first : token.find('.', first + 1);
  if (second == std::string_view::npos) return refuse("malformed");
  const auto header = decode_base64url(token.substr(0, first));
  const auto payload = decode_base64url(token.substr(first + 1, second - first - 1));
  const auto signature = decode_base64url(token.substr(second + 1));
  if (!header || !payload || !signature) return refuse("malformed");
  Json json;
  if (!json.parse(*header)) return refuse("malformed header");
  if (json.text("alg") != "ES256") return refuse("algorithm is not ES256");
  if (json.has("crit")) return refuse("critical header that is not understood");
  TRY(check_signature(token.substr(0, second), *signature, key));
  return *payload;
}

Result<Caller> read_claims(std::string_view payload, std::chrono::system_clock::time_point now) {
  Json json;
  if (!json.parse(payload)) return refuse("malformed claims");
  const int64_t seconds = std::chrono::system_clock::to_time_t(now);
  const auto expires = json.time("exp");
  if (!expires) return refuse("no expiry");
  if (seconds >= *expires) return refuse("expired");
  const auto issued = json.time("iat");
  if (json.has("iat") && (!issued || *issued > seconds + kIssuedAheadSecondsMax)) {
    return refuse("issued in the future");
  }
  const auto begins = json.time("nbf");
  if (json.has("nbf") && (!begins || *begins > seconds + kIssuedAheadSecondsMax)) {
    return refuse("not valid yet");
  }
  if (!names_audience(json)) return refuse("wrong audience");
  const auto subject = json.text("sub");
  if (!subject || !is_service_account(*subject)) return refuse("subject is no service account");
  const bool is_node_proxy = json.has(kNodeClaim);
  const auto node = json.text(is_node_proxy ? kNodeClaim : kPodNodeClaim);
  if (!node || !is_name(*node)) return refuse("names no node");
  return Caller{.node = std::string(*node),
                .subject = std::string(*subject),
                .expires = std::chrono::system_clock::from_time_t(*expires),
                .is_node_proxy = is_node_proxy};
}

Result<std::string> write_claims(const Caller& caller, std::chrono::system_clock::time_point now,
                                 std::chrono::seconds lifetime) {
  if (!is_name(caller.node)) {
    return fail(Code::kInvalid, "expected a node's name, got \"" + caller.node + "\"");
  }
  if (!is_service_account(caller.subject)) {
    return fail(Code::kInvalid, "expected system:serviceaccount:<namespace>:<name>, got \"" +
                                    caller.subject + "\"");
  }
  const int64_t issued = std::chrono::system_clock::to_time_t(now);
  if (lifetime <= std::chrono::seconds::zero() || lifetime.count() > kTimeMax - issued) {
    return fail(Code::kInvalid, "expected a lifetime of at least one second");
  }
  // No escapes are needed: the names were checked.
  return R"({"aud":[")" + std::string(kTokenAudience) + R"("],"sub":")" + caller.subject +
         R"(","iat":)" + std::to_string(issued) + R"(,"exp":)" +
         std::to_string(issued + lifetime.count()) + R"(,")" +
         std::string(caller.is_node_proxy ? kNodeClaim : kPodNodeClaim) + R"(":")" + caller.node +
         R"("})";
}

}  // namespace weft::identity
