#include "ztunnel/role/endpoints.h"

#include "ztunnel/base/log.h"
#include "ztunnel/role/config_dump.h"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

namespace weft::role {
namespace {

using runtime::Task;

constexpr int kBacklog = 128;

http::Response not_found() { return {.status = 404, .body = "not found\n"}; }

Task<http::Response> answer(http::Response response) { co_return response; }

Task<void> serve(runtime::Loop& loop, Fd connection, const http::Handler& handler) {
  auto stream = std::make_unique<runtime::SocketStream>(loop, std::move(connection));
  co_await http::serve_http1(loop, std::move(stream), handler);
}

}  // namespace

Endpoints::Endpoints(runtime::Loop& loop, const telemetry::Registry& metrics,
                     Admin::Sources sources)
    : loop_(loop), metrics_(metrics), learner_(sources.learner), admin_(loop, std::move(sources)) {
  const IpAddress any = IpAddress::v4(0);
  add({any, kMetricsPort}, [this](http::Request request) {
    if (request.path != "/metrics" && request.path != "/stats/prometheus") {
      return answer(not_found());
    }
    return answer({.content_type = std::string(telemetry::Registry::kContentType),
                   .body = metrics_.scrape()});
  });
  add({any, kReadinessPort}, [this](http::Request request) {
    if (request.path != "/healthz/ready") return answer(not_found());
    const std::vector<std::string> reasons = not_ready_because(learner_.status());
    if (reasons.empty()) return answer({.body = "ready\n"});
    std::string body;
    for (const std::string& reason : reasons) body += reason + "\n";
    return answer({.status = 500, .body = std::move(body)});
  });
  add({IpAddress::v4(INADDR_LOOPBACK), kAdminPort},
      [this](http::Request request) { return admin_.answer(std::move(request)); });
}

void Endpoints::add(const SocketAddress& address, http::Handler handler) {
  served_.push_back(std::make_unique<Served>(address, std::move(handler)));
}

Result<void> Endpoints::open(Served& served) {
  auto listener = runtime::listen_in(-1, served.address, kBacklog);
  if (!listener) {
    return Fail(std::move(listener.error())
                    .in("cannot listen on " + served.address.to_string() +
                        ": does another ztunnel run in this network namespace?"));
  }
  served.listener = std::move(*listener);
  served.acceptor = std::make_unique<runtime::Acceptor>(
      loop_, served.listener.get(), [this, &served](Fd connection) {
        return serve(loop_, std::move(connection), served.handler);
      });
  return {};
}

Task<Result<void>> Endpoints::listen(bool takeover) {
  const auto end = loop_.now() + kPortsWait;
  for (const auto& served : served_) {
    while (true) {
      const Result<void> opened = open(*served);
      const bool taken = !opened && opened.error().code == Code::kUnavailable;
      if (opened || (taken && takeover)) break;
      if (!taken || loop_.now() >= end) co_return opened;
      co_await loop_.sleep(kPortsTurn);
    }
  }
  co_return Result<void>{};
}

void Endpoints::run(Served& served) { tasks_.spawn(served.acceptor->run()); }

void Endpoints::start() {
  bool complete = true;
  for (const auto& served : served_) {
    if (served->listener) {
      run(*served);
    } else {
      complete = false;
    }
  }
  if (!complete) tasks_.spawn(take_over());
}

// Until the ztunnel before us lets go of its ports, however long that takes.
Task<void> Endpoints::take_over() {
  log::info("ztunnel").say("another ztunnel answers on our ports; they are taken when it ends");
  for (const auto& served : served_) {
    while (!stopped_ && !served->listener) {
      if (open(*served)) {
        run(*served);
      } else {
        co_await loop_.sleep(kPortsTurn);
      }
    }
  }
}

Task<void> Endpoints::stop() {
  stopped_ = true;
  for (const auto& served : served_) {
    if (served->acceptor) served->acceptor->stop();
  }
  co_await tasks_.join();
  for (const auto& served : served_) served->listener.reset();
}

std::vector<std::string> not_ready_because(const learn::LearnerStatus& status) {
  std::vector<std::string> reasons;
  if (status.has_agent && !status.agent_connected) {
    reasons.emplace_back("not connected to the node agent (ZDS)");
  }
  if (!status.configuration_complete) {
    reasons.push_back("no complete configuration from control (xDS) yet" +
                      (status.last_error.empty() ? "" : ": " + status.last_error));
  }
  // Whoever has one identity is of no use without its certificate.
  for (const auto& certificate : status.certificates) {
    if (status.has_agent || certificate.state == "available") continue;
    reasons.push_back("no certificate for " + certificate.identity.to_string() + ": " +
                      certificate.state);
  }
  return reasons;
}

std::string status_json(const learn::LearnerStatus& status) {
  google::protobuf::Struct root;
  auto& fields = *root.mutable_fields();
  fields["ready"].set_bool_value(not_ready_because(status).empty());
  fields["controlConnected"].set_bool_value(status.control_connected);
  fields["agentConnected"].set_bool_value(status.agent_connected);
  fields["configurationComplete"].set_bool_value(status.configuration_complete);
  fields["fromSnapshot"].set_bool_value(status.from_snapshot);
  fields["pods"].set_number_value(static_cast<double>(status.pods));
  fields["workloads"].set_number_value(static_cast<double>(status.workloads));
  fields["services"].set_number_value(static_cast<double>(status.services));
  fields["policies"].set_number_value(static_cast<double>(status.policies));
  fields["lastError"].set_string_value(status.last_error);
  fields["snapshotError"].set_string_value(status.snapshot_error);
  auto& certificates = *fields["certificates"].mutable_list_value();
  for (const auto& certificate : status.certificates) {
    auto& entry = *certificates.add_values()->mutable_struct_value()->mutable_fields();
    entry["identity"].set_string_value(certificate.identity.to_string());
    entry["serial"].set_string_value(certificate.serial);
    entry["notAfter"].set_string_value(rfc3339(certificate.not_after));
    entry["state"].set_string_value(certificate.state);
  }
  std::string json;
  const auto written = google::protobuf::util::MessageToJsonString(root, &json);
  return written.ok() ? json : "{}";
}

}  // namespace weft::role
