#include "agent/control/ca_service.h"

#include "agent/xds/bearer.h"
#include "ztunnel/base/log.h"

#include <grpcpp/grpcpp.h>

namespace weft::control {
namespace {

using istio::v1::auth::IstioCertificateRequest;
using istio::v1::auth::IstioCertificateResponse;

// ztunnel's default; what a request that names no duration gets.
constexpr std::chrono::hours kLifetimeDefault{24};
constexpr const char* kImpersonatedIdentity = "ImpersonatedIdentity";

grpc::Status invalid(const std::string& message) {
  return {grpc::StatusCode::INVALID_ARGUMENT, message};
}

// The identity that is asked for: the metadata names it, or else the request's own SAN does.
Result<SpiffeId> asked_identity(const IstioCertificateRequest& request) {
  const auto& fields = request.metadata().fields();
  const auto named = fields.find(kImpersonatedIdentity);
  if (named == fields.end()) return identity::identity_in_csr(request.csr());
  if (!named->second.has_string_value()) {
    return fail(Code::kInvalid, "expected a string as ImpersonatedIdentity");
  }
  return SpiffeId::parse(named->second.string_value());
}

grpc::Status status_of(const Error& error) {
  switch (error.code) {
    case Code::kInvalid:
      return invalid(error.to_string());
    case Code::kUnavailable:
      return {grpc::StatusCode::UNAVAILABLE, error.to_string()};
    default:
      return {grpc::StatusCode::INTERNAL, error.to_string()};
  }
}

}  // namespace

grpc::ServerUnaryReactor* CaService::CreateCertificate(grpc::CallbackServerContext* context,
                                                       const IstioCertificateRequest* request,
                                                       IstioCertificateResponse* response) {
  const Call call{context, request, response, context->DefaultReactor()};
  auto token = xds::bearer_of(context->client_metadata());
  if (!token) {
    finish(call, Fail(std::move(token.error())));
  } else if (!unknown_callers_.enter(context->peer())) {
    call.reactor->Finish({grpc::StatusCode::RESOURCE_EXHAUSTED, "too many requests at once"});
  } else {
    authenticator_->authenticate(std::move(*token), [this, call](Result<identity::Caller> caller) {
      unknown_callers_.leave(call.context->peer());
      finish(call, caller);
    });
  }
  return call.reactor;
}

void CaService::finish(const Call& call, const Result<identity::Caller>& caller) {
  const grpc::Status status =
      caller ? create(*caller, *call.request, *call.response) : xds::refusal_of(caller.error());
  if (!status.ok()) {
    ++refused_;
    log::warn("ca")
        .field("node", caller ? caller->node : "")
        .field("subject", caller ? caller->subject : "")
        .field("peer", call.context->peer())
        .field("reason", status.error_message())
        .say("a certificate was refused");
  }
  call.reactor->Finish(status);
}

// A node proxy may ask for what its node runs, whoever else only for itself.
grpc::Status CaService::authorize(const identity::Caller& caller, const SpiffeId& identity) const {
  if (!caller.is_node_proxy) {
    if (caller.subject == identity::subject_of(identity.ns, identity.service_account)) {
      return grpc::Status::OK;
    }
    return {grpc::StatusCode::PERMISSION_DENIED,
            caller.subject + " is no node proxy, so it may not ask for " + identity.to_string() +
                ": is its account in --trusted-node-accounts?"};
  }
  switch (placement_of_(caller.node, identity)) {
    case Placement::kNotKnownYet:
      return {grpc::StatusCode::UNAVAILABLE, "control does not know the mesh yet: ask again"};
    case Placement::kElsewhere:
      return {grpc::StatusCode::PERMISSION_DENIED,
              "node " + caller.node + " does not run a pod with identity " + identity.to_string()};
    case Placement::kHere:
      break;
  }
  return grpc::Status::OK;
}

grpc::Status CaService::create(const identity::Caller& caller,
                               const IstioCertificateRequest& request,
                               IstioCertificateResponse& response) {
  const auto identity = asked_identity(request);
  if (!identity) return invalid(identity.error().to_string());
  if (request.validity_duration() < 0) {
    return invalid("validity_duration: expected seconds, not less than 0");
  }
  if (grpc::Status status = authorize(caller, *identity); !status.ok()) return status;
  std::chrono::seconds lifetime(request.validity_duration());
  if (lifetime == std::chrono::seconds::zero()) lifetime = kLifetimeDefault;
  auto chain = authority_.sign(request.csr(), *identity, lifetime);
  if (!chain) return status_of(chain.error());
  for (auto& pem : *chain) response.add_cert_chain(std::move(pem));
  ++issued_;
  log::info("ca")
      .field("node", caller.node)
      .field("identity", identity->to_string())
      .say("certificate issued");
  return grpc::Status::OK;
}

}  // namespace weft::control
