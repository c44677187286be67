#pragma once

#include "tests/support/run_task.h"
#include "tests/support/test_authority.h"
#include "tests/support/transports.h"
#include "tests/unit/ztunnel/http/h2/h2_pair.h"
#include "ztunnel/hbone/pool.h"
#include "ztunnel/hbone/server.h"
#include "ztunnel/http/h2_connection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace weft::testing {

using Opened = std::expected<hbone::Tunnelled, hbone::OpenError>;

inline SpiffeId identity(const std::string& account) { return {"cluster.local", "ns", account}; }

// Sends back what comes.
inline runtime::Task<void> echo_bytes(std::unique_ptr<runtime::ByteStream> stream) {
  while (true) {
    Result<runtime::Buffer> bytes = co_await stream->read();
    if (!bytes) co_return;
    if (bytes->empty()) break;
    if (!co_await stream->write(std::move(*bytes))) co_return;
  }
  static_cast<void>(co_await stream->shutdown_write());
}

inline runtime::Task<void> accept_and_echo(std::unique_ptr<hbone::IncomingConnect> incoming) {
  auto stream = co_await incoming->accept("k8s.namespace.name=server");
  if (stream) co_await echo_bytes(std::move(*stream));
}

// A pool, and a node on the other side that stands for every address. What it does with a
// connection can be replaced: with the bare bytes, with TLS done, or with each CONNECT.
class HboneFixture : public ::testing::TestWithParam<Transport> {
 public:
  using ServeBytes = std::function<runtime::Task<void>(std::unique_ptr<runtime::ByteStream>)>;
  using ServeTls = std::function<runtime::Task<void>(std::unique_ptr<tls::TlsStream>)>;

  void SetUp() override {
    Result<std::unique_ptr<runtime::Loop>> made = make_loop(GetParam());
    if (!made) {
      GTEST_SKIP() << "no " << to_string(GetParam()) << ": " << made.error().to_string();
    }
    loop = std::move(*made);
    client_context = context("client");
    server_context = context("server");
    make_pool(hbone::Pool::kTimes);
  }
  void TearDown() override {
    if (!loop) return;
    pool.reset();
    EXPECT_EQ(loop->buffers().in_use(), 0U);
  }

  std::shared_ptr<tls::Context> context(const std::string& account) {
    return *tls::Context::make(authority.issue(identity(account).to_string()));
  }
  void make_pool(const hbone::PoolTimes& times) {
    pool =
        std::make_unique<hbone::Pool>(*loop, [this](SocketAddress to) { return dial(to); }, times);
  }
  // Runs the test's body, then ends everything.
  void run(runtime::Task<void> task) { testing::run(*loop, whole(std::move(task))); }
  runtime::Task<void> turns(int count = 50) {
    for (int i = 0; i < count; ++i) co_await loop->sleep(std::chrono::milliseconds(0));
  }

  hbone::TunnelKey key(const std::string& address = "10.0.0.1:15008") {
    return {identity("client"), {identity("server")}, *SocketAddress::parse(address)};
  }
  runtime::Task<Opened> open(const std::string& to = "10.0.0.1:80") {
    return pool->open(key(), client_context, {.authority = to});
  }

  TestAuthority authority{"cluster.local"};
  std::unique_ptr<runtime::Loop> loop;
  std::shared_ptr<tls::Context> client_context;
  std::shared_ptr<tls::Context> server_context;
  std::unique_ptr<hbone::Pool> pool;
  int dials = 0;
  std::optional<Error> dial_error;
  ServeBytes serve_bytes = [this](std::unique_ptr<runtime::ByteStream> transport) {
    return do_tls(std::move(transport));
  };
  ServeTls serve_tls = [this](std::unique_ptr<tls::TlsStream> stream) {
    return do_hbone(std::move(stream));
  };
  hbone::ServerConnection::Handler handler = accept_and_echo;
  std::vector<hbone::ServerConnection*> connections;  // that run now
  runtime::TaskScope servers;

 private:
  runtime::Task<void> whole(runtime::Task<void> task) {
    co_await std::move(task);
    co_await pool->close(std::chrono::milliseconds(0));
    co_await servers.join();
  }
  runtime::Task<Result<std::unique_ptr<runtime::ByteStream>>> dial(SocketAddress) {
    ++dials;
    co_await loop->sleep(std::chrono::milliseconds(0));
    if (dial_error) co_return Fail(*dial_error);
    StreamPair ends = make_pair(*loop, GetParam());
    servers.spawn(serve_bytes(std::move(ends.second)));
    co_return std::move(ends.first);
  }
  runtime::Task<void> do_tls(std::unique_ptr<runtime::ByteStream> transport) {
    auto tls = co_await tls::accept_mesh(*loop, std::move(transport), server_context);
    if (tls) co_await serve_tls(std::move(*tls));
  }
  runtime::Task<void> do_hbone(std::unique_ptr<tls::TlsStream> stream) {
    const auto connection = hbone::ServerConnection::make(*loop, std::move(stream), handler);
    connections.push_back(connection.get());
    co_await connection->run();
    std::erase(connections, connection.get());
  }
};

}  // namespace weft::testing
