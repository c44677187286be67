#pragma once

#include "ztunnel/base/fd.h"
#include "ztunnel/base/ip.h"
#include "ztunnel/http/http1_server.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/socket.h"
#include "ztunnel/runtime/sync.h"

#include <memory>
#include <set>

namespace weft::control {

// A listener that answers HTTP by one handler: the admin socket, probes, metrics. Belongs to one
// loop.
class Endpoint {
 public:
  // A person with curl, a kubelet, two Prometheus servers; more at once is a mistake.
  static constexpr size_t kConnectionsMax = 16;

  Endpoint(runtime::Loop& loop, Fd listener, http::Handler handler);
  ~Endpoint();  // run() must have ended

  // kUnavailable where the port is taken.
  static Result<std::unique_ptr<Endpoint>> listen(runtime::Loop& loop, const SocketAddress& address,
                                                  http::Handler handler);

  runtime::Task<void> run();  // until stop()
  void stop();

 private:
  runtime::Task<void> admit(Fd connection);
  runtime::Task<void> serve(Fd connection);

  runtime::Loop& loop_;
  const Fd listener_;
  const http::Handler handler_;
  runtime::Acceptor acceptor_;
  runtime::TaskScope tasks_;
  std::set<runtime::ByteStream*> connections_;
};

}  // namespace weft::control
