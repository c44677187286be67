#pragma once

#include "ztunnel/http/grpc_client.h"
#include "ztunnel/runtime/loop.h"

#include <memory>
#include <string>
#include <vector>

namespace weft::learn {

// Where gRPC channels to control come from; a seam for tests. One connect() at a time.
class ChannelSource {
 public:
  virtual ~ChannelSource() = default;
  virtual runtime::Task<Result<std::unique_ptr<http::GrpcChannel>>> connect() = 0;
  // What every call carries: the bearer token (read again each time) and the cluster's id.
  virtual Result<std::vector<http::Header>> metadata() = 0;
  // Breaks a connect() that is under way, and every later one.
  virtual void abort() = 0;
};

struct ControlTarget {
  std::string address;      // "ip:port"
  std::string server_name;  // what its certificate must prove
  std::string roots_file;   // PEM, read again at each connect
  std::string token_file;
  std::string cluster_id;
};

// HTTP/2 over TLS over TCP.
std::unique_ptr<ChannelSource> make_control_link(runtime::Loop& loop, ControlTarget target);

}  // namespace weft::learn
