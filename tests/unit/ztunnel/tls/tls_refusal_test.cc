#include "tests/unit/ztunnel/tls/mesh_fixture.h"

// Who is refused, by whom, and in which words: security as a table.

namespace weft::tls {
namespace {

using testing::LeafOptions;

const std::string kCarol = "spiffe://cluster.local/ns/c/sa/carol";
const std::string kStranger = "spiffe://other.example/ns/a/sa/alice";

enum class Authority { kOurs, kOther };
enum class Refuser { kClient, kServer };

struct Leaf {
  std::string uri;
  LeafOptions options{};
  Authority by = Authority::kOurs;
};

struct Row {
  std::string name;
  Leaf client;
  Leaf server;
  Refuser refuser;
  std::string reason;  // the refuser's words
  std::string alert;   // what the refused side learns
};

const Leaf kGoodClient{kAlice};
const Leaf kGoodServer{kBob};
constexpr std::chrono::hours kHour{1};

const Row kRows[] = {
    {"ServerIsSomeoneElse",
     kGoodClient,
     {kCarol},
     Refuser::kClient,
     "peer proved " + kCarol + ", expected " + kBob,
     "handshake failure"},
    {"ServerOfAnotherTrustDomain",
     kGoodClient,
     {"spiffe://other.example/ns/b/sa/bob"},
     Refuser::kClient,
     "peer proved spiffe://other.example/ns/b/sa/bob, expected " + kBob,
     "handshake failure"},
    {"ServerWithoutAName",
     kGoodClient,
     {""},
     Refuser::kClient,
     "peer proved no URI name, expected " + kBob,
     "handshake failure"},
    {"ServerExpired",
     kGoodClient,
     {kBob, {.valid_from = -2 * kHour, .valid_until = -kHour}},
     Refuser::kClient,
     "(" + kBob + ") does not verify: certificate has expired",
     "certificate expired"},
    {"ServerNotYetValid",
     kGoodClient,
     {kBob, {.valid_from = kHour, .valid_until = 2 * kHour}},
     Refuser::kClient,
     "(" + kBob + ") does not verify: certificate is not yet valid",
     "bad certificate"},
    {"ServerForClientsOnly",
     kGoodClient,
     {kBob, {.server_auth = false}},
     Refuser::kClient,
     "does not verify: unsuitable certificate purpose",
     "unsupported certificate"},
    {"ServerForNeither",
     kGoodClient,
     {kBob, {.client_auth = false, .server_auth = false}},
     Refuser::kClient,
     "does not verify: unsuitable certificate purpose",
     "unsupported certificate"},
    {"ServerOfAnotherRoot",
     kGoodClient,
     {kBob, {}, Authority::kOther},
     Refuser::kClient,
     "(" + kBob + ") does not verify: unable to get local issuer certificate",
     "unknown CA"},
    {"ClientOfAnotherTrustDomain",
     {kStranger},
     kGoodServer,
     Refuser::kServer,
     "peer proved " + kStranger + ", expected an identity of trust domain cluster.local",
     "handshake failure"},
    {"ClientOfTwoNames",
     {kAlice, {.more_uris = {kCarol}}},
     kGoodServer,
     Refuser::kServer,
     "peer proved " + kAlice + ", " + kCarol + ", expected exactly one SPIFFE identity",
     "handshake failure"},
    {"ClientWithoutAName",
     {""},
     kGoodServer,
     Refuser::kServer,
     "peer proved no URI name, expected exactly one SPIFFE identity",
     "handshake failure"},
    {"ClientOfAMalformedName",
     {"spiffe://cluster.local/alice"},
     kGoodServer,
     Refuser::kServer,
     "got \"spiffe://cluster.local/alice\"",
     "handshake failure"},
    {"ClientExpired",
     {kAlice, {.valid_from = -2 * kHour, .valid_until = -kHour}},
     kGoodServer,
     Refuser::kServer,
     "(" + kAlice + ") does not verify: certificate has expired",
     "certificate expired"},
    {"ClientNotYetValid",
     {kAlice, {.valid_from = kHour, .valid_until = 2 * kHour}},
     kGoodServer,
     Refuser::kServer,
     "(" + kAlice + ") does not verify: certificate is not yet valid",
     "bad certificate"},
    {"ClientForServersOnly",
     {kAlice, {.client_auth = false}},
     kGoodServer,
     Refuser::kServer,
     "does not verify: unsuitable certificate purpose",
     "unsupported certificate"},
    {"ClientOfAnotherRoot",
     {kAlice, {}, Authority::kOther},
     kGoodServer,
     Refuser::kServer,
     "(" + kAlice + ") does not verify: unable to get local issuer certificate",
     "unknown CA"},
};

class TlsRefusalTest : public MeshFixture {
 public:
  std::shared_ptr<const Credentials> credentials(const Leaf& leaf) {
    LeafOptions options = leaf.options;
    options.roots_pem = authority_.root_pem();
    return (leaf.by == Authority::kOurs ? authority_ : other_).issue(leaf.uri, options);
  }

