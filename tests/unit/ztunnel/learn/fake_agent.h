#pragma once

#include "proto/zds.pb.h"
#include "ztunnel/base/fd.h"

#include <optional>
#include <string>
#include <vector>

namespace weft::learn::testing {

// A node agent for tests: the other side of ZDS, written with plain blocking calls on its own, so
// that it shares nothing with what it tests. A call gives up after 20 s (and, because it has a
// limit, may be interrupted by a signal of gRPC's: it goes on).
class FakeAgent {
 public:
  explicit FakeAgent(const std::string& path);  // listens

  void accept();  // and reads the hello into `hello`
  void disconnect() { connection_.reset(); }
  void send_bytes(const std::string& bytes, const std::vector<int>& fds = {});
  void send(const istio::workload::zds::WorkloadRequest& request, const std::vector<int>& fds = {});
  // The next response and the descriptor that came with it. Nothing: the peer has gone.
  struct Response {
    istio::workload::zds::WorkloadResponse message;
    Fd fd;
  };
  std::optional<Response> receive();
  // Waits for an acknowledgement, putting aside what is parked meanwhile; its error text.
  std::string receive_ack();

  // Adds a pod as our agent does.
  void add_pod(const std::string& uid, const std::string& name, const std::string& service_account,
               int netns, int inbound, int outbound);
  void snapshot_sent();

  istio::workload::zds::ZdsHello hello;
  Fd parked;  // the latest

 private:
  Fd listener_;
  Fd connection_;
};

// A TCP socket that listens on a loopback port of its own.
Fd listening_socket();
Fd own_netns();

}  // namespace weft::learn::testing
