#pragma once

#include "proto/ca.grpc.pb.h"
#include "proto/xds.grpc.pb.h"
#include "tests/support/test_authority.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace weft::learn::testing {

using DeltaRequest = envoy::service::discovery::v3::DeltaDiscoveryRequest;
using DeltaResponse = envoy::service::discovery::v3::DeltaDiscoveryResponse;

// A control plane for tests, on grpc++ with TLS: it says to each ADS stream what the test tells it
// to, and records what it is asked. A call that waits gives up after 20 s.
class FakeControl {
 public:
  FakeControl();
  ~FakeControl();

  void start();  // on `port`, chosen at the first start
  void stop();   // ends every stream and connection
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  const std::string& roots_pem() const { return authority_.root_pem(); }
  weft::testing::TestAuthority& authority() { return authority_; }

  // The next request of any stream, with its metadata. Nothing within 20 s: an empty one.
  struct Asked {
    DeltaRequest request;
    std::map<std::string, std::string> metadata;
    int stream = 0;  // 1, 2, ..
  };
  Asked next_request();
  // Sent on the present stream, or on the next one if there is none.
  void push(DeltaResponse response);

  struct Certificates {
    int calls = 0;
    std::map<std::string, std::string> metadata;  // of the latest call
    std::string identity;
    int64_t lifetime_s = 0;
  };
  Certificates certificates() const;
  // What CreateCertificate answers; unset: a good certificate.
  void refuse_certificates(std::optional<grpc::Status> status);
  void sign_for(std::chrono::seconds lifetime);

  // From here for the services.
  grpc::Status serve_stream(grpc::ServerContext& context,
                            grpc::ServerReaderWriter<DeltaResponse, DeltaRequest>& stream);
  grpc::Status create(grpc::ServerContext& context,
                      const istio::v1::auth::IstioCertificateRequest& request,
                      istio::v1::auth::IstioCertificateResponse& response);

 private:
  class Ads;
  class Ca;

  weft::testing::TestAuthority authority_{"cluster.local"};
  int port_ = 0;
  std::unique_ptr<Ads> ads_;
  std::unique_ptr<Ca> ca_;
  std::unique_ptr<grpc::Server> server_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Asked> asked_;
  std::deque<DeltaResponse> to_send_;
  int streams_ = 0;
  bool stopping_ = false;
  Certificates certificates_;
  std::optional<grpc::Status> refusal_;
  std::chrono::seconds sign_for_{3600};
};

}  // namespace weft::learn::testing