  // What a side learns at the latest when it reads: in TLS 1.3 a client's handshake is done before
  // the server has judged its certificate.
  Error outcome(StreamResult& result) {
    if (!result) return result.error();
    const Result<runtime::Buffer> read = run((*result)->read());
    return read ? Error(Code::kInternal, "nobody refused") : read.error();
  }

 protected:
  testing::TestAuthority other_{"cluster.local"};
};

TEST_P(TlsRefusalTest, EveryRowIsRefusedInClearWords) {
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.name);
    auto [client, server] =
        handshake(credentials(row.client), credentials(row.server), {id_of(kBob)});
    const bool by_client = row.refuser == Refuser::kClient;
    const StreamResult& refuser = by_client ? client : server;
    ASSERT_FALSE(refuser) << "accepted";
    EXPECT_EQ(refuser.error().code, Code::kRefused);
    EXPECT_THAT(refuser.error().to_string(), ::testing::HasSubstr(row.reason));
    const Error refused = outcome(by_client ? server : client);
    EXPECT_EQ(refused.code, Code::kRefused);
    EXPECT_THAT(refused.to_string(), ::testing::HasSubstr("alert: " + row.alert));
    if (by_client) EXPECT_FALSE(server) << "a server must not believe in a handshake it lost";
  }
}

TEST_P(TlsRefusalTest, AServerMayCarryOtherNamesBesidesTheExpectedOne) {
  auto [client, server] = handshake(credentials(kGoodClient),
                                    credentials({kCarol, {.more_uris = {kBob}}}), {id_of(kBob)});
  ASSERT_TRUE(client) << client.error().to_string();
  EXPECT_EQ((*client)->peer().identity, id_of(kBob));
}

TEST_P(TlsRefusalTest, ABundleOfTwoRootsOfOneNameTrustsBoth) {
  LeafOptions both_roots;
  both_roots.roots_pem = other_.root_pem() + authority_.root_pem();
  for (const Authority by : {Authority::kOurs, Authority::kOther}) {
    const testing::TestAuthority& signer = by == Authority::kOurs ? authority_ : other_;
    auto [client, server] = handshake(signer.issue(kAlice, both_roots),
                                      authority_.issue(kBob, both_roots), {id_of(kBob)});
    ASSERT_TRUE(client) << client.error().to_string();
    ASSERT_TRUE(server) << server.error().to_string();
  }
}

TEST_P(TlsRefusalTest, AClientThatExpectsNobodyConnectsToNobody) {
  auto [near, far] = testing::make_pair(*loop_, GetParam());
  const StreamResult client = run(
      connect_mesh(*loop_, std::move(near), Context::make(credentials(kGoodClient)).value(), {}));
  EXPECT_EQ(client.error().code, Code::kInvalid);
}

INSTANTIATE_TEST_SUITE_P(Over, TlsRefusalTest, every_transport(), transport_name);

}  // namespace
}  // namespace weft::tls
