#include "ztunnel/waypoint/target.h"

#include "ztunnel/learn/names.h"

#include <algorithm>
#include <charconv>

namespace weft::waypoint {
namespace {

using runtime::Task;

constexpr int kBadRequest = 400;
constexpr int kUnavailable = 503;

// How long a connection waits for the first configuration, as in the node proxy.
constexpr std::chrono::seconds kConfigurationWait{5};
// A client's ztunnel may know sooner than we that a service is ours: control tells both at once.
constexpr std::chrono::seconds kNewsWait{2};
constexpr std::chrono::milliseconds kNewsTurn{20};

std::unexpected<ConnectRefusal> refuse(Code code, std::string why, int status) {
  return std::unexpected(ConnectRefusal{Error(code, std::move(why)), status});
}

bool is_ours(const learn::State& state, const std::vector<learn::Waypoint>& waypoints,
             const Self& self) {
  return std::ranges::any_of(waypoints, [&](const learn::Waypoint& waypoint) {
    if (!waypoint.address) return waypoint.service == self.service;
    const auto service = state.service_of(waypoint);
    return service != nullptr && service->ns + "/" + service->hostname == self.service;
  });
}

// What the authority means: a service or a workload. Neither: nothing that the mesh knows.
void resolve(const learn::State& state, Client& client) {
  const std::string& ns = client.identity.ns;
  if (auto address = SocketAddress::parse(client.authority)) {
    client.original = *address;
    client.port = address->port;
    client.service = state.service_by_address(address->ip, ns);
    if (!client.service) client.target = state.workload_by_ip(address->ip);
    return;
  }
  const size_t colon = client.authority.rfind(':');  // the server has checked its form
  const char* end = client.authority.data() + client.authority.size();
  std::from_chars(client.authority.data() + colon + 1, end, client.port);
  client.original.port = client.port;
  client.service = state.names().service(client.authority.substr(0, colon), ns);
}

// Fail closed: without a word of control nobody knows what is to be kept out.
bool find_routes(Client& client) {
  const auto found =
      client.config->services.find(client.service->ns + "/" + client.service->hostname);
  if (found == client.config->services.end()) return false;
  client.routes = found->second;
  const auto port = client.routes->ports.find(client.port);
  if (port != client.routes->ports.end()) client.protocol = port->second.protocol;
  return true;
}

}  // namespace

std::expected<Client, ConnectRefusal> find_target(std::shared_ptr<const learn::State> state,
                                                  std::shared_ptr<const Config> config,
                                                  const Self& self, const SpiffeId& peer,
                                                  const std::string& authority) {
  Client client;
  client.identity = peer;
  client.authority = authority;
  client.state = std::move(state);
  client.config = std::move(config);
  resolve(*client.state, client);
  if (!client.service && !client.target) {
    return refuse(Code::kNotFound, "nothing of the mesh is known by " + authority, kBadRequest);
  }
  const auto& waypoints = client.service ? client.service->waypoints : client.target->waypoints;
  // Endpoints trust our identity: whoever could name any destination would borrow it.
  if (!is_ours(*client.state, waypoints, self)) {
    return refuse(Code::kRefused,
                  (client.service ? client.service->hostname : client.target->name) +
                      " does not use the waypoint " + self.ns + "/" + self.gateway,
                  kBadRequest);
  }
  if (client.service && !find_routes(client)) {
    return refuse(Code::kUnavailable,
                  "control has not said what becomes of requests to " + client.service->hostname,
                  kUnavailable);
  }
  return client;
}

// Waits for news where what is known refuses it for want of them.
Task<std::expected<Client, ConnectRefusal>> target_of(WorkerContext& context,
                                                      const hbone::IncomingConnect& incoming) {
  auto state = co_await context.view.ready_state(kConfigurationWait);
  if (!state) co_return refuse(Code::kUnavailable, state.error().to_string(), kUnavailable);
  const auto until = context.loop.now() + kNewsWait;
  while (true) {
    if (context.config != nullptr) {
      auto found = find_target(context.view.state(), context.config, context.self, incoming.peer(),
                               incoming.request().authority);
      if (found || context.loop.now() >= until) co_return found;
    } else if (context.loop.now() >= until) {
      co_return refuse(Code::kUnavailable, "control has not sent the waypoint's routes yet",
                       kUnavailable);
    }
    co_await context.loop.sleep(kNewsTurn);
  }
}

}  // namespace weft::waypoint
