#pragma once

#include "ztunnel/telemetry/metrics.h"

namespace weft::node {

// What the DNS proxy counts, with Istio ztunnel's names (reference: ztunnel 1.18). Shared by the
// workers.
struct DnsMetrics {
  telemetry::Counter& requests;           // queries of pods
  telemetry::Counter& upstream_requests;  // of these, what a resolver was asked
  telemetry::Counter& upstream_failures;  // and gave no answer to
  telemetry::Histogram& upstream_duration;

  static DnsMetrics in(telemetry::Registry& registry) {
    return {registry.counter("istio_dns_requests_total", "DNS queries of pods."),
            registry.counter("istio_dns_upstream_requests_total",
                             "DNS queries that were forwarded to a resolver."),
            registry.counter("istio_dns_upstream_failures_total",
                             "Forwarded DNS queries that got no answer."),
            registry.histogram("istio_dns_upstream_request_duration_seconds",
                               "How long resolvers took to answer forwarded DNS queries.",
                               {"0.0005", "0.001", "0.01", "0.1", "1.0", "5.0"})};
  }
};

}  // namespace weft::node
