#pragma once

#include "tests/support/run_task.h"
#include "tests/support/test_authority.h"
#include "tests/support/transports.h"
#include "ztunnel/tls/tls_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace weft::tls {

using StreamResult = Result<std::unique_ptr<TlsStream>>;

inline const std::string kAlice = "spiffe://cluster.local/ns/a/sa/alice";
inline const std::string kBob = "spiffe://cluster.local/ns/b/sa/bob";

inline SpiffeId id_of(const std::string& uri) { return SpiffeId::parse(uri).value(); }

// Alice is the client, Bob the server.
class MeshFixture : public ::testing::TestWithParam<testing::Transport> {
 public:
  void SetUp() override {
    Result<std::unique_ptr<runtime::Loop>> loop = testing::make_loop(GetParam());
    if (!loop)
      GTEST_SKIP() << "no " << testing::to_string(GetParam()) << ": " << loop.error().to_string();
    loop_ = std::move(*loop);
  }

  std::pair<StreamResult, StreamResult> handshake(std::shared_ptr<const Credentials> client,
                                                  std::shared_ptr<const Credentials> server,
                                                  const std::vector<SpiffeId>& any_of,
                                                  std::shared_ptr<const Trust> trust = nullptr) {
    const auto client_context = Context::make(std::move(client)).value();
    const auto server_context = Context::make(std::move(server)).value();
    if (trust) {
      client_context->set_trust(trust);
      server_context->set_trust(trust);
    }
    auto [near, far] = testing::make_pair(*loop_, GetParam());
    client_transport_ = std::move(near);
    server_transport_ = std::move(far);
    return testing::run(
        *loop_, testing::both(
                    connect_mesh(*loop_, std::make_unique<testing::SharedStream>(client_transport_),
                                 client_context, any_of),
                    accept_mesh(*loop_, std::make_unique<testing::SharedStream>(server_transport_),
                                server_context)));
  }

  void connect() {
    auto [client, server] =
        handshake(authority_.issue(kAlice), authority_.issue(kBob), {id_of(kBob)});
    ASSERT_TRUE(client) << client.error().to_string();
    ASSERT_TRUE(server) << server.error().to_string();
    client_ = std::move(*client);
    server_ = std::move(*server);
  }

  template <class T>
  T run(runtime::Task<T> task) {
    return testing::run(*loop_, std::move(task));
  }

 protected:
  testing::TestAuthority authority_{"cluster.local"};
  std::unique_ptr<runtime::Loop> loop_;
  std::shared_ptr<runtime::ByteStream> client_transport_;
  std::shared_ptr<runtime::ByteStream> server_transport_;
  std::unique_ptr<TlsStream> client_;
  std::unique_ptr<TlsStream> server_;
};

inline std::string transport_name(const ::testing::TestParamInfo<testing::Transport>& info) {
  return testing::to_string(info.param);
}
inline auto every_transport() {
  return ::testing::Values(testing::Transport::kMemory, testing::Transport::kEpollSockets,
                           testing::Transport::kUringSockets);
}

}  // namespace weft::tls
