#pragma once

#include "ztunnel/waypoint/network.h"
#include "ztunnel/waypoint/worker_context.h"

#include <cstdint>
#include <string>
#include <vector>

namespace weft::waypoint {

// The mesh as one worker's clusters see it: endpoints are the workloads of a service that are
// ready, connections go by HBONE where the workload has it. A destination whose namespace is empty
// is a workload: its host name is the address.
class MeshNetwork final : public Network {
 public:
  explicit MeshNetwork(WorkerContext& context) : context_(context) {}

  // State or configuration is another one.
  void changed();

  uint64_t generation() const override { return generation_; }
  std::vector<Host> endpoints(const weft::route::Destination& destination) override;
  const Place& own_place() const override { return own_place_; }
  weft::route::Port::Protocol protocol(const weft::route::Destination& destination) override;
  const weft::route::Traffic* traffic(const weft::route::Destination& destination) override;
  runtime::Task<Result<std::unique_ptr<runtime::ByteStream>>> dial(
      const Host& endpoint, const weft::route::Traffic& traffic,
      std::chrono::milliseconds timeout) override;

 private:
  WorkerContext& context_;
  uint64_t generation_ = 1;
  Place own_place_;
};

// The part of a host's policy that a port and a subset (empty: none) have. Null: none of it.
const weft::route::Traffic* traffic_in(const weft::route::Policy& policy, uint32_t port,
                                       const std::string& subset);

}  // namespace weft::waypoint
