#pragma once

#include "proto/xds.grpc.pb.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace weft::xds {

// A delta ADS client on grpc++, blocking. Every wait ends with the stream's deadline, so that a
// server that says nothing fails the test instead of hanging it.
class AdsClient {
 public:
  using Request = envoy::service::discovery::v3::DeltaDiscoveryRequest;
  using Response = envoy::service::discovery::v3::DeltaDiscoveryResponse;
  static constexpr std::chrono::seconds kPatience{30};

  AdsClient(const std::shared_ptr<grpc::Channel>& channel, const std::string& authorization)
      : stub_(envoy::service::discovery::v3::AggregatedDiscoveryService::NewStub(channel)) {
    context_.set_deadline(std::chrono::system_clock::now() + kPatience);
    if (!authorization.empty()) context_.AddMetadata("authorization", authorization);
    stream_ = stub_->DeltaAggregatedResources(&context_);
  }
  ~AdsClient() { context_.TryCancel(); }

  static std::string url(const std::string& type) { return "type.googleapis.com/" + type; }

  bool subscribe(const std::string& type, const std::vector<std::string>& names = {},
                 const std::map<std::string, std::string>& versions = {}) {
    Request request;
    request.set_type_url(url(type));
    for (const auto& name : names) request.add_resource_names_subscribe(name);
    request.mutable_initial_resource_versions()->insert(versions.begin(), versions.end());
    return stream_->Write(request);
  }
  bool unsubscribe(const std::string& type, const std::string& name) {
    Request request;
    request.set_type_url(url(type));
    request.add_resource_names_unsubscribe(name);
    return stream_->Write(request);
  }
  bool answer(const Response& response, const std::string& error = "") {
    Request request;
    request.set_type_url(response.type_url());
    request.set_response_nonce(response.nonce());
    if (!error.empty()) request.mutable_error_detail()->set_message(error);
    return stream_->Write(request);
  }
  // An empty type_url: the stream has ended.
  Response read() {
    Response response;
    if (!stream_->Read(&response)) response.Clear();
    return response;
  }
  // "type: +name@version -name", acknowledged; "ended" where the stream has.
  std::string accept() {
    const Response response = read();
    if (response.type_url().empty()) return "ended";
    answer(response);
    return say(response);
  }
  static std::string say(const Response& response) {
    std::string text = response.type_url().substr(response.type_url().rfind('.') + 1) + ":";
    for (const auto& one : response.resources()) text += " +" + one.name() + "@" + one.version();
    for (const auto& name : response.removed_resources()) text += " -" + name;
    return text;
  }
  bool half_close() { return stream_->WritesDone(); }
  // Reads to the end.
  grpc::Status finish() {
    Response ignored;
    while (stream_->Read(&ignored)) {
    }
    return stream_->Finish();
  }

 private:
  std::unique_ptr<envoy::service::discovery::v3::AggregatedDiscoveryService::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<Request, Response>> stream_;
};

}  // namespace weft::xds
