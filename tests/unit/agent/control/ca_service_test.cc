#include "agent/control/ca_service.h"

#include "agent/identity/certificate.h"
#include "tests/unit/agent/identity/csr_maker.h"
#include "tests/unit/agent/identity/temp_folder.h"
#include "ztunnel/base/log.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

namespace weft::control {
namespace {

using istio::v1::auth::IstioCertificateRequest;
using istio::v1::auth::IstioCertificateResponse;
using testing::HasSubstr;

const std::string kAlice = "spiffe://cluster.local/ns/shop/sa/alice";
const std::string kBob = "spiffe://cluster.local/ns/shop/sa/bob";

// "good-<node>" is a token of <node>'s proxy, "good-app" one of bob's own.
class FakeVerifier final : public identity::TokenVerifier {
 public:
  Result<identity::Caller> verify(std::string_view token) const override {
    if (!token.starts_with("good-")) return fail(Code::kRefused, "token: expired");
    const bool is_app = token == "good-app";
    return identity::Caller{.node = std::string(token.substr(5)),
                            .subject = is_app ? "system:serviceaccount:shop:bob"
                                              : "system:serviceaccount:weft-system:weft-ztunnel",
                            .expires = {},
                            .is_node_proxy = !is_app};
  }
};

// node-a runs alice, node-b runs bob.
class CreateCertificate : public testing::Test {
 protected:
  void SetUp() override {
    log::set_sink([](std::string_view) {});
    authority_ = *identity::Authority::open(folder_.path(), "cluster.local");
    service_ = std::make_unique<CaService>(
        *authority_, std::make_shared<FakeVerifier>(),
        [this](const std::string& node, const SpiffeId& identity) {
          if (!is_known_) return Placement::kNotKnownYet;
          const std::string at = identity.service_account == "alice" ? "node-a" : "node-b";
          return node == at ? Placement::kHere : Placement::kElsewhere;
        });
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(service_.get());
    grpc_ = builder.BuildAndStart();
    stub_ = istio::v1::auth::IstioCertificateService::NewStub(grpc::CreateChannel(
        "127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials()));
  }
  void TearDown() override {
    grpc_->Shutdown();
    log::set_sink(nullptr);
  }

  static IstioCertificateRequest request_for(const std::string& csr, const std::string& identity,
                                             int64_t seconds = 3600) {
    IstioCertificateRequest request;
    request.set_csr(csr);
    request.set_validity_duration(seconds);
    if (!identity.empty()) {
      (*request.mutable_metadata()->mutable_fields())["ImpersonatedIdentity"].set_string_value(
          identity);
    }
    return request;
  }
  grpc::Status call(const IstioCertificateRequest& request, const std::string& authorization) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    if (!authorization.empty()) context.AddMetadata("authorization", authorization);
    response_.Clear();
    return stub_->CreateCertificate(&context, request, &response_);
  }
  std::chrono::seconds lifetime() {
    const auto leaf = *identity::certificate_from_pem(response_.cert_chain(0));
    const auto begin = *identity::not_before_of(leaf.get()) + identity::Authority::kClockSkew;
    return std::chrono::duration_cast<std::chrono::seconds>(*identity::not_after_of(leaf.get()) -
                                                            begin);
  }

  TempFolder folder_;
  std::atomic<bool> is_known_ = true;
  std::unique_ptr<identity::Authority> authority_;
  std::unique_ptr<CaService> service_;
  std::unique_ptr<grpc::Server> grpc_;
  std::unique_ptr<istio::v1::auth::IstioCertificateService::Stub> stub_;
  IstioCertificateResponse response_;
};

TEST_F(CreateCertificate, GivesANodeItsPodsIdentities) {
  const auto status = call(request_for(identity::good_csr(kAlice), kAlice), "Bearer good-node-a");
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(response_.cert_chain_size(), 2);
  EXPECT_EQ(response_.cert_chain(1), authority_->roots_pem());
  EXPECT_EQ(lifetime(), std::chrono::hours(1));
  EXPECT_EQ(service_->issued(), 1U);
}

TEST_F(CreateCertificate, TakesTheSanWhereNoIdentityIsNamed) {
  EXPECT_TRUE(call(request_for(identity::good_csr(kAlice), ""), "Bearer good-node-a").ok());
  EXPECT_EQ(call(request_for(identity::good_csr(kBob), ""), "Bearer good-node-a").error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
}

TEST_F(CreateCertificate, NoDurationMeansADay) {
  ASSERT_TRUE(call(request_for(identity::good_csr(kAlice), kAlice, 0), "Bearer good-node-a").ok());
  EXPECT_EQ(lifetime(), std::chrono::hours(24));
}

TEST_F(CreateCertificate, LongDurationsAreCut) {
  const auto request =
      request_for(identity::good_csr(kAlice), kAlice, std::numeric_limits<int64_t>::max());
  ASSERT_TRUE(call(request, "Bearer good-node-a").ok());
  EXPECT_EQ(lifetime(), identity::Authority::kLeafLifetimeMax);
}

TEST_F(CreateCertificate, GivesAWorkloadItsOwnIdentityAndNoOther) {
  EXPECT_TRUE(call(request_for(identity::good_csr(kBob), kBob), "Bearer good-app").ok());
  EXPECT_TRUE(call(request_for(identity::good_csr(kBob), ""), "Bearer good-app").ok());
  const auto status = call(request_for(identity::good_csr(kAlice), kAlice), "Bearer good-app");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(status.error_message(), HasSubstr("system:serviceaccount:shop:bob is no node proxy"));
}

TEST_F(CreateCertificate, RefusesAnotherNodesIdentity) {
  const auto status = call(request_for(identity::good_csr(kBob), kBob), "Bearer good-node-a");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(status.error_message(),
            "node node-a does not run a pod with identity spiffe://cluster.local/ns/shop/sa/bob");
  EXPECT_EQ(response_.cert_chain_size(), 0);
  EXPECT_EQ(service_->refused(), 1U);
}

TEST_F(CreateCertificate, ANamedIdentityDoesNotHideAnotherSan) {
  const auto status = call(request_for(identity::good_csr(kBob), kAlice), "Bearer good-node-a");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("the request is for " + kBob));
}

TEST_F(CreateCertificate, RefusesWhoeverShowsNoGoodToken) {
  const auto request = request_for(identity::good_csr(kAlice), kAlice);
  for (const char* authorization : {"", "Bearer bad", "Basic good-node-a"}) {
    EXPECT_EQ(call(request, authorization).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  }
}

TEST_F(CreateCertificate, AsksToWaitUntilTheMeshIsKnown) {
  is_known_ = false;
  const auto request = request_for(identity::good_csr(kAlice), kAlice);
  EXPECT_EQ(call(request, "Bearer good-node-a").error_code(), grpc::StatusCode::UNAVAILABLE);
  is_known_ = true;
  EXPECT_TRUE(call(request, "Bearer good-node-a").ok());
}

TEST_F(CreateCertificate, RefusesWhatIsMalformed) {
  auto number = request_for(identity::good_csr(kAlice), "");
  (*number.mutable_metadata()->mutable_fields())["ImpersonatedIdentity"].set_number_value(1);
  const IstioCertificateRequest requests[] = {
      request_for("nonsense", kAlice),
      request_for("", ""),
      request_for(identity::good_csr(kAlice), "alice"),
      request_for(identity::good_csr(kAlice), "spiffe://cluster.local/ns/shop/sa/alice/x"),
      request_for(identity::good_csr(kAlice), kAlice, -1),
      number,
  };
  for (const auto& request : requests) {
    const auto status = call(request, "Bearer good-node-a");
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << request.DebugString();
    EXPECT_FALSE(status.error_message().empty());
  }
}

}  // namespace
}  // namespace weft::control
