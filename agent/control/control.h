#pragma once

#include "agent/control/options.h"
#include "agent/control/status.h"
#include "agent/identity/ca.h"
#include "agent/source/source.h"
#include "ztunnel/http/http1_server.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/sync.h"

#include <memory>
#include <string>
#include <vector>

namespace weft::control {

// In the state folder: the roots that nodes trust control and each other by (PEM), always as they
// are now. `weft-ztunnel --control-roots` is to see it.
constexpr const char* kRootsFile = "roots.pem";

// The control role: objects -> compiler -> delta xDS, and the certificate authority.
//
// Threads: the loop (the main thread) reads objects, compiles, asks the API server and answers
// HTTP; gRPC's own threads serve the nodes. They meet in Mesh, xds::Server, Authority and the
// Authenticator, which are thread-safe.
class Control {
 public:
  // Opens everything that can be had at once: files, the source, the admin socket; with a folder
  // of objects the port, too (on a cluster that waits for the CA's Secret). The error names what
  // could not be had. SIGTERM and SIGINT must be blocked before, so that gRPC's threads inherit
  // that.
  static Result<std::unique_ptr<Control>> create(const Options& options);
  ~Control();

  // Serves until SIGTERM or SIGINT. False: it could not go on; the log says why.
  bool run();

 private:
  struct Parts;
  explicit Control(std::unique_ptr<Parts> parts);
  Result<void> open_folder();
  Result<void> open_plugged();
  Result<void> open_cluster();
  Result<void> open_endpoints();
  Result<void> open_service();
  Result<void> open_ca();
  Result<void> publish_roots();
  void take_authority(std::unique_ptr<identity::Authority> authority);
  void authority_changed(const std::string& where);

  runtime::Task<void> serve();
  runtime::Task<void> wait_for_end();
  runtime::Task<void> hand_over();
  void give_up(const Error& error);
  bool is_ready() const;
  runtime::Task<http::Response> answer_admin(http::Request request);
  runtime::Task<http::Response> answer_probe(http::Request request);
  runtime::Task<http::Response> answer_metrics(http::Request request);
  void apply(std::vector<source::Change> changes);
  void tell_namespaces();
  void write_statuses(const std::vector<source::Change>& changes);
  void renew_later();
  void look_around_later();
  void look_at_ca_files();
  Status status() const;

  std::unique_ptr<Parts> parts_;
  runtime::TaskScope tasks_;
  runtime::TimerId renewal_ = 0;
  runtime::TimerId look_ = 0;
};

// `weft-agent control`: the process's exit code.
int run_control(const std::vector<std::string>& args);

}  // namespace weft::control
