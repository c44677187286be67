#include "tests/unit/ztunnel/tls/mesh_fixture.h"
#include "tests/unit/ztunnel/tls/raw_peer.h"
#include "ztunnel/runtime/socket.h"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <thread>

// Peers that are not ours: plain OpenSSL set up in other ways, openssl(1), and what is no TLS at
// all.

namespace weft::tls {
namespace {

using runtime::Buffer;
using runtime::Task;
using testing::both;
using testing::read_all;
using testing::read_some;
using testing::send;
using testing::send_and_end;

class TlsForeignTest : public MeshFixture {
 public:
  void SetUp() override {
    MeshFixture::SetUp();
    if (IsSkipped()) return;
    std::tie(near_, far_) = testing::make_pair(*loop_, GetParam());
    context_ = Context::make(authority_.issue(kBob)).value();
  }

  // A foreign client with Alice's certificate against our server.
  std::pair<Result<void>, StreamResult> accept(const RawOptions& options) {
    raw_ = std::make_unique<RawPeer>(*loop_, std::move(near_), &alice_, options);
    return run(both(raw_->handshake(), accept_mesh(*loop_, std::move(far_), context_)));
  }
  // A foreign server with Alice's certificate against our client.
  std::pair<Result<void>, StreamResult> connect_to(RawOptions options) {
    options.server = true;
    raw_ = std::make_unique<RawPeer>(*loop_, std::move(far_), &alice_, options);
    return run(
        both(raw_->handshake(), connect_mesh(*loop_, std::move(near_), context_, {id_of(kAlice)})));
  }

 protected:
  testing::Issued alice_ = authority_.issue_pem(kAlice);
  std::unique_ptr<runtime::ByteStream> near_;
  std::unique_ptr<runtime::ByteStream> far_;
  std::shared_ptr<Context> context_;
  std::unique_ptr<RawPeer> raw_;
};

TEST_P(TlsForeignTest, SpeaksWithPlainOpenSsl) {
  auto [client, server] = accept({});
  ASSERT_TRUE(server) << server.error().to_string();
  ASSERT_TRUE(client) << client.error().to_string();
  EXPECT_EQ((*server)->peer().identity, id_of(kAlice));
  EXPECT_TRUE(run(raw_->write("hello")));
  EXPECT_EQ(run(read_some(**server, 5)).value(), "hello");
}

TEST_P(TlsForeignTest, TakesTheSmallerSuite) {
  auto [client, server] = accept({.suites = "TLS_AES_128_GCM_SHA256"});
  ASSERT_TRUE(server) << server.error().to_string();
  EXPECT_EQ((*server)->peer().cipher, "TLS_AES_128_GCM_SHA256");
}

TEST_P(TlsForeignTest, AsksForAnotherGroupAndGoesOn) {
  auto [client, server] = accept({.groups = "P-521:P-384"});
  ASSERT_TRUE(server) << server.error().to_string();
}

struct Refused {
  RawOptions options;
  std::string reason;  // our words
  std::string alert;   // the peer's
};

TEST_P(TlsForeignTest, RefusesClientsThatSpeakOtherwise) {
  const Refused rows[] = {
      {{.version_max = TLS1_2_VERSION}, "unsupported protocol", "protocol version"},
      {{.suites = "TLS_CHACHA20_POLY1305_SHA256"}, "no shared cipher", "handshake failure"},
      {{.groups = "P-521"}, "no suitable key share", "handshake failure"},
      {{.alpn = ""},
       "peer offers no application protocol (ALPN), expected h2",
       "no application protocol"},
      {{.alpn = "http/1.1"},
       "peer does not offer application protocol (ALPN) h2",
       "no application protocol"},
  };
  for (const Refused& row : rows) {
    SCOPED_TRACE(row.reason);
    std::tie(near_, far_) = testing::make_pair(*loop_, GetParam());
    auto [client, server] = accept(row.options);
    ASSERT_FALSE(server);
    EXPECT_EQ(server.error().code, Code::kRefused);
    EXPECT_THAT(server.error().to_string(), ::testing::HasSubstr(row.reason));
    EXPECT_THAT(client.error().to_string(), ::testing::HasSubstr(row.alert));
  }
}

TEST_P(TlsForeignTest, RefusesAClientWithoutACertificate) {
  raw_ = std::make_unique<RawPeer>(*loop_, std::move(near_), nullptr, RawOptions{});
  auto [client, server] =
      run(both(raw_->handshake(), accept_mesh(*loop_, std::move(far_), context_)));
  ASSERT_FALSE(server);
  EXPECT_THAT(server.error().to_string(),
              ::testing::HasSubstr("peer did not return a certificate"));
  const Result<std::string> alert = run(raw_->read());
  EXPECT_THAT(alert.error().to_string(), ::testing::HasSubstr("certificate required"));
}

TEST_P(TlsForeignTest, RefusesServersThatSpeakOtherwise) {
  const Refused rows[] = {
      {{.version_max = TLS1_2_VERSION}, "alert: protocol version", ""},
      {{.suites = "TLS_CHACHA20_POLY1305_SHA256"}, "alert: handshake failure", ""},
      {{.alpn = ""}, "peer chose no application protocol (ALPN), expected h2", ""},
      {{.alpn = "http/1.1"}, "bad extension", ""},
  };
  for (const Refused& row : rows) {
    SCOPED_TRACE(row.reason);
    std::tie(near_, far_) = testing::make_pair(*loop_, GetParam());
    auto [server, client] = connect_to(row.options);
    ASSERT_FALSE(client);
    EXPECT_EQ(client.error().code, Code::kRefused);
    EXPECT_THAT(client.error().to_string(), ::testing::HasSubstr(row.reason));
  }
}

TEST_P(TlsForeignTest, IgnoresSessionTickets) {
  auto [server, client] = connect_to({.tickets = 2});
  ASSERT_TRUE(client) << client.error().to_string();
  EXPECT_TRUE(run(raw_->write("behind two tickets")));
  EXPECT_EQ(run(read_some(**client, 18)).value(), "behind two tickets");
}

TEST_P(TlsForeignTest, AnswersKeyUpdates) {
  auto [client, server] = accept({});
  ASSERT_TRUE(server) << server.error().to_string();
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(run(raw_->update_keys()));
    EXPECT_TRUE(run(raw_->write("under a new key")));
    EXPECT_EQ(run(read_some(**server, 15)).value(), "under a new key");
    EXPECT_TRUE(run(send(*loop_, **server, "likewise")));
    EXPECT_EQ(run(raw_->read()).value(), "likewise");
  }
}

Task<Result<void>> flood_with_updates(RawPeer& peer) {
  while (true) CO_TRY(co_await peer.update_keys());
}

Task<Result<Buffer>> read_and_leave(TlsStream& stream) {
  Result<Buffer> bytes = co_await stream.read();
  stream.abort();
  co_return bytes;
}

TEST_P(TlsForeignTest, CutsOffAFloodOfKeyUpdates) {
  auto [client, server] = accept({});
  ASSERT_TRUE(server) << server.error().to_string();
  auto [sent, got] = run(both(flood_with_updates(*raw_), read_and_leave(**server)));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Code::kLimit);
}

