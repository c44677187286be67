// What control answers by HTTP: its admin socket, probes and metrics.

#include "agent/control/parts.h"

namespace weft::control {

using runtime::Task;

namespace {

// A GET of the one path that is known there; otherwise the answer that says so.
bool is_asked_for(const http::Request& request, const char* path, http::Response& response) {
  if (request.path != path) {
    response.status = 404;
    response.body = std::string("known is: ") + path + "\n";
  } else if (request.method != "GET" && request.method != "HEAD") {
    response.status = 405;
    response.body = "expected GET\n";
  } else {
    return true;
  }
  return false;
}

}  // namespace

bool Control::is_ready() const {
  return parts_->is_serving && parts_->mesh.is_known() && !parts_->is_ending;
}

Task<http::Response> Control::answer_admin(http::Request request) {
  http::Response response;
  if (is_asked_for(request, "/status", response)) {
    response.content_type = "application/json";
    response.body = to_json(status());
  }
  co_return response;
}

Task<http::Response> Control::answer_probe(http::Request request) {
  http::Response response;
  if (!is_asked_for(request, "/ready", response) || is_ready()) co_return response;
  response.status = 503;
  response.body = parts_->is_ending     ? "ending\n"
                  : !parts_->is_serving ? "waiting for the CA's Secret\n"
                                        : "waiting for the first complete set of objects\n";
  co_return response;
}

Task<http::Response> Control::answer_metrics(http::Request request) {
  http::Response response;
  if (is_asked_for(request, "/metrics", response)) {
    response.content_type = "text/plain; version=0.0.4; charset=utf-8";
    response.body = to_prometheus(status(), parts_->pushes);
  }
  co_return response;
}

Status Control::status() const {
  const Parts& parts = *parts_;
  Status status;
  status.trust_domain = parts.options.mesh.trust_domain;
  status.ready = is_ready();
  status.nodes = parts.xds->subscribers();
  status.totals = parts.xds->totals();
  status.notices = parts.mesh.notices();
  status.source_errors = parts.source_errors.count();
  const auto& latest = parts.source_errors.latest();
  status.latest_source_errors.assign(latest.begin(), latest.end());
  if (parts.cluster) status.cluster = parts.cluster->status();
  if (parts.is_serving) status.listen = parts.grpc.address().to_string();
  if (!parts.ca) return status;
  status.ca_not_after = parts.authority->not_after();
  status.certificates_issued = parts.ca->issued();
  status.certificates_refused = parts.ca->refused();
  return status;
}

}  // namespace weft::control
