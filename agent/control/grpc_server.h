#pragma once

#include "ztunnel/base/ip.h"
#include "ztunnel/base/result.h"

#include <grpcpp/impl/service_type.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>

#include <chrono>
#include <memory>
#include <vector>

namespace weft::control {

// A running grpc++ server with the bounds that a control plane needs. Movable; ends with its owner.
class GrpcServer {
 public:
  GrpcServer() = default;  // of nothing
  GrpcServer(GrpcServer&&) = default;
  GrpcServer& operator=(GrpcServer&&) = default;
  ~GrpcServer();

  // The services must outlive it. Port 0: any. kUnavailable where the port is taken.
  static Result<GrpcServer> start(const SocketAddress& listen,
                                  const std::shared_ptr<grpc::ServerCredentials>& credentials,
                                  const std::vector<grpc::Service*>& services);
  const SocketAddress& address() const { return address_; }  // with the port in use
  // Ends calls that are not done after `grace`.
  void shutdown(std::chrono::milliseconds grace);

 private:
  std::unique_ptr<grpc::Server> server_;
  SocketAddress address_;
};

}  // namespace weft::control
