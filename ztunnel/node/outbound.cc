// A connection that a process of the pod makes, captured on its way out. In phases, each of which
// either hands the next one what it needs or ends with the report that the log and metrics get:
//   who asks -> where it goes (route.h) -> how to get there (same node, HBONE, plain) -> copy.

#include "ztunnel/node/outbound.h"

#include "ztunnel/dns/message.h"
#include "ztunnel/node/dns_stream.h"
#include "ztunnel/node/pod_proxy.h"
#include "ztunnel/node/redirect.h"
#include "ztunnel/node/route.h"
#include "ztunnel/node/same_node.h"
#include "ztunnel/role/headers.h"
#include "ztunnel/role/relay.h"

#include <algorithm>
#include <array>
#include <optional>

namespace weft::node {
namespace {

using runtime::ByteStream;
using runtime::Task;

// What a phase that fails leaves for the report.
struct Refusal {
  Error error;
  Flag flag = Flag::kNone;
  bool early = false;  // before it was known where the connection goes
};

using Upstream = std::expected<std::unique_ptr<ByteStream>, Refusal>;

std::unexpected<Refusal> refuse(Error error, Flag flag) {
  return std::unexpected(Refusal{std::move(error), flag});
}

std::unexpected<Refusal> refuse_early(Error error) {
  return std::unexpected(Refusal{std::move(error), Flag::kConnect, true});
}

Task<Upstream> open_plain(PodProxy& proxy, SocketAddress to) {
  auto stream = co_await proxy.dial_from_pod(to);
  if (!stream) co_return refuse(std::move(stream.error()), Flag::kConnect);
  co_return std::unique_ptr<ByteStream>(std::move(*stream));
}

// One hop by HBONE: to whom, and what he is asked for.
struct Hop {
  SocketAddress address;        // the peer's
  std::vector<SpiffeId> peers;  // any of these may answer
  std::string authority;
};

Hop hop_to(const Route& route, const ToWorkload& to) {
  Hop hop{{to.address.ip, hbone::kHbonePort}, {to.workload->identity}, to.address.to_string()};
  if (route.service) {
    const auto& names = route.service->subject_alt_names;
    hop.peers.insert(hop.peers.end(), names.begin(), names.end());
  }
  return hop;
}

Hop hop_to(const ToWaypoint& to) {
  Hop hop{to.address, {to.workload->identity}, to.authority};
  hop.peers.insert(hop.peers.end(), to.names.begin(), to.names.end());
  return hop;
}

Task<Upstream> open_tunnel(PodProxy& proxy, const learn::Workload& source, const Route& route,
                           Hop hop, SocketAddress client, Report& report) {
  WorkerContext& context = proxy.context();
  auto tls = co_await context.view.context_for(source.identity, kIdentityWait);
  if (!tls) {
    co_return refuse(std::move(tls.error()).in("no certificate for " + source.identity.to_string()),
                     Flag::kIdentityError);
  }
  hbone::TunnelKey key{source.identity, std::move(hop.peers), hop.address};
  report.record.destination.address = key.address;
  report.record.hbone_address = hop.authority;
  hbone::ConnectRequest request = role::connect_request(source, client, std::move(hop.authority),
                                                        route.service.get(), context.random);
  auto tunnelled = co_await proxy.pool().open(std::move(key), std::move(*tls), std::move(request));
  if (!tunnelled) {
    co_return refuse(std::move(tunnelled.error().error), role::flag_of(tunnelled.error().flag));
  }
  report.record.destination.identity = tunnelled->peer;
  report.mutual_tls = true;
  co_return std::move(tunnelled->stream);
}

// The client as a destination of the other family sees it: by the pod's address of that family, as
// if it had come from another node.
SocketAddress client_towards(const learn::Workload& source, SocketAddress client,
                             const IpAddress& to) {
  if (client.ip.is_v4() == to.is_v4()) return client;
  for (const IpAddress& own : source.addresses) {
    if (own.is_v4() == to.is_v4()) return {own, 0};
  }
  return client;
}

// Opens the way to one chosen workload; fills in what the report says about it.
Task<Upstream> open_workload(PodProxy& proxy, std::shared_ptr<const learn::Workload> source,
                             SocketAddress client, const Route& route, const ToWorkload& to,
                             Report& report) {
  report.destination(to.workload);
  report.record.destination.address = to.address;
  if (!to.workload->hbone) co_return co_await open_plain(proxy, to.address);
  if (PodProxy* local = proxy.context().local_proxy(*to.workload)) {
    const SocketAddress seen = client_towards(*source, client, to.address.ip);
    auto stream = co_await open_same_node(*local, source, seen, to);
    if (!stream) co_return refuse(std::move(stream.error().error), stream.error().flag);
    report.record.destination.identity = to.workload->identity;
    co_return std::move(*stream);
  }
  co_return co_await open_tunnel(proxy, *source, route, hop_to(route, to), client, report);
}

// The addresses of a workload that is known by its name, the most promising first: one that has not
// failed lately and is of the asked family. At most kAttemptsMax.
Task<Result<std::vector<IpAddress>>> look_up(PodProxy& proxy, std::string host,
                                             SocketAddress original, uint16_t port) {
  WorkerContext& context = proxy.context();
  const bool v4_first = original.ip.is_v4();
  auto found = CO_TRY(co_await context.resolver.resolve(
      std::move(host), v4_first ? dns::Families::kV4ThenV6 : dns::Families::kV6ThenV4,
      kLookUpTimeout));
  std::ranges::shuffle(found, context.random);
  const auto now = context.loop.now();
  std::ranges::sort(found, {}, [&](const IpAddress& ip) {
    return std::pair(context.endpoint_memory.is_avoided({ip, port}, now), ip.is_v4() != v4_first);
  });
  found.resize(std::min(found.size(), kAttemptsMax));
  co_return found;
}

// The endpoint's fault: another one may do better.
bool is_worth_another(const PodProxy& proxy, const Refusal& refusal) {
  return refusal.flag == Flag::kConnect && !proxy.stopping();
}

// To one address of a workload; its endpoint is remembered where it fails.
Task<Upstream> try_address(PodProxy& proxy, std::shared_ptr<const learn::Workload> source,
                           SocketAddress client, const Route& route, ToWorkload to,
                           Report& report) {
  Upstream upstream = co_await open_workload(proxy, source, client, route, to, report);
  role::EndpointMemory& memory = proxy.context().endpoint_memory;
  if (upstream) {
    memory.succeeded(to.address);
  } else if (route.service && is_worth_another(proxy, upstream.error())) {
    memory.failed(to.address, proxy.context().loop.now());
  }
  co_return upstream;
}

// To a pod of a waypoint; which is remembered where it fails.
Task<Upstream> try_waypoint(PodProxy& proxy, const learn::Workload& source, SocketAddress client,
                            const Route& route, const ToWaypoint& to, Report& report) {
  report.destination(to.workload);
  Upstream upstream = co_await open_tunnel(proxy, source, route, hop_to(to), client, report);
  role::EndpointMemory& memory = proxy.context().endpoint_memory;
  if (upstream) {
    memory.succeeded(to.address);
  } else if (is_worth_another(proxy, upstream.error())) {
    memory.failed(to.address, proxy.context().loop.now());
    upstream.error().error = std::move(upstream.error().error)
                                 .in("waypoint " + to.workload->ns + "/" + to.workload->name);
  }
  co_return upstream;
}

// To a workload; one that is known by its name is looked up, and its addresses tried in turn.
Task<Upstream> try_workload(PodProxy& proxy, const learn::State& state,
                            std::shared_ptr<const learn::Workload> source, SocketAddress client,
                            SocketAddress original, const Route& route, ToWorkload to,
                            Report& report) {
  if (!to.address.ip.is_unspecified()) {
    co_return co_await try_address(proxy, source, client, route, to, report);
  }
  const std::string host = to.workload->hostname;
  report.destination(to.workload);
  auto found = co_await look_up(proxy, host, original, to.address.port);
  if (!found) {
    co_return refuse(std::move(found.error()).in("looking up " + host), Flag::kConnect);
  }
  std::optional<Refusal> first;
  for (const IpAddress& ip : *found) {
    to.address.ip = ip;
    const ToWorkload known = as_known(state, to);
    Destination next = known;
    if (known.workload != to.workload) {
      next = route_to_workload(state, known.workload, known.address,
                               {.source = *source, .random = proxy.context().random()});
    }
    if (const auto* nowhere = std::get_if<ToNowhere>(&next)) {
      co_return refuse(Error(Code::kUnavailable, nowhere->reason), Flag::kConnect);
    }
    const auto* waypoint = std::get_if<ToWaypoint>(&next);
    Upstream upstream =
        waypoint != nullptr
            ? co_await try_waypoint(proxy, *source, client, route, *waypoint, report)
            : co_await try_address(proxy, source, client, route, known, report);
    if (upstream || !is_worth_another(proxy, upstream.error())) co_return upstream;
    if (!first) first = std::move(upstream.error());
  }
  co_return std::unexpected(std::move(*first));
}

// Chooses and opens the way to the destination. An endpoint of a service that cannot be connected
// to is replaced by another before the client sees anything: nothing has been sent yet.
Task<Upstream> open_upstream(PodProxy& proxy, const learn::State& state,
                             std::shared_ptr<const learn::Workload> source, SocketAddress client,
                             SocketAddress original, Report& report) {
  WorkerContext& context = proxy.context();
  std::array<const learn::Workload*, kAttemptsMax> tried{};
  std::optional<Refusal> first;
  for (size_t attempt = 0; attempt < kAttemptsMax; ++attempt) {
    const Choice choice{.source = *source,
                        .client = client.ip,
                        .random = context.random(),
                        .tried = std::span(tried).first(attempt),
                        .memory = &context.endpoint_memory,
                        .now = context.loop.now()};
    const Route route = choose_route(state, original, choice);
    if (route.service) report.destination_service(*route.service);
    if (const auto* nowhere = std::get_if<ToNowhere>(&route.destination)) {
      if (first) break;  // that one's reason says more
      co_return refuse_early(Error(Code::kUnavailable, nowhere->reason));
    }
    if (std::holds_alternative<ToOriginal>(route.destination)) {
      co_return co_await open_plain(proxy, original);
    }
    const auto* waypoint = std::get_if<ToWaypoint>(&route.destination);
    const auto* to = std::get_if<ToWorkload>(&route.destination);
    Upstream upstream =
        waypoint != nullptr
            ? co_await try_waypoint(proxy, *source, client, route, *waypoint, report)
            : co_await try_workload(proxy, state, source, client, original, route, *to, report);
    const bool has_others = waypoint != nullptr || route.service != nullptr;
    if (upstream || !has_others || !is_worth_another(proxy, upstream.error())) co_return upstream;
    if (!first) first = std::move(upstream.error());
    tried[attempt] = waypoint != nullptr ? waypoint->endpoint : to->endpoint;
  }
  co_return std::unexpected(std::move(*first));
}

Task<Upstream> serve_phases(PodProxy& proxy, SocketAddress client, SocketAddress original,
                            Report& report) {
  learn::View& view = proxy.context().view;
  auto source = co_await view.workload_of(proxy.pod(), kConfigurationWait);
  if (!source) co_return refuse_early(std::move(source.error()));
  report.source(*source);
  report.record.source.identity = (*source)->identity;
  auto state = co_await view.ready_state(kConfigurationWait);
  if (!state) co_return refuse_early(std::move(state.error()));
  co_return co_await open_upstream(proxy, **state, *source, client, original, report);
}

}  // namespace

Task<std::unique_ptr<ByteStream>> open_outbound(PodProxy& proxy, SocketAddress client,
                                                SocketAddress original, Report& report) {
  Upstream upstream = co_await serve_phases(proxy, client, original, report);
  if (upstream) co_return std::move(*upstream);
  const Refusal& refusal = upstream.error();
  if (refusal.early) {
    report.failed_early(refusal.error, refusal.flag);
  } else {
    report.failed(refusal.error, refusal.flag);
  }
  co_return nullptr;
}

Task<void> serve_outbound(PodProxy& proxy, Fd connection) {
  WorkerContext& context = proxy.context();
  const auto client = runtime::peer_address(connection.get());
  const auto original = original_target(proxy.pod(), connection.get());
  if (!client || !original) co_return;  // reset before we came to it
  const auto local = runtime::local_address(connection.get());
  const bool asks_for_proxy = is_own_port(proxy.pod(), original->port) &&
                              (original->ip.is_loopback() || (local && *local == *original));
  runtime::SocketStream downstream(context.loop, std::move(connection));
  const PodProxy::Breakable breakable(proxy, [&downstream] { downstream.abort(); });
  std::string begun;  // what the client has sent already
  if (original->port == dns::kDnsPort && proxy.answers_dns()) {
    auto other_than_dns = co_await serve_dns_stream(proxy, downstream, *client, *original);
    if (!other_than_dns) co_return;
    begun = std::move(*other_than_dns);
  }
  Report report(proxy.reporting(), Direction::kOutbound, *client, *original);
  if (asks_for_proxy) {
    report.failed_early(Error(Code::kRefused, "the port is ztunnel's own"), Flag::kConnect);
    downstream.abort();
    co_return;
  }
  const auto upstream = co_await open_outbound(proxy, *client, *original, report);
  if (!upstream) {
    downstream.abort();
    co_return;
  }
  report.opened();
  report.bytes.add_sent(begun.size());
  // What cannot be written here cannot be relayed either, and relay() tells.
  if (!begun.empty()) (void)co_await upstream->write(context.loop.buffers().copy_of(begun));
  const auto broken = co_await role::relay(downstream, *upstream, report.bytes);
  report.closed(proxy.end_of(broken));
}

}  // namespace weft::node
