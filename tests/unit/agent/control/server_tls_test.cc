#include "agent/control/server_tls.h"

#include "agent/control/ca_service.h"
#include "agent/control/grpc_server.h"
#include "tests/unit/agent/identity/temp_folder.h"
#include "ztunnel/base/log.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

namespace weft::control {
namespace {

using testing::HasSubstr;

class NoTokens final : public identity::TokenVerifier {
 public:
  Result<identity::Caller> verify(std::string_view) const override {
    return fail(Code::kRefused, "token: wrong signature");
  }
};

class ControlTls : public testing::Test {
 protected:
  void SetUp() override {
    log::set_sink([](std::string_view) {});
    authority_ = *identity::Authority::open(folder_.path(), "cluster.local");
    service_ = std::make_unique<CaService>(
        *authority_, std::make_shared<NoTokens>(),
        [](const std::string&, const SpiffeId&) { return Placement::kElsewhere; });
    tls_ = *ServerTls::create(*authority_, {"control.weft", "127.0.0.1"}, folder_.path());
    auto server = GrpcServer::start(*SocketAddress::parse("127.0.0.1:0"),
                                    tls_->credentials(std::chrono::seconds(1)), {service_.get()});
    ASSERT_TRUE(server) << server.error().to_string();
    server_ = std::move(*server);
  }
  void TearDown() override { log::set_sink(nullptr); }

  // Serial number of the certificate that a new connection is shown; empty: no TLS.
  std::string serial_shown() {
    const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(
        SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
    BIO* bio = BIO_new_ssl_connect(context.get());
    const std::unique_ptr<BIO, decltype(&BIO_free_all)> owned(bio, BIO_free_all);
    SSL* ssl = nullptr;
    BIO_get_ssl(bio, &ssl);
    SSL_set_alpn_protos(ssl, reinterpret_cast<const unsigned char*>("\x02h2"), 3);
    BIO_set_conn_hostname(bio, server_.address().to_string().c_str());
    if (BIO_do_handshake(bio) != 1) return "";
    X509* leaf = SSL_get1_peer_certificate(ssl);
    char* text = i2s_ASN1_INTEGER(nullptr, X509_get_serialNumber(leaf));
    std::string serial(text);
    OPENSSL_free(text);
    X509_free(leaf);
    return serial;
  }
  grpc::Status call(const std::string& name, const std::string& roots) {
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = roots;
    grpc::ChannelArguments arguments;
    arguments.SetSslTargetNameOverride(name);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    const auto stub = istio::v1::auth::IstioCertificateService::NewStub(grpc::CreateCustomChannel(
        server_.address().to_string(), grpc::SslCredentials(options), arguments));
    grpc::ClientContext context;
    istio::v1::auth::IstioCertificateResponse response;
    return stub->CreateCertificate(&context, {}, &response);
  }

  TempFolder folder_;
  std::unique_ptr<identity::Authority> authority_;
  std::unique_ptr<CaService> service_;
  std::unique_ptr<ServerTls> tls_;
  GrpcServer server_;
};

TEST_F(ControlTls, ProvesItsNamesToWhoeverHasTheRoot) {
  for (const char* name : {"control.weft", "127.0.0.1"}) {
    EXPECT_EQ(call(name, authority_->roots_pem()).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  }
  EXPECT_EQ(call("other.weft", authority_->roots_pem()).error_code(),
            grpc::StatusCode::UNAVAILABLE);
  const TempFolder stranger;
  const auto other = *identity::Authority::open(stranger.path(), "cluster.local");
  EXPECT_EQ(call("control.weft", other->roots_pem()).error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(ControlTls, KeepsItsKeyToItself) {
  const auto mode = std::filesystem::status(folder_.file("server.pem")).permissions();
  EXPECT_EQ(static_cast<int>(mode), 0600);
}

TEST_F(ControlTls, ShowsTheRenewedCertificateWithoutARestart) {
  const std::string before = serial_shown();
  ASSERT_FALSE(before.empty());
  ASSERT_TRUE(tls_->renew());
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  std::string after = before;
  while (after == before && std::chrono::steady_clock::now() < patience) after = serial_shown();
  EXPECT_NE(after, before);
  EXPECT_NE(after, "");
  EXPECT_EQ(call("control.weft", authority_->roots_pem()).error_code(),
            grpc::StatusCode::UNAUTHENTICATED);
}

TEST_F(ControlTls, ATakenPortIsNamed) {
  const auto second = GrpcServer::start(server_.address(), tls_->credentials(), {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::kUnavailable);
  EXPECT_THAT(second.error().to_string(),
              HasSubstr("listening on " + server_.address().to_string() + ": Address already"));
}

}  // namespace
}  // namespace weft::control
