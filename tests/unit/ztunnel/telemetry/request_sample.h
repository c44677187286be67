#pragma once

#include "ztunnel/telemetry/request.h"

#include <string_view>

namespace weft::telemetry {

// A request of reviews to ratings, as a waypoint reports it.
struct SampleRequest {
  SampleRequest() {
    head.method = "GET";
    head.scheme = "http";
    head.authority = "ratings:9080";
    head.path = "/ratings/1?full=yes";
    head.fields.add("user-agent", "curl/8");
    head.fields.add("x-request-id", "7a1c");
    head.fields.add("x-team", "blue");
    answer.status = 200;
    answer.fields.add("x-envoy-upstream-service-time", "3");
    answer.fields.add("content-type", "application/json");
    facts.request = &head;
    facts.response = &answer;
    facts.status = 200;
    facts.details = "via_upstream";
    facts.request_bytes = 12;
    facts.response_bytes = 345;
    // 2026-01-02T03:04:05.678Z
    facts.began = std::chrono::system_clock::time_point(std::chrono::milliseconds(1767323045678));
    facts.duration = std::chrono::microseconds(4200);
    facts.request_whole = std::chrono::milliseconds(1);
    facts.upstream_answered = std::chrono::milliseconds(3);
    facts.route_name = "ratings.rule-0";
    facts.upstream_cluster = "shop/ratings.shop.svc.cluster.local:9080";
    facts.upstream_host = "10.0.3.7:9080";
    facts.upstream_local = *SocketAddress::parse("10.0.3.1:40000");
    facts.downstream_local = *SocketAddress::parse("10.96.0.7:9080");
    facts.downstream_remote = *SocketAddress::parse("10.0.2.5:51000");
    facts.mutual_tls = true;
    facts.tries = 1;
    facts.source.known = facts.destination.known = true;
    facts.source.workload = "reviews-v1";
    facts.source.workload_namespace = facts.destination.workload_namespace = "shop";
    facts.source.canonical_service = facts.source.app = "reviews";
    facts.source.canonical_revision = facts.source.version = "v1";
    facts.source.cluster = facts.destination.cluster = "Kubernetes";
    facts.source.principal = &caller;
    facts.destination.workload = "ratings-v1";
    facts.destination.canonical_service = facts.destination.app = "ratings";
    facts.destination_service = "ratings.shop.svc.cluster.local";
    facts.destination_service_namespace = "shop";
    facts.destination_service_name = "ratings";
  }

  SpiffeId caller{"cluster.local", "shop", "reviews"};
  http::RequestHead head;
  http::ResponseHead answer;
  RequestFacts facts;
};

}  // namespace weft::telemetry
