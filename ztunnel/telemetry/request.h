#pragma once

#include "ztunnel/base/ip.h"
#include "ztunnel/http/message.h"
#include "ztunnel/telemetry/metrics.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

namespace weft::telemetry {

// All that is reported of one HTTP request, once it is over: what metrics count, access logs print
// and expressions ask for. Views, good for the one call that gets it.
struct RequestFacts {
  const http::RequestHead* request = nullptr;    // never null; empty where it could not be read
  const http::ResponseHead* response = nullptr;  // null: none was sent
  const http::FieldList* trailers = nullptr;     // of the response; may be null

  int status = 0;                // that the client got; 0: none
  std::string_view flags = "-";  // Envoy's, with commas between
  std::string_view details;      // "via_upstream", "route_not_found", ..
  std::string_view upstream_failure;
  std::string_view termination_details;

  uint64_t request_bytes = 0;  // bodies alone
  uint64_t response_bytes = 0;
  uint64_t request_messages = 0;  // of gRPC
  uint64_t response_messages = 0;

  std::chrono::system_clock::time_point began{};
  std::chrono::nanoseconds duration{0};
  // Since it began; none: it never came to that.
  std::optional<std::chrono::nanoseconds> request_whole;
  std::optional<std::chrono::nanoseconds> upstream_asked;
  std::optional<std::chrono::nanoseconds> upstream_answered;
  std::optional<std::chrono::nanoseconds> response_began;

  std::string_view route_name;
  std::string_view upstream_cluster;
  std::string_view upstream_host;  // "ip:port"
  std::string_view server_name;
  SocketAddress upstream_local{};
  SocketAddress downstream_local{};
  SocketAddress downstream_remote{};
  bool mutual_tls = false;
  uint32_t tries = 0;

  WorkloadLabels source;
  WorkloadLabels destination;
  std::string_view destination_service;  // the host name
  std::string_view destination_service_namespace;
  std::string_view destination_service_name;

  bool is_grpc() const;
  // gRPC's status as its trailers, or a head that stands for them, have it; none: it is no gRPC
  // or said none.
  std::optional<int> grpc_status() const;
};

// "HTTP/1.1", as logs name a version.
std::string_view protocol_of(http::Version version);

}  // namespace weft::telemetry
