#pragma once

#include "agent/control/mesh.h"
#include "agent/identity/ca.h"
#include "agent/identity/token.h"
#include "agent/xds/peer_limit.h"
#include "proto/ca.grpc.pb.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

namespace weft::control {

// Istio's CA protocol: a node proxy, proven by its token, gets certificates for the identities of
// the pods that its node runs, and for no others; any other workload gets its own. Runs on gRPC's
// threads and the authenticator's, which must have called back before this goes.
class CaService final : public istio::v1::auth::IstioCertificateService::CallbackService {
 public:
  // Who runs where: Mesh::placement.
  using PlacementOf = std::function<Placement(const std::string& node, const SpiffeId& identity)>;

  CaService(const identity::Authority& authority,
            std::shared_ptr<const identity::Authenticator> authenticator, PlacementOf placement_of)
      : authority_(authority),
        authenticator_(std::move(authenticator)),
        placement_of_(std::move(placement_of)) {}

  grpc::ServerUnaryReactor* CreateCertificate(
      grpc::CallbackServerContext* context, const istio::v1::auth::IstioCertificateRequest* request,
      istio::v1::auth::IstioCertificateResponse* response) override;

  uint64_t issued() const { return issued_; }
  uint64_t refused() const { return refused_; }

 private:
  struct Call {
    grpc::CallbackServerContext* context;
    const istio::v1::auth::IstioCertificateRequest* request;
    istio::v1::auth::IstioCertificateResponse* response;
    grpc::ServerUnaryReactor* reactor;
  };
  void finish(const Call& call, const Result<identity::Caller>& caller);
  grpc::Status authorize(const identity::Caller& caller, const SpiffeId& identity) const;
  grpc::Status create(const identity::Caller& caller,
                      const istio::v1::auth::IstioCertificateRequest& request,
                      istio::v1::auth::IstioCertificateResponse& response);

  const identity::Authority& authority_;
  const std::shared_ptr<const identity::Authenticator> authenticator_;
  const PlacementOf placement_of_;
  xds::PeerLimit unknown_callers_;
  std::atomic<uint64_t> issued_ = 0;
  std::atomic<uint64_t> refused_ = 0;
};

}  // namespace weft::control
