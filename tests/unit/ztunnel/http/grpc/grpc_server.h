#pragma once

#include <memory>
#include <string>

namespace weft::testing {

// A grpc++ server on loopback: another implementation of what our client speaks. Its CA answers by
// the CSR it is given, its ADS stream by the type_url of each request (see grpc_server.cc).
class GrpcServer {
 public:
  // Without a certificate: plain text.
  explicit GrpcServer(const std::string& certificate_pem = "", const std::string& key_pem = "");
  ~GrpcServer();
  int port() const;
  void shut_down();  // at once; open calls are cancelled

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace weft::testing
