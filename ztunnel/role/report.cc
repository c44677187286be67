#include "ztunnel/role/report.h"

#include "ztunnel/hbone/headers.h"
#include "ztunnel/tls/revocation.h"

namespace weft::role {
namespace {

void fill_peer(telemetry::AccessPeer& peer, const learn::Workload& workload) {
  peer.workload = workload.name;
  peer.ns = workload.ns;
  peer.cluster = workload.cluster_id;
}

telemetry::WorkloadLabels labels_of(const learn::Workload* workload,
                                    const telemetry::AccessPeer& peer) {
  telemetry::WorkloadLabels labels;
  if (peer.identity) labels.principal = &*peer.identity;
  if (workload == nullptr) return labels;
  labels.known = true;
  labels.workload = workload->workload_name;
  labels.workload_namespace = workload->ns;
  labels.canonical_service = workload->canonical_name;
  labels.canonical_revision = workload->canonical_revision;
  labels.app = workload->canonical_name;
  labels.version = workload->canonical_revision;
  labels.cluster = workload->cluster_id;
  return labels;
}

// A peer that went away, or that we sent away, is how connections end; anything else is worth a
// word.
bool is_ordinary_end(Code code) {
  return code == Code::kReset || code == Code::kClosed || code == Code::kCancelled;
}

// That a peer was revoked counts as such, wherever it showed.
Flag flag_of(const Error& error, Flag flag) {
  return tls::is_about_revocation(error) ? Flag::kCertRevoked : flag;
}

}  // namespace

Flag flag_of(hbone::Flag flag) {
  switch (flag) {
    case hbone::Flag::kNone:
      return Flag::kNone;
    case hbone::Flag::kConnect:
      return Flag::kConnect;
    case hbone::Flag::kTlsFailure:
      return Flag::kTlsFailure;
    case hbone::Flag::kH2HandshakeFailure:
      return Flag::kH2HandshakeFailure;
    case hbone::Flag::kDeny:
      return Flag::kDenied;
    case hbone::Flag::kIdentity:
      return Flag::kIdentityError;
  }
  return Flag::kConnect;
}

Report::Report(Reporting to, Direction direction, const SocketAddress& client,
               const SocketAddress& destination)
    : to_(to), original_(destination), since_(to_.loop.now()) {
  record.direction = direction;
  record.source.address = client;
  record.destination.address = destination;
}

Report::~Report() {
  if (listed_) to_.open.erase(this);
  if (!finished_) failed(Error(Code::kCancelled, "connection abandoned"), Flag::kConnect);
}

void Report::source(std::shared_ptr<const learn::Workload> workload) {
  fill_peer(record.source, *workload);
  source_ = std::move(workload);
}

void Report::destination(std::shared_ptr<const learn::Workload> workload) {
  fill_peer(record.destination, *workload);
  destination_ = std::move(workload);
}

void Report::destination_service(const learn::Service& service) {
  record.destination_service = service.hostname;
  service_namespace_ = service.ns;
  service_name_ = service.name;
}

void Report::service_from_forwarded(std::string_view forwarded, const learn::State& state) {
  const std::string_view host = hbone::forwarded_host(forwarded);
  if (host.empty() || !destination_) return;
  for (const auto& [key, ports] : destination_->services) {
    const size_t slash = key.find('/');
    if (slash == std::string::npos || std::string_view(key).substr(slash + 1) != host) continue;
    if (auto service = state.service_by_key(key)) destination_service(*service);
    return;
  }
}

telemetry::ConnectionCounters Report::counters(Flag flag) {
  telemetry::ConnectionLabels labels;
  labels.reporter = reporter.value_or(record.direction == Direction::kOutbound
                                          ? telemetry::Reporter::kSource
                                          : telemetry::Reporter::kDestination);
  labels.source = labels_of(source_.get(), record.source);
  labels.destination = labels_of(destination_.get(), record.destination);
  labels.destination_service = record.destination_service;
  labels.destination_service_namespace = service_namespace_;
  labels.destination_service_name = service_name_;
  labels.flag = flag;
  labels.mutual_tls = mutual_tls;
  return to_.metrics.connection(labels);
}

void Report::opened() {
  telemetry::ConnectionCounters series = counters(Flag::kNone);
  series.opened();
  bytes.counters = series;
  to_.open.insert(this);
  listed_ = true;
  telemetry::log_connection_opened(record);
}

void Report::closed(const std::optional<Error>& broken) {
  const bool revoked = broken && tls::is_about_revocation(*broken);
  if (revoked) {
    telemetry::ConnectionCounters series = counters(Flag::kCertRevoked);
    series.failed();
    series.closed();
  } else if (bytes.counters) {
    bytes.counters->closed();
  }
  if (broken && (revoked || !is_ordinary_end(broken->code))) {
    finish(*broken);
  } else {
    finish(std::nullopt);
  }
}

void Report::failed(const Error& error, Flag flag) {
  count_failure(flag_of(error, flag));
  finish(error);
}

void Report::failed_early(const Error& error, Flag flag) {
  count_failure(flag_of(error, flag));
  finished_ = true;
  telemetry::log_connection_failed(record.source.address, original_, record.direction, error);
}

void Report::count_failure(Flag flag) {
  telemetry::ConnectionCounters series = counters(flag);
  series.opened();
  series.failed();
  series.closed();
}

void Report::finish(std::optional<Error> error) {
  finished_ = true;
  // The log says what this side sent towards where the connection goes: outbound the request,
  // inbound the response.
  const bool outbound = record.direction == Direction::kOutbound;
  record.bytes_sent = outbound ? bytes.sent : bytes.received;
  record.bytes_received = outbound ? bytes.received : bytes.sent;
  record.duration = std::chrono::duration_cast<std::chrono::milliseconds>(to_.loop.now() - since_);
  record.error = std::move(error);
  telemetry::log_connection_complete(record);
}

}  // namespace weft::role
