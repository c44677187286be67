#include "agent/identity/plugged_ca.h"

#include "agent/identity/certificate.h"
#include "tests/unit/agent/identity/csr_maker.h"
#include "tests/unit/agent/identity/temp_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::identity {
namespace {

using std::chrono::hours;
using testing::HasSubstr;

const SpiffeId kAlice{"cluster.local", "shop", "alice"};
const TimePoint kNow{std::chrono::seconds(1'800'000'000)};

// A certificate authority, as an operator's tools would make it.
struct Made {
  KeyPtr key;
  CertificatePtr certificate;
  std::string pem() const { return *certificate_to_pem(certificate.get()); }
  std::string key_pem() const { return *private_key_to_pem(key.get()); }
};

struct Recipe {
  const char* name = "ca";
  const Made* issuer = nullptr;  // null: self-signed
  bool is_authority = true;
  hours begins{-1};
  hours ends{1000};
  KeyPtr key{};  // null: P-256
};

Made make(Recipe recipe) {
  Made made;
  made.key = recipe.key ? std::move(recipe.key) : *generate_p256();
  CertificateSpec spec;
  spec.common_name = recipe.name;
  spec.is_authority = recipe.is_authority;
  spec.not_before = kNow + recipe.begins;
  spec.not_after = kNow + recipe.ends;
  const Made& issuer = recipe.issuer ? *recipe.issuer : made;
  made.certificate = *make_certificate(
      spec, made.key.get(), recipe.issuer ? issuer.certificate.get() : nullptr, issuer.key.get());
  return made;
}

class PluggedCa : public testing::Test {
 protected:
  void write(const Made& ca, const std::string& chain, const std::string& roots) {
    folder_.write("ca-key.pem", ca.key_pem());
    folder_.write("ca-cert.pem", ca.pem());
    folder_.write("cert-chain.pem", chain);
    folder_.write("root-cert.pem", roots);
  }
  Result<std::unique_ptr<PluggedAuthority>> open() const {
    return PluggedAuthority::open(folder_.path(), "cluster.local", [] { return kNow; });
  }
  std::string refusal() const {
    const auto opened = open();
    return opened ? "none" : opened.error().to_string();
  }
  static std::vector<std::string> sign(const Authority& authority) {
    auto chain = authority.sign(good_csr(kAlice.to_string()), kAlice, hours(1));
    EXPECT_TRUE(chain) << chain.error().to_string();
    return chain ? *chain : std::vector<std::string>(1);
  }

  TempFolder folder_;
  const Made root_ = make({.name = "root"});
  const Made upper_ = make({.name = "upper", .issuer = &root_});
  const Made lower_ = make({.name = "lower", .issuer = &upper_});
};

TEST_F(PluggedCa, HandsOutTheWayToTheRoot) {
  // The order in the file does not count, nor notes, nor what is not needed.
  write(lower_, "# ours\n" + root_.pem() + upper_.pem() + lower_.pem(), root_.pem());
  const auto authority = open();
  ASSERT_TRUE(authority) << authority.error().to_string();
  const auto chain = sign(**authority);
  ASSERT_EQ(chain.size(), 4U);
  EXPECT_EQ(chain[1], lower_.pem());
  EXPECT_EQ(chain[2], upper_.pem());
  EXPECT_EQ(chain[3], root_.pem());
  const auto leaf = certificate_from_pem(chain[0]);
  EXPECT_EQ(X509_verify(leaf->get(), lower_.key.get()), 1);
  const auto server = (*authority)->issue_server({"control.weft"}, hours(1));
  ASSERT_TRUE(server);
  EXPECT_TRUE(server->chain_pem.ends_with(lower_.pem() + upper_.pem()));
}

TEST_F(PluggedCa, TakesARootThatSignsItself) {
  write(root_, "", root_.pem());
  std::filesystem::remove(folder_.file("cert-chain.pem"));
  const auto authority = open();
  ASSERT_TRUE(authority) << authority.error().to_string();
  EXPECT_EQ(sign(**authority).size(), 2U);
  EXPECT_EQ((*authority)->not_after(), kNow + hours(1000));
}

TEST_F(PluggedCa, FollowsLinksAsKubernetesMountsThem) {
  write(root_, "", root_.pem());
  std::filesystem::rename(folder_.file("ca-key.pem"), folder_.file("data"));
  std::filesystem::create_symlink("data", folder_.file("ca-key.pem"));
  EXPECT_EQ(refusal(), "none");
}

TEST_F(PluggedCa, NothingOutlivesTheChain) {
  const Made brief = make({.name = "brief", .issuer = &root_, .ends = hours(2)});
  const Made below = make({.name = "below", .issuer = &brief});
  write(below, brief.pem(), root_.pem());
  const auto authority = open();
  ASSERT_TRUE(authority) << authority.error().to_string();
  EXPECT_EQ((*authority)->not_after(), kNow + hours(2));
}

TEST_F(PluggedCa, RefusesWhatWouldNotWork) {
  const Made stranger = make({.name = "stranger"});
  const Made leaf = make({.name = "leaf", .issuer = &root_, .is_authority = false});
  const Made expired =
      make({.name = "old", .issuer = &root_, .begins = hours(-9), .ends = hours(-1)});
  const Made early = make({.name = "early", .issuer = &root_, .begins = hours(1)});
  const Made below_expired = make({.name = "below", .issuer = &expired});
  const Made below_leaf = make({.name = "below", .issuer = &leaf});
  const Made weak = make({.name = "weak", .issuer = &root_, .key = make_rsa(1024)});
  struct Row {
    const Made& ca;
    std::string chain;
    std::string roots;
    const char* complaint;
  };
  const Row kRows[] = {
      {leaf, "", root_.pem(), "ca-cert.pem is not a CA's"},
      {expired, "", root_.pem(), "ca-cert.pem has expired"},
      {early, "", root_.pem(), "ca-cert.pem is not valid yet"},
      {lower_, "", root_.pem(), "cert-chain.pem does not lead from ca-cert.pem to a root"},
      {lower_, upper_.pem() + root_.pem(), stranger.pem(), "cert-chain.pem does not lead"},
      {root_, "", stranger.pem(), "cert-chain.pem does not lead"},
      {below_expired, expired.pem(), root_.pem(), "certificate has expired"},
      {below_leaf, leaf.pem(), root_.pem(), "no peer would accept what this CA signs: "},
      {weak, "", root_.pem(), "no peer would accept what this CA signs: "},
      {root_, "", "", "root-cert.pem: expected at least one certificate"},
      {root_, "", root_.pem() + leaf.pem(), "root-cert.pem: certificate 2 is not a CA's"},
      {root_, "", root_.pem() + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
       "root-cert.pem: certificate 2 cannot be read"},
  };
  for (const Row& row : kRows) {
    write(row.ca, row.chain, row.roots);
    EXPECT_THAT(refusal(), HasSubstr(row.complaint));
    EXPECT_THAT(refusal(), HasSubstr(folder_.path()));
  }
  write(root_, "", root_.pem());
  folder_.write("ca-key.pem", stranger.key_pem());
  EXPECT_THAT(refusal(), HasSubstr("ca-key.pem does not belong to ca-cert.pem"));
  folder_.write("ca-key.pem", "nothing");
  EXPECT_THAT(refusal(), HasSubstr("ca-key.pem: expected a PEM private key"));
  std::filesystem::remove(folder_.file("ca-key.pem"));
  EXPECT_THAT(refusal(), HasSubstr("ca-key.pem: No such file"));
}

TEST_F(PluggedCa, RotatesTheRootInThreeSteps) {
  const Made next = make({.name = "next"});
  write(root_, "", root_.pem());
  const auto authority = open();
  ASSERT_TRUE(authority) << authority.error().to_string();
  EXPECT_FALSE((*authority)->refresh().value());

  folder_.write("root-cert.pem", root_.pem() + next.pem());
  EXPECT_TRUE((*authority)->refresh().value());
  EXPECT_EQ((*authority)->roots_pem(), root_.pem() + next.pem());

  // Between two files of one step: what was in force stays, and the reason is told once.
  folder_.write("ca-key.pem", next.key_pem());
  EXPECT_THAT((*authority)->refresh().error().to_string(), HasSubstr("does not belong"));
  EXPECT_FALSE((*authority)->refresh().value());
  EXPECT_EQ(X509_verify(certificate_from_pem(sign(**authority)[0])->get(), root_.key.get()), 1);
  folder_.write("ca-cert.pem", next.pem());
  EXPECT_TRUE((*authority)->refresh().value());
  EXPECT_EQ(X509_verify(certificate_from_pem(sign(**authority)[0])->get(), next.key.get()), 1);
  EXPECT_EQ((*authority)->roots_pem(), next.pem() + root_.pem()) << "the one that signs is first";

  folder_.write("root-cert.pem", next.pem());
  EXPECT_TRUE((*authority)->refresh().value());
  EXPECT_EQ(sign(**authority).back(), next.pem());
}

TEST_F(PluggedCa, AMistakeTakenBackChangesNothing) {
  write(root_, "", root_.pem());
  const auto authority = open();
  std::filesystem::remove(folder_.file("root-cert.pem"));
  EXPECT_FALSE((*authority)->refresh());
  EXPECT_FALSE((*authority)->refresh().value());  // told once
  folder_.write("root-cert.pem", root_.pem());
  EXPECT_FALSE((*authority)->refresh().value());
  EXPECT_EQ(sign(**authority).back(), root_.pem());
}

}  // namespace
}  // namespace weft::identity
