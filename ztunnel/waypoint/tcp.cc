#include "ztunnel/waypoint/tcp.h"

#include "ztunnel/role/pick.h"

#include <algorithm>
#include <array>

namespace weft::waypoint {
namespace {

using runtime::Task;

Task<Opened> try_workload(WorkerContext& context, const Client& client,
                          std::shared_ptr<const learn::Workload> workload, SocketAddress address,
                          role::Report& report) {
  report.destination(workload);
  report.record.destination.address = address;
  Opened opened = co_await open_endpoint(context, {.workload = std::move(workload),
                                                   .address = address,
                                                   .service = client.service,
                                                   .client = client.address});
  if (opened) {
    report.destination(opened->workload);
    report.record.destination.address = opened->address;
    report.record.destination.identity = opened->peer;
  }
  co_return opened;
}

bool matches_name(std::string_view pattern, std::string_view name) {
  if (pattern == "*" || pattern == name) return true;
  return pattern.starts_with("*.") && name.ends_with(pattern.substr(1));
}

bool matches(const weft::route::TcpRoute::Match& match, const IpAddress& destination,
             std::string_view hostname) {
  const auto covers = [&](const std::string& text) {
    const auto cidr = Cidr::parse(text);
    return cidr && cidr->contains(destination);
  };
  const auto names = [&](const std::string& sni) { return matches_name(sni, hostname); };
  return (match.destination_cidrs().empty() ||
          std::ranges::any_of(match.destination_cidrs(), covers)) &&
         (match.sni().empty() || std::ranges::any_of(match.sni(), names));
}

Result<void> check_traffic(Network& network, const weft::route::Destination& destination) {
  const weft::route::Traffic* const traffic = network.traffic(destination);
  return traffic == nullptr ? Result<void>{} : check_honoured(*traffic);
}

// Where routes send it: some of the destination's endpoints, in any order.
Task<Opened> open_destination(WorkerContext& context, Network& network, const Client& client,
                              const weft::route::Destination& destination, role::Report& report) {
  if (Result<void> checked = check_traffic(network, destination); !checked) {
    co_return std::unexpected(Unreached{std::move(checked.error()), role::Flag::kDenied});
  }
  std::vector<Host> hosts = network.endpoints(destination);
  if (hosts.empty()) {
    co_return std::unexpected(Unreached{
        Error(Code::kUnavailable,
              "no healthy upstream: " + destination.hostname() +
                  (destination.subset().empty() ? "" : ", subset " + destination.subset()) +
                  " has no ready endpoint for port " + std::to_string(destination.port()))});
  }
  std::ranges::shuffle(hosts, context.random);
  hosts.resize(std::min(hosts.size(), role::kAttemptsMax));
  Opened opened = std::unexpected(Unreached{Error(Code::kUnavailable, "nothing was tried")});
  for (const Host& host : hosts) {
    opened = co_await try_workload(context, client,
                                   std::static_pointer_cast<const learn::Workload>(host.workload),
                                   host.address, report);
    if (opened || opened.error().flag != role::Flag::kConnect) break;
  }
  co_return opened;
}

// Of the port that was asked for; null: it has none.
const std::vector<weft::route::TcpRoute>* routes_of(const Client& client) {
  if (!client.routes) return nullptr;
  const auto port = client.routes->ports.find(client.port);
  return port == client.routes->ports.end() || port->second.tcp.empty() ? nullptr
                                                                        : &port->second.tcp;
}

}  // namespace

const weft::route::TcpRoute* find_route(const std::vector<weft::route::TcpRoute>& routes,
                                        const IpAddress& destination, std::string_view hostname) {
  for (const weft::route::TcpRoute& route : routes) {
    const bool is_any = route.matches().empty();
    if (is_any || std::ranges::any_of(route.matches(), [&](const auto& match) {
          return matches(match, destination, hostname);
        })) {
      return &route;
    }
  }
  return nullptr;
}

const weft::route::Destination* choose(const weft::route::Forward& forward, uint64_t random) {
  uint64_t total = 0;
  for (const auto& one : forward.destinations()) total += one.weight();
  uint64_t left = total == 0 ? 0 : random % total;
  for (const auto& one : forward.destinations()) {
    if (left < one.weight()) return &one.destination();
    left -= one.weight();
  }
  return nullptr;
}

Task<Opened> open_tcp(WorkerContext& context, Network& network, const Client& client,
                      role::Report& report) {
  if (client.routes && !client.routes->refused.empty()) {
    co_return std::unexpected(
        Unreached{Error(Code::kRefused, client.routes->refused), role::Flag::kDenied});
  }
  if (client.target) {
    co_return co_await try_workload(context, client, client.target, client.original, report);
  }
  if (const auto* routes = routes_of(client)) {
    const auto* route = find_route(*routes, client.original.ip, client.service->hostname);
    const auto* destination =
        route == nullptr ? nullptr : choose(route->forward(), context.random());
    if (destination != nullptr && !destination->hostname().empty()) {
      co_return co_await open_destination(context, network, client, *destination, report);
    }
    co_return std::unexpected(
        Unreached{Error(Code::kUnavailable,
                        route == nullptr ? "no route of " + client.service->hostname + " matches"
                                         : "the route " + route->name() + " has no destination")});
  }
  weft::route::Destination straight;
  straight.set_namespace_(client.service->ns);
  straight.set_hostname(client.service->hostname);
  straight.set_port(client.port);
  if (Result<void> checked = check_traffic(network, straight); !checked) {
    co_return std::unexpected(Unreached{std::move(checked.error()), role::Flag::kDenied});
  }
  const auto own = context.own_workload();
  std::array<const learn::Workload*, role::kAttemptsMax> tried{};
  std::optional<Unreached> first;
  for (size_t attempt = 0; attempt < role::kAttemptsMax; ++attempt) {
    const role::Choice choice{.source = *own,
                              .client = client.address.ip,
                              .random = context.random(),
                              .tried = std::span(tried).first(attempt),
                              .memory = &context.endpoint_memory,
                              .now = context.loop.now()};
    const learn::Candidate* chosen =
        role::pick(*client.service, client.port, client.original.ip.is_v4(), choice);
    if (chosen == nullptr) {
      if (first) break;  // that one's reason says more
      co_return std::unexpected(Unreached{
          Error(Code::kUnavailable, role::why_no_endpoint(*client.service, client.port))});
    }
    tried[attempt] = chosen->workload;
    auto workload = client.state->workload_by_uid(chosen->workload->uid);
    Opened opened =
        co_await try_workload(context, client, std::move(workload), chosen->address, report);
    if (opened || opened.error().flag != role::Flag::kConnect) co_return opened;
    if (!first) first = std::move(opened.error());
  }
  co_return std::unexpected(std::move(*first));
}

}  // namespace weft::waypoint
