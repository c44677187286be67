#include "agent/identity/supplied_ca.h"

#include "agent/identity/certificate.h"
#include "agent/identity/token.h"
#include "tests/unit/agent/identity/csr_maker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::identity {
namespace {

using testing::HasSubstr;

const std::string kAlice = "spiffe://cluster.local/ns/shop/sa/alice";
TimePoint now() { return std::chrono::system_clock::now(); }

TEST(SuppliedAuthority, SignsWithARootThatItWasGiven) {
  const CaFiles files = *make_root_files("cluster.local", now());
  const auto authority = *SuppliedAuthority::make(files, "cluster.local");
  EXPECT_EQ(authority->roots_pem(), files.roots);
  EXPECT_EQ(
      authority->sign(good_csr(kAlice), *SpiffeId::parse(kAlice), std::chrono::hours(1))->back(),
      files.roots);
}

TEST(SuppliedAuthority, IsReplacedWhileItIsInUse) {
  const CaFiles first = *make_root_files("cluster.local", now());
  CaFiles second = *make_root_files("cluster.local", now());
  const auto authority = *SuppliedAuthority::make(first, "cluster.local");
  second.roots += first.roots;
  ASSERT_TRUE(authority->replace(second));
  EXPECT_TRUE(authority->roots_pem().starts_with(second.certificate));
  EXPECT_THAT(authority->roots_pem(), HasSubstr(first.certificate));
}

TEST(SuppliedAuthority, KeepsWhatItHasWhereTheNewOneIsWrong) {
  const CaFiles files = *make_root_files("cluster.local", now());
  const auto authority = *SuppliedAuthority::make(files, "cluster.local");
  CaFiles wrong = *make_root_files("cluster.local", now());
  wrong.key = files.key;
  const auto refused = authority->replace(wrong);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("ca-key.pem does not belong"));
  EXPECT_EQ(authority->roots_pem(), files.roots);
  EXPECT_FALSE(SuppliedAuthority::make({}, "cluster.local"));
}

TEST(ShareARoot, IsAskedOfBundles) {
  const std::string one = make_root_files("a", now())->roots;
  const std::string two = make_root_files("a", now())->roots;
  EXPECT_FALSE(*share_a_root(one, two));
  EXPECT_TRUE(*share_a_root(one, two + one));
  EXPECT_FALSE(share_a_root(one, "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"));
}

// {"exp":4102444800,"aud":["istio-ca"]}, and what is not a token.
TEST(PeekClaims, ReadsWhatATokenSaysOfItself) {
  const auto claims = peek_claims("e30.eyJleHAiOjQxMDI0NDQ4MDAsImF1ZCI6WyJpc3Rpby1jYSJdfQ.x");
  ASSERT_TRUE(claims) << claims.error().to_string();
  EXPECT_TRUE(claims->is_for_us);
  EXPECT_EQ(std::chrono::system_clock::to_time_t(*claims->expires), 4'102'444'800);
  EXPECT_FALSE(peek_claims("e30.e30.x")->expires);
  EXPECT_FALSE(peek_claims("e30.e30.x")->is_for_us);
  for (const std::string text : {"", "a", "a.b", "e30.%%%.x", "e30.e30"}) {
    EXPECT_FALSE(peek_claims(text)) << text;
  }
  EXPECT_FALSE(peek_claims(std::string(1 << 20, '.')));
  EXPECT_NE(fingerprint_of("a"), fingerprint_of("b"));
}

TEST(Subject, IsBuiltAndToldApart) {
  EXPECT_EQ(subject_of("a", "b"), "system:serviceaccount:a:b");
  EXPECT_TRUE(is_service_account(subject_of("a", "b")));
  for (const char* text : {"", "system:node:a", "system:serviceaccount:a", "admin"}) {
    EXPECT_FALSE(is_service_account(text)) << text;
  }
}

}  // namespace
}  // namespace weft::identity
