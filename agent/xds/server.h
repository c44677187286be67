#pragma once

#include "agent/compile/compiler.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace grpc {
class Service;
}

namespace weft::identity {
class Authenticator;
struct Caller;
}  // namespace weft::identity

namespace weft::xds {

// The delta ADS server of control: keeps the present resources and sends each subscriber what
// changed. Thread-safe; a subscriber that does not read costs a bounded queue of names, not of
// copies, and sees the latest state when it comes back.
class Server {
 public:
  // Which waypoint a caller that is no node proxy is, as "namespace/name"; none: no waypoint.
  // kUnavailable: it cannot be said yet. Called on any thread.
  using WaypointOf = std::function<Result<std::optional<std::string>>(const identity::Caller&)>;
  // Callers must show a token that `authenticator` accepts, in "authorization: Bearer ..": a node
  // proxy's, or a waypoint's. What they are told is the whole mesh's, and not for every pod to
  // read. What is one waypoint's ("<namespace>/<name>/..") only that waypoint is told.
  explicit Server(std::shared_ptr<const identity::Authenticator> authenticator,
                  WaypointOf waypoint_of = {});
  ~Server();

  // To be registered with a grpc::ServerBuilder; owned by this object.
  grpc::Service& service();
  // Adds, replaces and removes, in the order given; pushed at once.
  void update(std::vector<compile::Resource> changes);
  // Nothing is sent to anyone before this: the first complete set is in.
  void set_ready();
  // Ends every stream with UNAVAILABLE. Waits a moment for writes that are under way; a peer that
  // does not read is cut off after it.
  void shutdown();
  // Ends the streams of callers whose token has expired by `now` (UNAUTHENTICATED): they come back
  // with a fresh one, or not at all. One that does not read is cut off by the next call.
  void end_expired(std::chrono::system_clock::time_point now);

  struct Subscriber {
    std::string node;
    std::string peer;
    std::string version_acked;  // the last nonce that was acknowledged
    std::string last_nack;      // why a response was refused; empty: never
    uint64_t acks = 0;
    uint64_t nacks = 0;
    size_t queued = 0;  // names of resources that it has not been sent yet
  };
  std::vector<Subscriber> subscribers() const;
  // Of all streams, also those that have ended.
  struct Totals {
    uint64_t acks = 0;
    uint64_t nacks = 0;
    uint64_t pushes = 0;                      // responses sent
    std::map<std::string, size_t> resources;  // by type
  };
  Totals totals() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // shared with streams that are still ending
};

}  // namespace weft::xds
