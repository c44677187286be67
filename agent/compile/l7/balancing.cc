#include "agent/compile/l7/durations.h"
#include "agent/compile/l7/traffic.h"

namespace weft::l7 {

namespace {

namespace net = crd::networking;
using weft::route::Balancing;

constexpr uint64_t kRingSizeDefault = 1024;
constexpr uint64_t kMaglevSizeDefault = 65'537;
constexpr uint32_t kWarmupPercentDefault = 10;

Balancing::Algorithm algorithm_of(net::LoadBalancer::Simple simple) {
  switch (simple) {
    case net::LoadBalancer::RANDOM:
      return Balancing::RANDOM;
    case net::LoadBalancer::PASSTHROUGH:
      return Balancing::PASSTHROUGH;
    case net::LoadBalancer::ROUND_ROBIN:
      return Balancing::ROUND_ROBIN;
    default:
      return Balancing::LEAST_REQUEST;
  }
}

void fill_cookie(const net::HttpCookie& cookie, Balancing::Cookie& out) {
  out.set_name(cookie.name());
  out.set_path(cookie.path());
  if (!cookie.ttl().empty()) out.set_ttl_s(to_ms(cookie.ttl()) / 1000);
  for (const auto& attribute : cookie.attributes()) {
    out.add_attributes(attribute.value().empty() ? attribute.name()
                                                 : attribute.name() + "=" + attribute.value());
  }
}

void fill_hash(const net::ConsistentHash& hash, Balancing& out) {
  if (hash.algorithm_case() == net::ConsistentHash::kMaglev) {
    out.set_algorithm(Balancing::MAGLEV);
    const uint64_t size = hash.maglev().tablesize();
    out.set_table_size(size == 0 ? kMaglevSizeDefault : size);
  } else {
    out.set_algorithm(Balancing::RING_HASH);
    const uint64_t size = hash.algorithm_case() == net::ConsistentHash::kRingHash
                              ? hash.ringhash().minimumringsize()
                              : hash.minimumringsize();
    out.set_table_size(size == 0 ? kRingSizeDefault : size);
  }
  switch (hash.key_case()) {
    case net::ConsistentHash::kHttpHeaderName:
      out.mutable_hash_on()->set_header(hash.httpheadername());
      break;
    case net::ConsistentHash::kHttpCookie:
      fill_cookie(hash.httpcookie(), *out.mutable_hash_on()->mutable_cookie());
      break;
    case net::ConsistentHash::kUseSourceIp:
      out.mutable_hash_on()->set_source_ip(hash.usesourceip());
      break;
    case net::ConsistentHash::kHttpQueryParameterName:
      out.mutable_hash_on()->set_query(hash.httpqueryparametername());
      break;
    case net::ConsistentHash::KEY_NOT_SET:
      break;
  }
}

void fill_warmup(const net::LoadBalancer& balancer, Balancing& out) {
  const bool can =
      out.algorithm() == Balancing::LEAST_REQUEST || out.algorithm() == Balancing::ROUND_ROBIN;
  const net::Warmup& warmup = balancer.warmup();
  const uint32_t ms =
      to_ms(balancer.has_warmup() ? warmup.duration() : balancer.warmupdurationsecs());
  if (!can || ms == 0) return;
  out.mutable_warmup()->set_duration_ms(ms);
  out.mutable_warmup()->set_minimum_percent(warmup.has_minimumpercent()
                                                ? static_cast<uint32_t>(warmup.minimumpercent())
                                                : kWarmupPercentDefault);
  out.mutable_warmup()->set_aggression(warmup.has_aggression() ? warmup.aggression() : 1.0);
}

// A service's own setting replaces the mesh's. Failing over needs somebody who says which
// endpoints fail: without ejection only `distribute` does anything.
void fill_locality(const net::LocalitySetting* setting, bool ejects, Balancing& out) {
  if (setting != nullptr && setting->has_enabled() && !setting->enabled()) return;
  const bool distributes = setting != nullptr && !setting->distribute().empty();
  if (!ejects && !distributes) return;
  auto& locality = *out.mutable_locality();
  locality.set_enabled(true);
  if (setting == nullptr) return;
  for (const auto& one : setting->distribute()) {
    auto& made = *locality.add_distribute();
    made.set_from(one.from());
    for (const auto& [to, weight] : one.to()) (*made.mutable_to())[to] = weight;
  }
  for (const auto& one : setting->failover()) {
    auto& made = *locality.add_failover();
    made.set_from(one.from());
    made.set_to(one.to());
  }
  *locality.mutable_failover_priority() = setting->failoverpriority();
}

}  // namespace

void fill_balancing(const Settings& settings, const compile::MeshConfig& config, Balancing& out) {
  const net::LocalitySetting* locality = nullptr;
  if (config.written != nullptr && config.written->has_localitylbsetting()) {
    locality = &config.written->localitylbsetting();
  }
  if (settings.balancer != nullptr) {
    const net::LoadBalancer& balancer = *settings.balancer;
    if (balancer.has_consistenthash()) {
      fill_hash(balancer.consistenthash(), out);
    } else {
      out.set_algorithm(algorithm_of(balancer.simple()));
    }
    fill_warmup(balancer, out);
    if (balancer.has_localitylbsetting()) locality = &balancer.localitylbsetting();
  }
  fill_locality(locality, settings.outlier != nullptr, out);
}

}  // namespace weft::l7
