#include "tests/unit/ztunnel/tls/mesh_fixture.h"
#include "ztunnel/base/log.h"

#include <atomic>
#include <random>
#include <thread>

namespace weft::tls {
namespace {

using runtime::Buffer;
using runtime::Task;
using testing::both;
using testing::read_all;
using testing::read_some;
using testing::send;
using testing::send_and_end;

class TlsStreamTest : public MeshFixture {};

std::string random_text(size_t size) {
  std::minstd_rand random(7);
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

Task<Result<std::string>> exchange(runtime::Loop& loop, TlsStream& stream, std::string text) {
  auto [sent, received] = co_await both(send_and_end(loop, stream, text), read_all(stream));
  if (!sent) co_return Fail(std::move(sent.error()));
  co_return std::move(received);
}

TEST_P(TlsStreamTest, ProvesBothIdentities) {
  connect();
  EXPECT_EQ(client_->peer().identity, id_of(kBob));
  EXPECT_EQ(server_->peer().identity, id_of(kAlice));
  EXPECT_EQ(client_->peer().alpn, "h2");
  EXPECT_EQ(server_->peer().alpn, "h2");
  EXPECT_EQ(client_->peer().cipher, "TLS_AES_128_GCM_SHA256");
}

TEST_P(TlsStreamTest, AcceptsAnyOfTheExpectedServersAndIntermediates) {
  auto [client, server] =
      handshake(authority_.issue(kAlice, {.by_intermediate = true}),
                authority_.issue(kBob, {.by_intermediate = true}), {id_of(kAlice), id_of(kBob)});
  ASSERT_TRUE(client) << client.error().to_string();
  ASSERT_TRUE(server) << server.error().to_string();
  EXPECT_EQ((*client)->peer().identity, id_of(kBob));
}

TEST_P(TlsStreamTest, CarriesTenMebibytesBothWaysAtOnce) {
  connect();
  const std::string there = random_text(10 * 1024 * 1024);
  const std::string back(there.rbegin(), there.rend());
  auto [client, server] =
      run(both(exchange(*loop_, *client_, there), exchange(*loop_, *server_, back)));
  ASSERT_TRUE(client) << client.error().to_string();
  ASSERT_TRUE(server) << server.error().to_string();
  EXPECT_TRUE(*server == there);
  EXPECT_TRUE(*client == back);
}

TEST_P(TlsStreamTest, GoesOnInOneDirectionAfterAHalfClose) {
  connect();
  EXPECT_TRUE(run(send_and_end(*loop_, *client_, "that is all")));
  EXPECT_EQ(run(read_all(*server_)).value(), "that is all");
  EXPECT_TRUE(run(server_->read()).value().empty()) << "the end is said again on every later read";
  const std::string answer = random_text(1024 * 1024);
  auto [sent, received] = run(both(send_and_end(*loop_, *server_, answer), read_all(*client_)));
  EXPECT_TRUE(sent);
  EXPECT_TRUE(received.value() == answer);
}

TEST_P(TlsStreamTest, TellsATruncatedStreamFromAnEndedOne) {
  connect();
  EXPECT_TRUE(run(send(*loop_, *client_, "half a sen")));
  EXPECT_TRUE(run(client_transport_->shutdown_write()));  // FIN, and no close_notify
  EXPECT_EQ(run(read_some(*server_, 10)).value(), "half a sen");
  const Result<Buffer> end = run(server_->read());
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().code, Code::kReset);
  EXPECT_THAT(end.error().to_string(), ::testing::HasSubstr("without close_notify"));
}

TEST_P(TlsStreamTest, RefusesTamperedRecords) {
  connect();
  EXPECT_TRUE(run(send(*loop_, *client_, "good")));
  const std::string forged = std::string("\x17\x03\x03\x00\x20", 5) + std::string(32, 'x');
  EXPECT_TRUE(run(send(*loop_, *client_transport_, forged)));
  EXPECT_EQ(run(read_some(*server_, 4)).value(), "good");
  const Result<Buffer> broken = run(server_->read());
  ASSERT_FALSE(broken);
  EXPECT_EQ(broken.error().code, Code::kReset);
  const Result<Buffer> alert = run(client_->read());
  ASSERT_FALSE(alert);
  EXPECT_THAT(alert.error().to_string(), ::testing::HasSubstr("bad record mac"));
  EXPECT_FALSE(run(send(*loop_, *server_, "more"))) << "a broken session seals nothing";
}

Task<Result<Buffer>> read_and_abort(runtime::Loop& loop, TlsStream& stream) {
  loop.post([&stream] { stream.abort(); });
  co_return co_await stream.read();
}

TEST_P(TlsStreamTest, AbortEndsAPendingReadAndResetsThePeer) {
  connect();
  const Result<Buffer> pending = run(read_and_abort(*loop_, *client_));
  ASSERT_FALSE(pending);
  EXPECT_EQ(pending.error().code, Code::kCancelled);
  EXPECT_EQ(run(send(*loop_, *client_, "late")).error().code, Code::kCancelled);
  client_->abort();  // any number of times
  const Result<Buffer> peer = run(server_->read());
  ASSERT_FALSE(peer);
  EXPECT_EQ(peer.error().code, Code::kReset);
}

Task<Result<void>> fill_and_abort(runtime::Loop& loop, TlsStream& stream) {
  loop.schedule(std::chrono::milliseconds(1), [&stream] { stream.abort(); });
  while (true) CO_TRY(co_await send(loop, stream, std::string(64 * 1024, 'x')));
}

TEST_P(TlsStreamTest, AbortEndsAWriteThatWaitsForAPeerThatDoesNotRead) {
  connect();
  const Result<void> stuck = run(fill_and_abort(*loop_, *client_));
  ASSERT_FALSE(stuck);
  EXPECT_EQ(stuck.error().code, Code::kCancelled);
}

TEST_P(TlsStreamTest, HoldsNoBufferWhileItWaits) {
  connect();
  EXPECT_TRUE(run(send(*loop_, *client_, "hello")));
  EXPECT_EQ(run(read_some(*server_, 5)).value(), "hello");
  size_t in_use = 99;
  loop_->schedule(std::chrono::milliseconds(1), [&] {
    in_use = loop_->buffers().in_use();
    server_->abort();
  });
  EXPECT_FALSE(run(server_->read()));
  EXPECT_EQ(in_use, 0U);
}

TEST_P(TlsStreamTest, LogsNoSecret) {
  std::string log;
  log::set_sink([&log](std::string_view line) { log += line; });
  log::set_level(log::Level::kDebug);
  ::testing::internal::CaptureStderr();
  connect();
  EXPECT_TRUE(run(send(*loop_, *client_, "a secret of the application")));
  EXPECT_TRUE(run(read_some(*server_, 10)));
  client_->abort();
  EXPECT_FALSE(run(server_->read()));
  log::set_sink(nullptr);
  log::set_level(log::Level::kInfo);
  EXPECT_EQ(log + ::testing::internal::GetCapturedStderr(), "") << "this room is silent";
}

// As the workers do: each has a loop and contexts of its own, made from shared credentials.
TEST(TlsWorkersTest, ShareCredentialsAndNothingElse) {
  const testing::TestAuthority authority("cluster.local");
  const std::shared_ptr<const Credentials> alice = authority.issue(kAlice);
  const std::shared_ptr<const Credentials> bob = authority.issue(kBob);
  std::atomic<int> good = 0;
  const auto work = [&] {
    const auto loop = runtime::Loop::create(runtime::Backend::kEpoll).value();
    for (int i = 0; i < 10; ++i) {
      auto [near, far] = testing::make_pair(*loop, testing::Transport::kMemory);
      auto [client, server] = testing::run(
          *loop,
          both(connect_mesh(*loop, std::move(near), Context::make(alice).value(), {id_of(kBob)}),
               accept_mesh(*loop, std::move(far), Context::make(bob).value())));
      if (client && server && (*server)->peer().identity == alice->identity) ++good;
    }
  };
  {
    std::vector<std::jthread> workers;
    for (int i = 0; i < 3; ++i) workers.emplace_back(work);
  }
  EXPECT_EQ(good, 30);
}

INSTANTIATE_TEST_SUITE_P(Over, TlsStreamTest, every_transport(), transport_name);

}  // namespace
}  // namespace weft::tls
