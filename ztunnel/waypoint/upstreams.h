#pragma once

#include "proto/route.pb.h"
#include "ztunnel/base/ip.h"
#include "ztunnel/base/spiffe_id.h"
#include "ztunnel/http/exchange.h"
#include "ztunnel/routing/hash_key.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/pooled.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// The seam between one request (proxy.h) and where it is sent. The proxy asks for a Try; a Try is
// one exchange with one endpoint, and tells how it went when it is let go.

namespace weft::waypoint {

// Envoy's response flags, as access logs and metrics have them.
enum class Flag : uint8_t {
  kNone,
  kNoRoute,             // NR
  kNoHealthyUpstream,   // UH
  kUpstreamFailure,     // UF: could not connect
  kUpstreamOverflow,    // UO: a limit of the destination
  kRetryLimit,          // URX
  kUpstreamTimeout,     // UT
  kUpstreamReset,       // UR
  kUpstreamConnection,  // UC: the connection ended
  kUpstreamProtocol,    // UPE
  kDownstreamGone,      // DC
  kDownstreamProtocol,  // DPE
  kDelayInjected,       // DI
  kFaultInjected,       // FI
  kNoCluster,           // NC: a destination without a host
  kRefused,             // UAEX
};

std::string_view to_string(Flag flag);  // Envoy's letters; "-": none

struct Failure {
  Error error;
  Flag flag = Flag::kUpstreamFailure;
  bool overflow = false;  // x-envoy-overloaded
};

// What a consistent hash is made of. The key is made when a policy first asks for one, and is the
// same for all tries.
struct Affinity {
  const http::RequestHead& request;
  IpAddress client;
  std::optional<routing::HashKey> key;
  uint64_t dice = 0;  // of a new cookie's value
};

// Who waits for a connection, and may stop waiting.
struct Waiter {
  bool abandoned = false;
  std::move_only_function<void()> on_abandoned;  // of whoever lets it wait
  void abandon() {
    abandoned = true;
    if (on_abandoned) on_abandoned();
  }
};

// What balancing may look at.
struct Chooser {
  Affinity* affinity = nullptr;                     // null: there is nothing to hash
  const std::vector<std::string>* avoid = nullptr;  // endpoints that were tried: "ip:port"
  bool other_localities = false;                    // avoid theirs, too
  bool upgrade = false;  // a WebSocket: HTTP/1.1 is all that every server knows it in
  std::shared_ptr<Waiter> waiter = {};  // null: waits as long as it takes
  std::string_view original = {};       // PASSTHROUGH: where the client wanted to go, "ip:port"
};

class Try : public runtime::Pooled {
 public:
  virtual ~Try() =
      default;  // gives the connection back, or ends it where the exchange is not whole
  virtual http::ClientExchange& exchange() = 0;
  virtual const std::string& endpoint() const = 0;  // "ip:port"
  virtual bool is_reused() const = 0;  // of a connection that served before: it may have just ended
  // How it went, for ejection: a status, or 0 where no answer came.
  virtual void answered(int status) = 0;
};

// One worker's clusters.
class Upstreams {
 public:
  virtual ~Upstreams() = default;
  // An endpoint is chosen, a connection taken or made (HBONE where the endpoint has it, with the
  // waypoint's identity), limits are counted. Waits at most for connect_timeout. The caller keeps
  // `destination` until then.
  virtual runtime::Task<std::expected<std::unique_ptr<Try>, Failure>> begin(
      const weft::route::Destination& destination, http::Version client_version,
      Chooser chooser) = 0;
  // The policy that begin() will follow, for what the proxy itself must know (what to hash on, how
  // many retries). Never null; good until the next turn of the loop.
  virtual const weft::route::Traffic& traffic_of(const weft::route::Destination& destination) = 0;
  // Whether one more retry may run now; each that does is given back.
  virtual bool take_retry(const weft::route::Destination& destination) = 0;
  virtual void give_retry(const weft::route::Destination& destination) = 0;
};

}  // namespace weft::waypoint