TEST_P(TlsForeignTest, RefusesWhatIsNoTls) {
  for (const std::string_view text :
       {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "SSH-2.0-OpenSSH_9.2p1\r\n", "\0\0\0\0\0\0\0\0",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"}) {
    auto [near, far] = testing::make_pair(*loop_, GetParam());
    auto [answer, server] =
        run(both(send_and_end(*loop_, *near, std::string(text) + std::string(64, ' ')),
                 accept_mesh(*loop_, std::move(far), context_)));
    ASSERT_FALSE(server) << text;
    EXPECT_EQ(server.error().code, Code::kRefused) << text;
    EXPECT_THAT(server.error().to_string(), ::testing::HasSubstr("TLS handshake failed: "));
  }
}

TEST_P(TlsForeignTest, TellsAPeerThatLeavesDuringTheHandshake) {
  auto [sent, server] = run(both(send_and_end(*loop_, *near_, "\x16\x03\x01"),
                                 accept_mesh(*loop_, std::move(far_), context_)));
  ASSERT_FALSE(server);
  EXPECT_EQ(server.error().code, Code::kClosed);
}

Task<Result<void>> start_and_abort(runtime::Loop& loop, runtime::ByteStream& stream) {
  CO_TRY(co_await send(loop, stream, "\x16\x03\x01"));
  stream.abort();
  co_return Result<void>();
}

TEST_P(TlsForeignTest, TellsAPeerThatBreaksOffDuringTheHandshake) {
  auto [sent, server] =
      run(both(start_and_abort(*loop_, *near_), accept_mesh(*loop_, std::move(far_), context_)));
  ASSERT_FALSE(server);
  EXPECT_EQ(server.error().code, Code::kReset);
  EXPECT_THAT(server.error().to_string(), ::testing::HasSubstr("TLS handshake"));
}

TEST_P(TlsForeignTest, AHandshakeCanBeAborted) {
  auto transport = std::make_shared<testing::SharedStream>(std::move(far_));
  loop_->schedule(std::chrono::milliseconds(1), [transport] { transport->abort(); });
  const StreamResult server =
      run(accept_mesh(*loop_, std::make_unique<testing::SharedStream>(transport), context_));
  ASSERT_FALSE(server);
  EXPECT_EQ(server.error().code, Code::kCancelled);
}

INSTANTIATE_TEST_SUITE_P(Over, TlsForeignTest, every_transport(), transport_name);

// The control plane's side of TLS.
class ControlTest : public TlsForeignTest {
 public:
  Result<Peer> connect_named(const std::string& roots, const testing::LeafOptions& proves,
                             const std::string& expected) {
    auto [near, far] = testing::make_pair(*loop_, GetParam());
    const testing::Issued server = authority_.issue_pem("", proves);
    raw_ = std::make_unique<RawPeer>(*loop_, std::move(far), &server, RawOptions{.server = true});
    auto [raw, client] = run(both(
        raw_->handshake(),
        connect_control(*loop_, std::move(near), Context::make_client(roots).value(), expected)));
    if (!client) return Fail(std::move(client.error()));
    return (*client)->peer();
  }
};

TEST_P(ControlTest, ProvesTheServersNameOrAddress) {
  const std::string& roots = authority_.root_pem();
  const testing::LeafOptions proves{.dns_names = {"control.weft.svc", "*.example.com"},
                                    .ip_addresses = {"10.1.2.3", "fd00::1"}};
  for (const std::string name :
       {"control.weft.svc", "CONTROL.weft.svc", "a.example.com", "10.1.2.3", "fd00::1"}) {
    const Result<Peer> peer = connect_named(roots, proves, name);
    ASSERT_TRUE(peer) << name << ": " << peer.error().to_string();
    EXPECT_FALSE(peer->identity);
    EXPECT_EQ(peer->alpn, "h2");
    const char* asked = SSL_get_servername(raw_->ssl(), TLSEXT_NAMETYPE_host_name);
    const bool is_address = name == "10.1.2.3" || name == "fd00::1";
    EXPECT_EQ(asked == nullptr ? "" : std::string(asked), is_address ? "" : name);
  }
}

TEST_P(ControlTest, RefusesAnotherName) {
  const std::string& roots = authority_.root_pem();
  const testing::LeafOptions proves{.dns_names = {"control.weft.svc", "*.example.com"},
                                    .ip_addresses = {"10.1.2.3"}};
  for (const std::string name :
       {"other.weft.svc", "weft.svc", "a.b.example.com", "example.com", "10.1.2.4"}) {
    const Result<Peer> peer = connect_named(roots, proves, name);
    ASSERT_FALSE(peer) << name;
    EXPECT_EQ(peer.error().code, Code::kRefused);
    EXPECT_THAT(peer.error().to_string(), ::testing::HasSubstr("(expected " + name + ")"));
    EXPECT_THAT(peer.error().to_string(), ::testing::HasSubstr("mismatch"));
  }
}

TEST_P(ControlTest, RefusesAnotherRootAndAnExpiredCertificate) {
  const testing::TestAuthority other("cluster.local");
  const std::string name = "control.weft.svc";
  const Result<Peer> stranger = connect_named(other.root_pem(), {.dns_names = {name}}, name);
  EXPECT_THAT(stranger.error().to_string(), ::testing::HasSubstr("local issuer certificate"));
  const Result<Peer> expired = connect_named(authority_.root_pem(),
                                             {.dns_names = {name},
                                              .valid_from = std::chrono::hours(-2),
                                              .valid_until = std::chrono::hours(-1)},
                                             name);
  EXPECT_THAT(expired.error().to_string(), ::testing::HasSubstr("has expired"));
}

TEST_P(ControlTest, RefusesToExpectNothing) {
  EXPECT_EQ(connect_named(authority_.root_pem(), {}, "").error().code, Code::kInvalid);
}

INSTANTIATE_TEST_SUITE_P(Over, ControlTest, every_transport(), transport_name);

// openssl(1) as a client over loopback TCP.
class OpensslTest : public ::testing::Test {
 public:
  void SetUp() override {
    if (std::system("openssl version >/dev/null 2>&1") != 0) GTEST_SKIP() << "no openssl(1)";
    std::filesystem::create_directory(folder_);
    const testing::Issued alice = authority_.issue_pem(kAlice);
    std::ofstream(folder_ + "/cert.pem") << alice.certificate_pem;
    std::ofstream(folder_ + "/key.pem") << alice.key_pem;
    std::ofstream(folder_ + "/root.pem") << authority_.root_pem();
    listener_ = runtime::listen_in(-1, SocketAddress::parse("127.0.0.1:0").value(), 1).value();
  }
  ~OpensslTest() override { std::filesystem::remove_all(folder_); }

  // What s_client printed, and what our server made of it.
  std::pair<std::string, std::string> s_client(const std::string& arguments) {
    const std::string address = runtime::local_address(listener_.get()).value().to_string();
    std::string output;
    std::thread client([&] {
      const std::string command = "cd " + folder_ +
                                  " && echo hello | timeout 20 openssl s_client " + "-connect " +
                                  address + " -CAfile root.pem -ign_eof " + arguments + " 2>&1";
      FILE* pipe = popen(command.c_str(), "r");
      char part[4096];
      size_t size = 0;
      while ((size = fread(part, 1, sizeof part, pipe)) > 0) output.append(part, size);
      pclose(pipe);
    });
    const std::string served = testing::run(*loop_, serve());
    client.join();
    return {output, served};
  }

 private:
  Task<std::string> serve() {
    Fd connection(co_await loop_->accept(listener_.get()));
    auto transport = std::make_unique<runtime::SocketStream>(*loop_, std::move(connection));
    StreamResult stream = co_await accept_mesh(*loop_, std::move(transport),
                                               Context::make(authority_.issue(kBob)).value());
    if (!stream) co_return "refused: " + stream.error().to_string();
    Result<std::string> text = co_await read_some(**stream, 6);
    if (!text) co_return "broken: " + text.error().to_string();
    const Result<void> answered = co_await send_and_end(*loop_, **stream, "good day\n");
    if (!answered) co_return "broken: " + answered.error().to_string();
    co_return (*stream)->peer().identity->to_string() + " said " + *text;
  }

  testing::TestAuthority authority_{"cluster.local"};
  std::string folder_ = ::testing::TempDir() + "weft-openssl-" + std::to_string(getpid());
  std::unique_ptr<runtime::Loop> loop_ = runtime::Loop::create(runtime::Backend::kEpoll).value();
  Fd listener_;
};

TEST_F(OpensslTest, IsServed) {
  const auto [output, served] = s_client("-alpn h2 -cert cert.pem -key key.pem");
  EXPECT_EQ(served, kAlice + " said hello\n");
  EXPECT_THAT(output, ::testing::HasSubstr("good day"));
  EXPECT_THAT(output, ::testing::HasSubstr("ALPN protocol: h2"));
  EXPECT_THAT(output, ::testing::HasSubstr("TLSv1.3, Cipher is TLS_AES_128_GCM_SHA256"));
  EXPECT_THAT(output, ::testing::HasSubstr("Verify return code: 0 (ok)"));
  EXPECT_THAT(output, ::testing::Not(::testing::HasSubstr("New Session Ticket")));
}

TEST_F(OpensslTest, IsRefusedWithTls12) {
  const auto [output, served] = s_client("-tls1_2 -alpn h2 -cert cert.pem -key key.pem");
  EXPECT_THAT(served, ::testing::HasSubstr("refused: TLS handshake failed: unsupported protocol"));
  EXPECT_THAT(output, ::testing::HasSubstr("alert protocol version"));
}

TEST_F(OpensslTest, IsRefusedWithoutACertificate) {
  const auto [output, served] = s_client("-alpn h2");
  EXPECT_THAT(served, ::testing::HasSubstr("peer did not return a certificate"));
  EXPECT_THAT(output, ::testing::HasSubstr("alert certificate required"));
}

TEST(ContextTest, RefusesRootsThatAreNone) {
  EXPECT_EQ(Context::make_client("").error().code, Code::kInvalid);
  EXPECT_EQ(Context::make_client("-----BEGIN CERTIFICATE-----\nAAAA\n").error().code,
            Code::kInvalid);
}

}  // namespace
}  // namespace weft::tls
