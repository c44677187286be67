// Certificates that were taken back, and clients of other trust domains.

#include "tests/unit/ztunnel/tls/mesh_fixture.h"
#include "ztunnel/tls/revocation.h"

namespace weft::tls {
namespace {

using ::testing::HasSubstr;

std::shared_ptr<const RevocationList> list_of(const std::string& bytes) {
  auto list = RevocationList::parse(bytes);
  EXPECT_TRUE(list) << list.error().to_string();
  return list ? *list : nullptr;
}

std::shared_ptr<const Trust> trust_of(const std::string& crl) {
  return std::make_shared<const Trust>(Trust{.trust_domain_aliases = {}, .revoked = list_of(crl)});
}

class RevocationTest : public MeshFixture {
 public:
  // Both sides heed the list.
  std::pair<StreamResult, StreamResult> meet(const std::string& crl) {
    return handshake(alice_, bob_, {id_of(kBob)}, trust_of(crl));
  }
  static const std::string& pem(const std::shared_ptr<const Credentials>& of) {
    return of->chain_pem.front();
  }

 protected:
  const std::shared_ptr<const Credentials> alice_ =
      authority_.issue(kAlice, {.by_intermediate = true});
  const std::shared_ptr<const Credentials> bob_ = authority_.issue(kBob);
};

TEST_P(RevocationTest, TheServerRefusesARevokedClient) {
  auto [client, server] = meet(authority_.revoke({pem(alice_)}, {.by_intermediate = true}));
  ASSERT_FALSE(server);
  EXPECT_EQ(server.error().code, Code::kRefused);
  EXPECT_THAT(server.error().to_string(),
              HasSubstr(kAlice + ": the peer's certificate was revoked (serial " + alice_->serial));
  EXPECT_TRUE(is_about_revocation(server.error()));
  // The client hears of it with its first read.
  ASSERT_TRUE(client);
  const auto read = run((*client)->read());
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Code::kRefused);
  EXPECT_THAT(read.error().to_string(), HasSubstr("certificate revoked"));
}

TEST_P(RevocationTest, TheClientRefusesARevokedServer) {
  auto [client, server] = meet(authority_.revoke({pem(bob_)}));
  ASSERT_FALSE(client);
  EXPECT_TRUE(is_about_revocation(client.error()));
  EXPECT_FALSE(server);
}

TEST_P(RevocationTest, ARevokedIntermediateTakesItsLeavesAlong) {
  auto [client, server] = meet(authority_.revoke({authority_.intermediate_pem()}));
  ASSERT_FALSE(server);
  EXPECT_THAT(server.error().to_string(), HasSubstr("an intermediate's, serial "));
}

TEST_P(RevocationTest, OnlyTheCasOwnCertificatesAreMeant) {
  testing::TestAuthority stranger("cluster.local");  // of the same name, with another key
  const std::string others = stranger.revoke({pem(bob_)}) +
                             authority_.revoke({pem(bob_)}, {.by_intermediate = true}) +
                             authority_.revoke({});
  auto [client, server] = meet(others);
  EXPECT_TRUE(client) << client.error().to_string();
  EXPECT_TRUE(server);
}

TEST_P(RevocationTest, AnEstablishedPeerCanBeFoundInALaterList) {
  auto [client, server] = meet(authority_.revoke({}));
  ASSERT_TRUE(server);
  const std::vector<CertificateId>& ids = (*server)->peer().certificates;
  EXPECT_EQ(ids.size(), 2U) << "leaf and intermediate";
  EXPECT_FALSE(list_of(authority_.revoke({pem(bob_)}))->revokes_any(ids));
  EXPECT_TRUE(list_of(authority_.revoke({authority_.intermediate_pem()}))->revokes_any(ids));
  EXPECT_TRUE(
      list_of(authority_.revoke({pem(alice_)}, {.by_intermediate = true}))->revokes_any(ids));
}

TEST_P(RevocationTest, AnAliasOfTheTrustDomainIsAcceptedAndNoOther) {
  const std::string old = "spiffe://old.example/ns/a/sa/alice";
  const auto trust = std::make_shared<const Trust>(
      Trust{.trust_domain_aliases = {"older.example", "old.example"}, .revoked = nullptr});
  {
    auto [client, server] = handshake(authority_.issue(old), bob_, {id_of(kBob)}, trust);
    ASSERT_TRUE(server) << server.error().to_string();
    EXPECT_EQ((*server)->peer().identity, id_of(old));
  }
  auto [client, server] =
      handshake(authority_.issue("spiffe://new.example/ns/a/sa/alice"), bob_, {id_of(kBob)}, trust);
  ASSERT_FALSE(server);
  EXPECT_THAT(server.error().to_string(), HasSubstr("expected an identity of trust domain"));
}

INSTANTIATE_TEST_SUITE_P(Transports, RevocationTest, every_transport(), transport_name);

TEST(RevocationList, ReadsPemAndDer) {
  const testing::TestAuthority authority("cluster.local");
  const auto bob = authority.issue(kBob);
  const std::string pem = authority.revoke({bob->chain_pem.front()});
  EXPECT_EQ(list_of(pem)->size(), 1U);
  EXPECT_EQ(list_of("notes\n" + pem + authority.revoke({}) + "more\n")->size(), 1U);
  EXPECT_EQ(list_of(testing::der_of_pem(pem))->size(), 1U);
  EXPECT_TRUE(list_of(pem)->stale().empty());
  const auto stale = list_of(authority.revoke({}, {.next_update = std::chrono::seconds(-60)}));
  EXPECT_THAT(stale->stale(), ::testing::ElementsAre("O=root of cluster.local"));
}

TEST(RevocationList, AListWithoutAKeyIdMeansEveryCaOfItsName) {
  const testing::TestAuthority authority("cluster.local");
  const auto bob = authority.issue(kBob);
  const testing::TestAuthority stranger("cluster.local");
  const auto list = list_of(stranger.revoke({bob->chain_pem.front()}, {.with_key_id = false}));
  EXPECT_EQ(list->size(), 1U);
}

TEST(RevocationList, RefusesWhatItCannotHonour) {
  const testing::TestAuthority authority("cluster.local");
  const std::string good = authority.revoke({});
  const std::pair<std::string, const char*> kRows[] = {
      {"", "expected PEM, or one CRL in DER"},
      {"nonsense", "expected PEM, or one CRL in DER"},
      {testing::der_of_pem(good) + "x", "expected PEM, or one CRL in DER"},
      {authority.root_pem(), "CRL 1 of the PEM cannot be read"},
      {good + good.substr(0, good.size() / 2), "CRL 2 of the PEM cannot be read"},
      {good + "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "CRL 2 of the PEM"},
      {authority.revoke({}, {.is_delta = true}), "it has a critical extension (deltaCRL)"},
      {std::string(RevocationList::kBytesMax + 1, 'x'), "more than 16777216 bytes"},
  };
  for (const auto& [bytes, complaint] : kRows) {
    const auto list = RevocationList::parse(bytes);
    ASSERT_FALSE(list) << complaint;
    EXPECT_THAT(list.error().to_string(), HasSubstr(complaint));
  }
}

}  // namespace
}  // namespace weft::tls
