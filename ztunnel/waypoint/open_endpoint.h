#pragma once

#include "ztunnel/waypoint/worker_context.h"

#include <chrono>
#include <expected>
#include <memory>
#include <optional>

namespace weft::waypoint {

// Why an endpoint could not be reached.
struct Unreached {
  Error error;
  role::Flag flag = role::Flag::kConnect;
};

// A way to the application.
struct Reached {
  std::unique_ptr<runtime::ByteStream> stream;
  std::shared_ptr<const learn::Workload> workload;  // as whom it was reached
  SocketAddress address;                            // where it listens
  std::optional<SpiffeId> peer;                     // proven; none: plain text
};
using Opened = std::expected<Reached, Unreached>;

// Whom to connect to.
struct Wanted {
  std::shared_ptr<const learn::Workload> workload;
  // Its IP and the port that its application listens on. The IP is "::" where it is known by its
  // host name, which is then looked up.
  SocketAddress address;
  std::shared_ptr<const learn::Service> service;  // through which; null: none
  SocketAddress client;                           // a label of the CONNECT's; may be "::"
  std::chrono::milliseconds timeout{10'000};      // of a plain connection; a tunnel's is the pool's
};

// By HBONE with our own identity where the workload has it, else plain. What is known by its
// address alone and is a pod of the mesh is reached as that.
runtime::Task<Opened> open_endpoint(WorkerContext& context, Wanted wanted);

}  // namespace weft::waypoint
