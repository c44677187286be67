#pragma once

#include "proto/route.pb.h"
#include "ztunnel/base/ip.h"
#include "ztunnel/runtime/stream.h"
#include "ztunnel/waypoint/place.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace weft::waypoint {

// One place that serves a destination.
struct Host {
  SocketAddress address;
  std::string name;                      // "ip:port"
  std::shared_ptr<const void> workload;  // learn::Workload in the mesh; for who made it
  uint32_t weight = 1;
  Place place = {};
};

// Why traffic is refused that asks for what waypoints do not do yet: plain bytes would go where TLS
// was asked for. A value: nothing stands against it.
Result<void> check_honoured(const weft::route::Traffic& traffic);

// What the clusters stand on: who serves a destination, and how one is reached. In a waypoint the
// mesh's addresses and HBONE, in a bench a list and plain TCP.
class Network {
 public:
  virtual ~Network() = default;
  // Changes whenever endpoints() may answer otherwise than before.
  virtual uint64_t generation() const = 0;
  virtual std::vector<Host> endpoints(const weft::route::Destination& destination) = 0;
  // Where we run ourselves, for who prefers what is near.
  virtual const Place& own_place() const {
    static const Place kNowhere;
    return kNowhere;
  }
  // What the destination's port says that it speaks.
  virtual weft::route::Port::Protocol protocol(const weft::route::Destination& destination) = 0;
  // Null: the default. Good until generation() changes.
  virtual const weft::route::Traffic* traffic(const weft::route::Destination& destination) = 0;
  // The caller keeps `endpoint`.
  virtual runtime::Task<Result<std::unique_ptr<runtime::ByteStream>>> dial(
      const Host& endpoint, const weft::route::Traffic& traffic,
      std::chrono::milliseconds timeout) = 0;
};

}  // namespace weft::waypoint
