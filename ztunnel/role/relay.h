#pragma once

#include "ztunnel/runtime/stream.h"
#include "ztunnel/telemetry/metrics.h"

#include <cstdint>
#include <optional>

namespace weft::role {

// How many bytes went each way; counted as they are handed over, so that a log line of a connection
// that broke is right, and a connection that stays for days shows in the metrics.
struct RelayBytes {
  uint64_t sent = 0;      // from `client` to `server`
  uint64_t received = 0;  // from `server` to `client`
  std::optional<telemetry::ConnectionCounters> counters;

  void add_sent(uint64_t bytes) {
    sent += bytes;
    if (counters) counters->received(bytes);  // Istio's metrics take the server's view
  }
  void add_received(uint64_t bytes) {
    received += bytes;
    if (counters) counters->sent(bytes);
  }
};

// Copies both ways until both sides have ended, and passes on half close and reset: when either
// stream breaks, both are aborted. In flight between them is one buffer for each direction
// (BufferPool::kBufferBytes) besides what each stream itself bounds, so a reader that stops, stops
// the writer. Returns what broke the connection; a reset by either peer is not an error of ours but
// is told.
runtime::Task<std::optional<Error>> relay(runtime::ByteStream& client, runtime::ByteStream& server,
                                          RelayBytes& bytes);

}  // namespace weft::role
