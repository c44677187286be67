#include "agent/compile/l7/traffic.h"

#include "agent/compile/l7/durations.h"

#include <limits>

namespace weft::l7 {

namespace {

namespace net = crd::networking;
namespace wire = weft::route;

constexpr uint32_t kConsecutiveDefault = 5;
constexpr uint32_t kIntervalMs = 10'000;
constexpr uint32_t kEjectionMs = 30'000;
constexpr uint32_t kEjectionPercent = 10;
constexpr uint32_t kBudgetPercent = 20;
constexpr uint32_t kBudgetMinimum = 3;
constexpr uint32_t kForeverMs = std::numeric_limits<uint32_t>::max();

uint32_t count(int32_t value) { return value < 0 ? 0 : static_cast<uint32_t>(value); }

uint32_t ms_or(const std::string& text, uint32_t otherwise) {
  const uint32_t ms = to_ms(text);
  return ms == 0 ? otherwise : ms;
}

// "0s" is never; absent is the default, which is 0 on the wire.
uint32_t idle_ms(const std::string& text) { return text.empty() ? 0 : ms_or(text, kForeverMs); }

void fill_limits(const net::ConnectionPool& pool, wire::Limits& out) {
  const net::TcpPool& tcp = pool.tcp();
  const net::HttpPool& http = pool.http();
  out.set_connections(count(tcp.maxconnections()));
  out.set_connect_timeout_ms(to_ms(tcp.connecttimeout()));
  out.set_connection_duration_ms(to_ms(tcp.maxconnectionduration()));
  out.set_idle_timeout_ms(
      idle_ms(http.idletimeout().empty() ? tcp.idletimeout() : http.idletimeout()));
  out.set_pending_requests(count(http.http1maxpendingrequests()));
  out.set_requests(count(http.http2maxrequests()));
  out.set_retries(count(http.maxretries()));
  out.set_requests_per_connection(count(http.maxrequestsperconnection()));
  out.set_concurrent_streams(count(http.maxconcurrentstreams()));
  if (http.useclientprotocol()) {
    out.set_upgrade(wire::Limits::AS_CLIENT);
  } else if (http.h2upgradepolicy() == net::HttpPool::UPGRADE) {
    out.set_upgrade(wire::Limits::HTTP2);
  }
}

void fill_outlier(const net::OutlierDetection& outlier, wire::Outlier& out) {
  const uint32_t old = count(outlier.consecutiveerrors());
  const uint32_t fallback = old == 0 ? kConsecutiveDefault : old;
  out.set_consecutive_5xx(outlier.has_consecutive5xxerrors() ? outlier.consecutive5xxerrors()
                                                             : fallback);
  out.set_consecutive_gateway(outlier.consecutivegatewayerrors());
  out.set_split_local(outlier.splitexternallocaloriginerrors());
  if (out.split_local()) {
    out.set_consecutive_local(outlier.has_consecutivelocaloriginfailures()
                                  ? outlier.consecutivelocaloriginfailures()
                                  : kConsecutiveDefault);
  }
  out.set_interval_ms(ms_or(outlier.interval(), kIntervalMs));
  out.set_ejection_ms(ms_or(outlier.baseejectiontime(), kEjectionMs));
  const uint32_t percent = count(outlier.maxejectionpercent());
  out.set_ejection_percent_max(percent == 0 ? kEjectionPercent : percent);
  out.set_health_percent_min(count(outlier.minhealthpercent()));
}

// DISABLE and ISTIO_MUTUAL are what the waypoint does anyway: HBONE where the endpoint has it.
void fill_tls(const net::ClientTls& tls, const Backend& service, wire::Traffic& traffic) {
  if (tls.mode() != net::ClientTls::SIMPLE && tls.mode() != net::ClientTls::MUTUAL) return;
  wire::Tls& out = *traffic.mutable_tls();
  out.set_mode(tls.mode() == net::ClientTls::SIMPLE ? wire::Tls::SIMPLE : wire::Tls::MUTUAL);
  out.set_sni(tls.sni());
  *out.mutable_subject_alt_names() = tls.subjectaltnames();
  if (tls.subjectaltnames().empty() && service.entry != nullptr) {
    *out.mutable_subject_alt_names() = service.entry->spec().subjectaltnames();
  }
  out.set_insecure_skip_verify(tls.insecureskipverify());
  out.set_credential_name(tls.credentialname());
  if (!tls.credentialname().empty()) return;
  out.set_roots_file(tls.cacertificates());
  if (out.mode() != wire::Tls::MUTUAL) return;
  out.set_certificate_file(tls.clientcertificate());
  out.set_key_file(tls.privatekey());
}

}  // namespace

wire::Traffic compile_traffic(const Settings& settings, const Backend& service,
                              const compile::MeshConfig& config) {
  wire::Traffic traffic;
  fill_balancing(settings, config, *traffic.mutable_balancing());
  if (settings.pool != nullptr) fill_limits(*settings.pool, *traffic.mutable_limits());
  if (settings.budget != nullptr) {
    wire::Limits& limits = *traffic.mutable_limits();
    limits.set_retry_budget_percent(settings.budget->has_percent()
                                        ? static_cast<uint32_t>(settings.budget->percent())
                                        : kBudgetPercent);
    const uint32_t minimum = settings.budget->minretryconcurrency();
    limits.set_retry_budget_minimum(minimum == 0 ? kBudgetMinimum : minimum);
  }
  if (settings.outlier != nullptr) fill_outlier(*settings.outlier, *traffic.mutable_outlier());
  if (settings.tls != nullptr) fill_tls(*settings.tls, service, traffic);
  if (settings.proxy_protocol != nullptr) {
    traffic.set_proxy_protocol(settings.proxy_protocol->version() == net::ProxyProtocol::V1 ? 1
                                                                                            : 2);
  }
  return traffic;
}

}  // namespace weft::l7
