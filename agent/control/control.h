#pragma once

#include "agent/control/ca_service.h"
#include "agent/control/mesh.h"
#include "agent/control/options.h"
#include "agent/control/server_tls.h"
#include "agent/control/status.h"
#include "agent/identity/plugged_ca.h"
#include "agent/source/source.h"
#include "agent/xds/server.h"
#include "ztunnel/base/fd.h"
#include "ztunnel/http/http1_server.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/socket.h"
#include "ztunnel/runtime/sync.h"

#include <grpcpp/server.h>

#include <memory>
#include <set>
#include <string>

namespace weft::control {

// In the state folder: the roots that nodes trust control and each other by (PEM), always as they
// are now. `weft-ztunnel --control-roots` is to see it.
constexpr const char* kRootsFile = "roots.pem";

// The control role: objects -> compiler -> delta xDS, and the certificate authority.
//
// Threads: the loop (the main thread) reads objects, compiles and serves the admin socket; gRPC's
// own threads serve the nodes. They meet in Mesh, xds::Server and Authority, which are thread-safe.
class Control {
 public:
  // Opens everything: files, the source, the port, the admin socket. The error names what could not
  // be had. SIGTERM and SIGINT must be blocked before, so that gRPC's threads inherit that.
  static Result<std::unique_ptr<Control>> create(const Options& options);
  ~Control();

  // Serves until SIGTERM or SIGINT.
  void run();

 private:
  struct Parts;
  explicit Control(std::unique_ptr<Parts> parts);
  static Result<void> open_authority(Parts& parts);
  static Result<void> open_source(Parts& parts);

  runtime::Task<void> serve();
  runtime::Task<void> admit(Fd connection);
  runtime::Task<void> serve_admin(Fd connection);
  runtime::Task<http::Response> answer(http::Request request);
  void apply(const std::vector<source::Change>& changes);
  void write_statuses(const std::vector<source::Change>& changes);
  void renew_later();
  void look_around_later();
  void look_at_ca_files();
  Status status() const;

  std::unique_ptr<Parts> parts_;
  runtime::TaskScope tasks_;
  std::set<runtime::ByteStream*> admin_connections_;
  runtime::TimerId renewal_ = 0;
  runtime::TimerId look_ = 0;
};

// `weft-agent control`: the process's exit code.
int run_control(const std::vector<std::string>& args);

}  // namespace weft::control
