#include "ztunnel/role/headers.h"

#include <cinttypes>
#include <cstdio>

namespace weft::role {

std::string baggage_of(const learn::Workload& workload) {
  std::string baggage;
  const auto add = [&baggage](std::string_view key, std::string_view value) {
    if (value.empty()) return;
    if (!baggage.empty()) baggage += ',';
    baggage += key;
    baggage += '=';
    baggage += value;
  };
  add("k8s.cluster.name", workload.cluster_id);
  add("k8s.namespace.name", workload.ns);
  add("k8s." + (workload.workload_type.empty() ? "pod" : workload.workload_type) + ".name",
      workload.workload_name);
  add("service.name", workload.canonical_name);
  add("service.version", workload.canonical_revision);
  add("cloud.region", workload.locality.region);
  add("cloud.availability_zone", workload.locality.zone);
  return baggage;
}

hbone::ConnectRequest connect_request(const learn::Workload& source, const SocketAddress& client,
                                      std::string authority, const learn::Service* service,
                                      std::mt19937_64& random) {
  hbone::ConnectRequest request;
  request.authority = std::move(authority);
  request.baggage = baggage_of(source);
  request.forwarded = "for=\"" + client.to_string() + "\"";
  if (service != nullptr) request.forwarded += ";host=" + service->hostname;
  char trace[64];
  std::snprintf(trace, sizeof trace, "00-%016" PRIx64 "%016" PRIx64 "-%016" PRIx64 "-00", random(),
                random(), random() | 1);
  request.traceparent = trace;
  return request;
}

}  // namespace weft::role
