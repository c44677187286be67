#include "agent/identity/token.h"

#include "agent/identity/base64url.h"
#include "agent/identity/jwt.h"
#include "tests/unit/agent/identity/temp_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::identity {
namespace {

using std::chrono::seconds;
using std::chrono::system_clock;
using testing::HasSubstr;

constexpr int64_t kNow = 1'800'000'000;
constexpr const char* kHeader = R"({"alg":"ES256","typ":"JWT"})";
const Caller kNodeA{"node-a", "system:serviceaccount:weft-system:ztunnel", {}};

class Tokens : public testing::Test {
 protected:
  Tokens() : key_(*generate_p256()) {
    verifier_ = *make_verifier(*public_key_to_pem(key_.get()),
                               [this] { return system_clock::from_time_t(now_); });
  }
  std::string signed_by_us(std::string_view header, std::string_view payload) {
    return *sign_jwt(header, payload, key_.get());
  }
  // The reason of the refusal.
  std::string refusal(const std::string& token) {
    const auto caller = verifier_->verify(token);
    if (caller) return "no error";
    EXPECT_EQ(caller.error().code, Code::kRefused);
    return caller.error().to_string();
  }
  std::string good_payload() {
    return *write_claims(kNodeA, system_clock::from_time_t(now_), seconds(60));
  }

