// Tunnels whose certificates are refused, at the handshake or later.

#include "tests/unit/ztunnel/hbone/hbone_fixture.h"
#include "ztunnel/tls/revocation.h"

#include <gmock/gmock.h>

namespace weft::hbone {
namespace {

using runtime::Task;
using ::testing::HasSubstr;
using testing::Opened;

class CertificatesTest : public testing::HboneFixture {
 public:
  void SetUp() override {
    HboneFixture::SetUp();
    if (!loop) return;
    client_context = issue("client", client_pem);
    server_context = issue("server", server_pem);
    trust(client_context, {});
    trust(server_context, {});
  }
  std::shared_ptr<tls::Context> issue(const std::string& account, std::string& pem) {
    const auto made = authority.issue(testing::identity(account).to_string());
    pem = made->chain_pem.front();
    return *tls::Context::make(made);
  }
  std::shared_ptr<const tls::RevocationList> list(const std::vector<std::string>& revoked) {
    return *tls::RevocationList::parse(authority.revoke(revoked));
  }
  void trust(const std::shared_ptr<tls::Context>& context,
             const std::vector<std::string>& revoked) {
    context->set_trust(std::make_shared<const tls::Trust>(
        tls::Trust{.trust_domain_aliases = {}, .revoked = list(revoked)}));
  }

  std::string client_pem;
  std::string server_pem;
};

Task<void> open_into(CertificatesTest& test, std::vector<Opened>& all) {
  all.push_back(co_await test.open());
}

// In TLS 1.3 the client has done its handshake by then, and has asked for its streams.
Task<void> refused_by_server(CertificatesTest& test, std::string alert) {
  std::vector<Opened> all;
  runtime::TaskScope scope;
  for (int i = 0; i < 3; ++i) scope.spawn(open_into(test, all));
  co_await scope.join();
  EXPECT_EQ(all.size(), 3U);
  for (const Opened& one : all) {
    EXPECT_FALSE(one.has_value());
    if (one) continue;
    EXPECT_EQ(one.error().flag, Flag::kTlsFailure) << one.error().error.to_string();
    EXPECT_EQ(one.error().error.code, Code::kRefused);
    EXPECT_THAT(one.error().error.to_string(),
                HasSubstr("peer refused our certificate (alert: " + alert));
    EXPECT_FALSE(tls::is_about_revocation(one.error().error)) << "ours was revoked, not the peer's";
  }
}
TEST_P(CertificatesTest, ARefusalAfterTheHandshakeIsATlsFailure) {
  trust(server_context, {client_pem});
  run(refused_by_server(*this, "certificate revoked"));
}
TEST_P(CertificatesTest, SoIsAnAlienRoot) {
  const testing::TestAuthority stranger("cluster.local");
  testing::LeafOptions options;
  options.roots_pem = authority.root_pem();
  client_context =
      *tls::Context::make(stranger.issue(testing::identity("client").to_string(), options));
  run(refused_by_server(*this, "unknown CA"));
}

Task<void> revoked_later(CertificatesTest& test) {
  Opened opened = co_await test.open();
  EXPECT_TRUE(opened.has_value());
  if (!opened) co_return;
  test.pool->break_revoked(*test.list({test.client_pem}));
  EXPECT_EQ(test.pool->tunnels(), 1U) << "that one is ours";
  test.pool->break_revoked(*test.list({test.server_pem}));
  const auto read = co_await opened->stream->read();
  EXPECT_FALSE(read);
  if (!read) EXPECT_TRUE(tls::is_about_revocation(read.error())) << read.error().to_string();
  co_await test.turns();
  EXPECT_EQ(test.pool->tunnels(), 0U);
  test.trust(test.client_context, {test.server_pem});
  const Opened again = co_await test.open();
  EXPECT_FALSE(again.has_value());
  if (again) co_return;
  EXPECT_EQ(again.error().flag, Flag::kTlsFailure);
  EXPECT_TRUE(tls::is_about_revocation(again.error().error));
}
TEST_P(CertificatesTest, ATunnelToARevokedPeerIsBroken) { run(revoked_later(*this)); }

INSTANTIATE_TEST_SUITE_P(Transports, CertificatesTest,
                         ::testing::Values(testing::Transport::kMemory,
                                           testing::Transport::kEpollSockets,
                                           testing::Transport::kUringSockets),
                         [](const auto& info) { return testing::to_string(info.param); });

}  // namespace
}  // namespace weft::hbone
