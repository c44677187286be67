#include "tests/unit/ztunnel/http/grpc/grpc_server.h"

#include "proto/ca.grpc.pb.h"
#include "proto/xds.grpc.pb.h"
#include "ztunnel/base/check.h"

#include <grpcpp/grpcpp.h>

namespace weft::testing {
namespace {

using envoy::service::discovery::v3::DeltaDiscoveryRequest;
using envoy::service::discovery::v3::DeltaDiscoveryResponse;
using grpc::ServerContext;
using grpc::Status;
using grpc::StatusCode;
using istio::v1::auth::IstioCertificateRequest;
using istio::v1::auth::IstioCertificateResponse;

class Ca final : public istio::v1::auth::IstioCertificateService::Service {
  Status CreateCertificate(ServerContext* context, const IstioCertificateRequest* request,
                           IstioCertificateResponse* response) override {
    const std::string& csr = request->csr();
    if (csr == "deny")
      return {StatusCode::PERMISSION_DENIED, "not \"you\", 100% sure \xe2\x82\xac"};
    if (csr == "later") return {StatusCode::UNAVAILABLE, ""};
    if (csr == "wait") {
      // As long as the client is there.
      while (!context->IsCancelled()) {
        gpr_sleep_until(
            gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(5, GPR_TIMESPAN)));
      }
      return Status::CANCELLED;
    }
    const auto range = context->client_metadata().equal_range("authorization");
    for (auto each = range.first; each != range.second; ++each) {
      response->add_cert_chain(std::string(each->second.data(), each->second.size()));
    }
    response->add_cert_chain(csr);
    return Status::OK;
  }
};

class Ads final : public envoy::service::discovery::v3::AggregatedDiscoveryService::Service {
  Status DeltaAggregatedResources(
      ServerContext*,
      grpc::ServerReaderWriter<DeltaDiscoveryResponse, DeltaDiscoveryRequest>* stream) override {
    DeltaDiscoveryRequest request;
    while (stream->Read(&request)) {
      if (request.type_url() == "end") return Status::OK;
      if (request.type_url() == "fail") return {StatusCode::RESOURCE_EXHAUSTED, "too much"};
      DeltaDiscoveryResponse response;
      response.set_type_url(request.type_url());
      response.set_nonce(request.response_nonce());
      if (request.type_url() == "big") {
        response.add_resources()->mutable_resource()->set_value(std::string(20U << 20, 'r'));
      }
      stream->Write(response);
    }
    return Status::OK;
  }
};

}  // namespace

struct GrpcServer::Impl {
  Ca ca;
  Ads ads;
  int port = 0;
  std::unique_ptr<grpc::Server> server;
};

GrpcServer::GrpcServer(const std::string& certificate_pem, const std::string& key_pem)
    : impl_(std::make_unique<Impl>()) {
  std::shared_ptr<grpc::ServerCredentials> credentials = grpc::InsecureServerCredentials();
  if (!certificate_pem.empty()) {
    grpc::SslServerCredentialsOptions options;
    options.pem_key_cert_pairs.push_back({key_pem, certificate_pem});
    credentials = grpc::SslServerCredentials(options);
  }
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", credentials, &impl_->port);
  builder.SetMaxReceiveMessageSize(-1);
  builder.RegisterService(&impl_->ca);
  builder.RegisterService(&impl_->ads);
  impl_->server = builder.BuildAndStart();
  CHECK(impl_->server != nullptr);
}

GrpcServer::~GrpcServer() { shut_down(); }

int GrpcServer::port() const { return impl_->port; }

void GrpcServer::shut_down() { impl_->server->Shutdown(std::chrono::system_clock::now()); }

}  // namespace weft::testing
