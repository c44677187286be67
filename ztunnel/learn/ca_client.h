#pragma once

#include "ztunnel/base/spiffe_id.h"
#include "ztunnel/learn/control_link.h"
#include "ztunnel/runtime/sync.h"

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace weft::learn {

// Who signs certificates; a seam for tests.
class CertificateAuthority {
 public:
  virtual ~CertificateAuthority() = default;
  // The chain, leaf first, roots last. kRefused or kUnavailable with the CA's own words.
  virtual runtime::Task<Result<std::vector<std::string>>> create_certificate(
      std::string csr_pem, SpiffeId identity, std::chrono::seconds lifetime) = 0;
  // Breaks every call that is under way, and every later one.
  virtual void abort() = 0;
};

// istio.v1.auth.IstioCertificateService over gRPC. Calls that overlap share a connection, which is
// closed with the last of them: certificates are asked for in bursts, hours apart.
class CaClient final : public CertificateAuthority {
 public:
  CaClient(runtime::Loop& loop, ChannelSource& source) : loop_(loop), source_(source) {}

  runtime::Task<Result<std::vector<std::string>>> create_certificate(
      std::string csr_pem, SpiffeId identity, std::chrono::seconds lifetime) override;
  void abort() override;

 private:
  struct Connection {
    std::unique_ptr<http::GrpcChannel> channel;
    Error error{Code::kUnavailable, "not connected"};  // why there is no channel
    runtime::Event ready;
    size_t users = 0;
  };
  runtime::Task<std::shared_ptr<Connection>> acquire();
  runtime::Task<void> release(std::shared_ptr<Connection> connection);

  runtime::Loop& loop_;
  ChannelSource& source_;
  std::shared_ptr<Connection> current_;
  std::vector<http::GrpcChannel*> open_;  // what abort() breaks
  bool aborted_ = false;
};

}  // namespace weft::learn
