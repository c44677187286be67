// A connection that a process of the pod makes, captured on its way out. In phases, each of which
// either hands the next one what it needs or ends with the report that the log and metrics get:
//   who asks -> where it goes (route.h) -> how to get there (same node, HBONE, plain) -> copy.

#include "ztunnel/node/headers.h"
#include "ztunnel/node/pod_proxy.h"
#include "ztunnel/node/relay.h"
#include "ztunnel/node/route.h"
#include "ztunnel/node/same_node.h"

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
};

using Upstream = std::expected<std::unique_ptr<ByteStream>, Refusal>;

std::unexpected<Refusal> refuse(Error error, Flag flag) {
  return std::unexpected(Refusal{std::move(error), flag});
}

Flag flag_of(hbone::Flag flag) {
  switch (flag) {
    case hbone::Flag::kNone:
      return Flag::kNone;
    case hbone::Flag::kConnect:
      return Flag::kConnect;
    case hbone::Flag::kTlsFailure:
      return Flag::kTlsFailure;
    case hbone::Flag::kH2HandshakeFailure:
      return Flag::kH2HandshakeFailure;
    case hbone::Flag::kDeny:
      return Flag::kDenied;
    case hbone::Flag::kIdentity:
      return Flag::kIdentityError;
  }
  return Flag::kConnect;
}

Task<Upstream> open_plain(PodProxy& proxy, SocketAddress to) {
  auto stream = co_await proxy.dial_from_pod(to);
  if (!stream) co_return refuse(std::move(stream.error()), Flag::kConnect);
  co_return std::unique_ptr<ByteStream>(std::move(*stream));
}

Task<Upstream> open_tunnel(PodProxy& proxy, const learn::Workload& source, const Route& route,
                           const ToWorkload& to, SocketAddress client, Report& report) {
  WorkerContext& context = proxy.context();
  auto tls = co_await context.view.context_for(source.identity, kIdentityWait);
  if (!tls) {
    co_return refuse(std::move(tls.error()).in("no certificate for " + source.identity.to_string()),
                     Flag::kIdentityError);
  }
  hbone::TunnelKey key;
  key.source = source.identity;
  key.peers.push_back(to.workload->identity);
  if (route.service) {
    const auto& names = route.service->subject_alt_names;
    key.peers.insert(key.peers.end(), names.begin(), names.end());
  }
  key.address = SocketAddress{to.address.ip, hbone::kHbonePort};
  report.record.destination.address = key.address;
  report.record.hbone_address = to.address.to_string();
  hbone::ConnectRequest request =
      connect_request(source, client, to.address, route.service.get(), context.random);
  auto tunnelled = co_await proxy.pool().open(std::move(key), std::move(*tls), std::move(request));
  if (!tunnelled) {
    co_return refuse(std::move(tunnelled.error().error), flag_of(tunnelled.error().flag));
  }
  report.record.destination.identity = tunnelled->peer;
  report.mutual_tls = true;
  co_return std::move(tunnelled->stream);
}

// Opens the way to one chosen workload; fills in what the report says about it.
Task<Upstream> open_workload(PodProxy& proxy, std::shared_ptr<const learn::Workload> source,
                             SocketAddress client, const Route& route, const ToWorkload& to,
                             Report& report) {
  report.destination(to.workload);
  report.record.destination.address = to.address;
  if (!to.workload->hbone) co_return co_await open_plain(proxy, to.address);
  if (PodProxy* local = proxy.context().local_proxy(*to.workload)) {
    auto stream = co_await open_same_node(*local, source, client, to);
    if (!stream) co_return refuse(std::move(stream.error().error), stream.error().flag);
    report.record.destination.identity = to.workload->identity;
    co_return std::move(*stream);
  }
  co_return co_await open_tunnel(proxy, *source, route, to, client, report);
}

// Chooses and opens the way to the destination. An endpoint of a service that cannot be connected
// to is replaced by another before the client sees anything: nothing has been sent yet.
Task<Upstream> open_upstream(PodProxy& proxy, const learn::State& state,
                             std::shared_ptr<const learn::Workload> source, SocketAddress client,
                             SocketAddress original, Report& report) {
  WorkerContext& context = proxy.context();
  std::array<SocketAddress, kAttemptsMax> tried;
  std::optional<Refusal> first;
  for (size_t attempt = 0; attempt < kAttemptsMax; ++attempt) {
    const Choice choice{context.random(), std::span(tried).first(attempt), &context.endpoint_memory,
                        context.loop.now()};
    const Route route = choose_route(state, original, choice);
    if (route.service) report.destination_service(*route.service);
    if (const auto* nowhere = std::get_if<ToNowhere>(&route.destination)) {
      if (first) break;  // that one's reason says more
      co_return refuse(Error(Code::kUnavailable, nowhere->reason), Flag::kConnect);
    }
    const auto* to = std::get_if<ToWorkload>(&route.destination);
    if (to == nullptr) co_return co_await open_plain(proxy, original);

    Upstream upstream = co_await open_workload(proxy, source, client, route, *to, report);
    if (upstream) {
      context.endpoint_memory.succeeded(to->address);
      co_return upstream;
    }
    const bool is_endpoints_fault = upstream.error().flag == Flag::kConnect && !proxy.stopping();
    if (!is_endpoints_fault || !route.service) co_return upstream;
    context.endpoint_memory.failed(to->address, context.loop.now());
    if (!first) first = std::move(upstream.error());
    tried[attempt] = to->address;
  }
  co_return std::unexpected(std::move(*first));
}

Task<Upstream> serve_phases(PodProxy& proxy, SocketAddress client, SocketAddress original,
                            Report& report) {
  learn::View& view = proxy.context().view;
  auto source = co_await view.workload_of(proxy.pod(), kConfigurationWait);
  if (!source) co_return refuse(std::move(source.error()), Flag::kConnect);
  report.source(*source);
  report.record.source.identity = (*source)->identity;
  auto state = co_await view.ready_state(kConfigurationWait);
  if (!state) co_return refuse(std::move(state.error()), Flag::kConnect);
  co_return co_await open_upstream(proxy, **state, *source, client, original, report);
}

}  // namespace

Task<void> serve_outbound(PodProxy& proxy, Fd connection) {
  WorkerContext& context = proxy.context();
  const auto client = runtime::peer_address(connection.get());
  const auto original = runtime::local_address(connection.get());
  if (!client || !original) co_return;  // reset before we came to it
  runtime::SocketStream downstream(context.loop, std::move(connection));
  const PodProxy::Breakable breakable(proxy, [&downstream] { downstream.abort(); });
  Report report(context, Direction::kOutbound, *client, *original);

  Upstream upstream = co_await serve_phases(proxy, *client, *original, report);
  if (!upstream) {
    report.failed(upstream.error().error, upstream.error().flag);
    downstream.abort();
    co_return;
  }
  report.opened();
  const auto broken = co_await relay(downstream, **upstream, report.bytes);
  report.closed(broken);
}

}  // namespace weft::node
