#pragma once

#include "ztunnel/hbone/server.h"
#include "ztunnel/role/report.h"
#include "ztunnel/waypoint/client.h"
#include "ztunnel/waypoint/worker_context.h"

#include <expected>
#include <memory>
#include <string>

namespace weft::waypoint {

// Why a CONNECT is answered with something else than 200.
struct ConnectRefusal {
  Error error;
  int status = 400;
  role::Flag flag = role::Flag::kConnect;
};

// Who asks for what, where this waypoint serves it. 400: it stands before other services; 503:
// control has not said what becomes of it. Pure.
std::expected<Client, ConnectRefusal> find_target(std::shared_ptr<const learn::State> state,
                                                  std::shared_ptr<const Config> config,
                                                  const Self& self, const SpiffeId& peer,
                                                  const std::string& authority);

// The same by what is known now or, where that refuses it, within some seconds.
runtime::Task<std::expected<Client, ConnectRefusal>> target_of(
    WorkerContext& context, const hbone::IncomingConnect& incoming);

}  // namespace weft::waypoint