  int64_t now_ = kNow;
  KeyPtr key_;
  std::shared_ptr<const TokenVerifier> verifier_;
};

TEST_F(Tokens, SayWhoCalls) {
  const auto caller = verifier_->verify(signed_by_us(kHeader, good_payload()));
  ASSERT_TRUE(caller) << caller.error().to_string();
  EXPECT_EQ(caller->node, kNodeA.node);
  EXPECT_EQ(caller->subject, kNodeA.subject);
  EXPECT_EQ(system_clock::to_time_t(caller->expires), kNow + 60);
}

TEST_F(Tokens, ExpireToTheSecond) {
  const std::string token = signed_by_us(kHeader, good_payload());
  now_ = kNow + 59;
  EXPECT_EQ(refusal(token), "no error");
  now_ = kNow + 60;
  EXPECT_EQ(refusal(token), "token: expired");
}

TEST_F(Tokens, RefuseOtherAlgorithms) {
  const std::string payload = encode_base64url(good_payload());
  for (const char* header : {R"({"alg":"none"})", R"({"alg":"HS256"})", R"({"alg":"es256"})",
                             R"({"alg":["ES256"]})", R"({"typ":"JWT"})"}) {
    EXPECT_EQ(refusal(encode_base64url(header) + "." + payload + "."),
              "token: algorithm is not ES256");
    EXPECT_EQ(refusal(signed_by_us(header, good_payload())), "token: algorithm is not ES256");
  }
  EXPECT_EQ(refusal(signed_by_us(R"({"alg":"none","alg":"ES256"})", good_payload())),
            "token: malformed header");
  EXPECT_THAT(refusal(signed_by_us(R"({"alg":"ES256","crit":["x"]})", good_payload())),
              HasSubstr("critical"));
}

TEST_F(Tokens, RefuseWrongSignatures) {
  const std::string token = signed_by_us(kHeader, good_payload());
  const size_t dot = token.rfind('.');
  const std::string input = token.substr(0, dot);
  const KeyPtr stranger = *generate_p256();
  EXPECT_EQ(refusal(*sign_jwt(kHeader, good_payload(), stranger.get())), "token: wrong signature");
  EXPECT_EQ(refusal(input + "."), "token: signature is not ES256");
  EXPECT_EQ(refusal(input + "." + encode_base64url(std::string(64, '\0'))),
            "token: wrong signature");
  EXPECT_EQ(refusal(input + "." + encode_base64url(std::string(64, '\xff'))),
            "token: wrong signature");
  EXPECT_EQ(refusal(token + "AAAA"), "token: signature is not ES256");
  // The payload of one token under the signature of another.
  const std::string other = signed_by_us(
      kHeader,
      *write_claims({"node-b", kNodeA.subject, {}}, system_clock::from_time_t(now_), seconds(60)));
  EXPECT_EQ(refusal(other.substr(0, other.rfind('.')) + token.substr(dot)),
            "token: wrong signature");
}

TEST_F(Tokens, RefuseWhatIsMalformed) {
  const std::string token = signed_by_us(kHeader, good_payload());
  for (const std::string& text :
       {std::string(), std::string("a"), std::string(".."), std::string("a.b.c"),
        token.substr(0, token.rfind('.')), token + ".x", token + "=", " " + token, token + "\n"}) {
    EXPECT_THAT(refusal(text), HasSubstr("malformed")) << text;
  }
  EXPECT_EQ(refusal(std::string(kTokenBytesMax + 1, 'a')), "token: too long");
}

TEST_F(Tokens, RefuseWrongClaims) {
  const std::string times = R"("exp":1800000060,"iat":1800000000)";
  const std::string sub = R"("sub":"system:serviceaccount:a:b")";
  const std::string node = R"("weft.io/node":"node-a")";
  const struct {
    std::string payload;
    const char* expected;
  } cases[] = {
      {R"({"aud":"istio-ca",)" + times + "," + sub + "," + node + "}", "no error"},
      {R"({"aud":["x","istio-ca"],)" + times + "," + sub + "," + node + "}", "no error"},
      {R"({"aud":["x",1],)" + times + "," + sub + "," + node + "}", "wrong audience"},
      {R"({"aud":"istio-ca2",)" + times + "," + sub + "," + node + "}", "wrong audience"},
      {"{" + times + "," + sub + "," + node + "}", "wrong audience"},
      {R"({"aud":"istio-ca",)" + sub + "," + node + "}", "no expiry"},
      {R"({"aud":"istio-ca","exp":"1800000060",)" + sub + "," + node + "}", "no expiry"},
      {R"({"aud":"istio-ca","exp":1e30,)" + sub + "," + node + "}", "no expiry"},
      // Beyond the year 2262 a time point would have wrapped around.
      {R"({"aud":"istio-ca","exp":18000000060,)" + sub + "," + node + "}", "no expiry"},
      {R"({"aud":"istio-ca","exp":-1,)" + sub + "," + node + "}", "no expiry"},
      {R"({"aud":"istio-ca","exp":99999999999999,)" + sub + "," + node + "}", "no expiry"},
      {R"({"aud":"istio-ca","exp":1800000060,"exp":1900000000,)" + sub + "," + node + "}",
       "malformed"},
      {R"({"aud":"istio-ca","exp":1800000060,"iat":1800000061,)" + sub + "," + node + "}",
       "in the future"},
      {R"({"aud":"istio-ca","exp":1800000060,"nbf":"x",)" + sub + "," + node + "}",
       "not valid yet"},
      {R"({"aud":"istio-ca",)" + times + "," + node + "}", "no service account"},
      {R"({"aud":"istio-ca","sub":"alice",)" + times + "," + node + "}", "no service account"},
      {R"({"aud":"istio-ca",)" + times + "," + sub + "}", "names no node"},
      {R"({"aud":"istio-ca","weft.io/node":"a\nb",)" + times + "," + sub + "}", "names no node"},
      {R"(["aud"])", "malformed claims"},
      {R"({"aud":"istio-ca",})", "malformed claims"},
      {"", "malformed claims"},
      {std::string(4000, '['), "malformed claims"},
  };
  for (const auto& [payload, expected] : cases) {
    EXPECT_THAT(refusal(signed_by_us(kHeader, payload)), HasSubstr(expected)) << payload;
  }
}

TEST_F(Tokens, ClaimsNeedRealNames) {
  const auto now = system_clock::from_time_t(kNow);
  EXPECT_FALSE(write_claims({"a\"b", kNodeA.subject, {}}, now, seconds(1)));
  EXPECT_FALSE(write_claims({"", kNodeA.subject, {}}, now, seconds(1)));
  EXPECT_FALSE(write_claims({"node-a", "alice", {}}, now, seconds(1)));
  EXPECT_FALSE(write_claims({"node-a", "system:serviceaccount:a", {}}, now, seconds(1)));
  EXPECT_FALSE(write_claims(kNodeA, now, seconds(0)));
  EXPECT_FALSE(write_claims(kNodeA, now, seconds::max()));
}

TEST(TokenKeys, SignerAndVerifierMeetInFiles) {
  const TempFolder folder;
  const auto signer = TokenSigner::create_key(folder.file("key.pem"), folder.file("pub.pem"));
  ASSERT_TRUE(signer) << signer.error().to_string();
  const auto verifier = load_verifier(folder.file("pub.pem"));
  ASSERT_TRUE(verifier) << verifier.error().to_string();
  const auto loaded = TokenSigner::load(folder.file("key.pem"));
  ASSERT_TRUE(loaded) << loaded.error().to_string();
  for (const auto* one : {signer->get(), loaded->get()}) {
    const auto token = one->sign(kNodeA, std::chrono::hours(1));
    ASSERT_TRUE(token) << token.error().to_string();
    EXPECT_EQ((*verifier)->verify(*token)->node, "node-a");
  }
  EXPECT_FALSE(TokenSigner::create_key(folder.file("key.pem"), folder.file("pub2.pem")));
  EXPECT_FALSE(folder.has("pub2.pem"));
}

TEST(TokenKeys, OthersMustNotReadTheKey) {
  const TempFolder folder;
  ASSERT_TRUE(TokenSigner::create_key(folder.file("key.pem"), folder.file("pub.pem")));
  std::filesystem::permissions(folder.file("key.pem"), std::filesystem::perms(0604));
  const auto loaded = TokenSigner::load(folder.file("key.pem"));
  ASSERT_FALSE(loaded);
  EXPECT_THAT(loaded.error().to_string(), HasSubstr("mode 0604"));
}

TEST(TokenKeys, OnlyP256) {
  const TempFolder folder;
  const KeyPtr p384(EVP_EC_gen("P-384"));
  EXPECT_THAT(make_verifier(*public_key_to_pem(p384.get())).error().message, HasSubstr("P-256"));
  EXPECT_FALSE(make_verifier("x"));
  const auto missing = load_verifier(folder.file("pub.pem"));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::kNotFound);
}

TEST(Base64Url, KnowsOneFormOnly) {
  // RFC 4648, section 10, without padding.
  const std::pair<const char*, const char*> pairs[] = {
      {"", ""},           {"f", "Zg"},          {"fo", "Zm8"},          {"foo", "Zm9v"},
      {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff", "-_8"}};
  for (const auto& [bytes, text] : pairs) {
    EXPECT_EQ(encode_base64url(bytes), text);
    EXPECT_EQ(decode_base64url(text), bytes);
  }
  for (const char* text : {"Z", "Zg==", "Zh", "Zm9", "Zm 8", "+/8", "Zm9vY"}) {
    EXPECT_FALSE(decode_base64url(text)) << text;
  }
}

}  // namespace
}  // namespace weft::identity
