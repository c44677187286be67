#pragma once

#include "ztunnel/base/ip.h"
#include "ztunnel/base/result.h"
#include "ztunnel/base/spiffe_id.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

// The access log: one line for each connection, with exactly the keys of Istio ztunnel's and in
// their order (reference: ztunnel 1.19), so that what reads its log reads ours.

namespace weft::telemetry {

// One side of a connection. What is absent or empty is left out of the line.
struct AccessPeer {
  SocketAddress address;
  std::string workload;
  std::string ns;
  std::optional<SpiffeId> identity;  // only where mutual TLS proved it
  std::string cluster;
};

struct AccessRecord {
  enum class Direction { kInbound, kOutbound };

  AccessPeer source;
  AccessPeer destination;     // its address is where the connection went: port 15008 for HBONE
  std::string hbone_address;  // the CONNECT's :authority
  std::string destination_service;  // the host name
  Direction direction = Direction::kOutbound;
  // As the pod that the line is about sees it: outbound, the request is sent; inbound, it is
  // received. (ConnectionCounters always calls the request received.)
  uint64_t bytes_sent = 0;
  uint64_t bytes_received = 0;
  std::chrono::milliseconds duration{0};
  std::optional<Error> error;
};

// "connection complete" at level info, at level error with error="..." where there was one.
void log_connection_complete(const AccessRecord& record);
// "connection opened" at level debug: the same fields without bytes, duration and error.
void log_connection_opened(const AccessRecord& record);
// "connection failed" at level warn: refused before it was known who talks to whom.
void log_connection_failed(const SocketAddress& source, const SocketAddress& destination,
                           AccessRecord::Direction direction, const Error& error);

}  // namespace weft::telemetry
