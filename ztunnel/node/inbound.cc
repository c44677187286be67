// A connection from outside the pod. On port 15008 it is a tunnel: TLS, HTTP/2, then one CONNECT
// for each connection it carries. On any other port it is plain text from a pod outside the mesh
// (or one that bypasses it), and policy decides without an identity.

#include "ztunnel/hbone/server.h"
#include "ztunnel/node/headers.h"
#include "ztunnel/node/pod_proxy.h"
#include "ztunnel/node/relay.h"

namespace weft::node {
namespace {

using runtime::ByteStream;
using runtime::SocketStream;
using runtime::Task;

// Status codes of a refused CONNECT (reference: ztunnel.md 1.2).
constexpr int kBadRequest = 400;
constexpr int kUnauthorized = 401;
constexpr int kUnavailable = 503;

// The tunnel that a CONNECT came through.
struct Tunnel {
  PodProxy& proxy;
  SocketAddress peer;   // the other node's end
  SocketAddress local;  // pod IP and 15008
};

struct ConnectFailure {
  Error error;
  int status;
  Flag flag;
};

std::unexpected<ConnectFailure> connect_failure(Error error, int status, Flag flag) {
  return std::unexpected(ConnectFailure{std::move(error), status, flag});
}

// The authority names this very pod, and not one of our own ports.
std::expected<SocketAddress, ConnectFailure> validated_target(const Tunnel& tunnel,
                                                              const std::string& authority) {
  auto target = SocketAddress::parse(authority);
  if (!target) return connect_failure(std::move(target.error()), kBadRequest, Flag::kConnect);
  if (target->ip != tunnel.local.ip) {
    return connect_failure(Error(Code::kRefused, "ip mismatch: " + tunnel.local.ip.to_string() +
                                                     " != " + target->ip.to_string()),
                           kBadRequest, Flag::kConnect);
  }
  if (target->port == hbone::kHbonePort || target->port == 0) {
    return connect_failure(
        Error(Code::kRefused, "port " + std::to_string(target->port) + " is not an application's"),
        kUnavailable, Flag::kConnect);
  }
  return *target;
}

// The leg to the application, and what watches whether it stays allowed.
struct Application {
  std::unique_ptr<SocketStream> stream;
  std::unique_ptr<PodProxy::Judged> judged;
};

// Judges the connection and connects to the application, as `client`.
Task<std::expected<Application, ConnectFailure>> open_application(
    PodProxy& proxy, std::shared_ptr<const learn::Workload> own, policy::Connection connection,
    SocketAddress client) {
  const SocketAddress target = connection.destination;
  auto judged = std::make_unique<PodProxy::Judged>(proxy, std::move(connection));
  if (auto allowed = judged->judge(*own); !allowed) {
    co_return connect_failure(std::move(allowed.error()), kUnauthorized, Flag::kDenied);
  }
  auto stream = co_await proxy.dial_application(client, target);
  if (judged->rejected()) {
    co_return connect_failure(*judged->rejected(), kUnauthorized, Flag::kDenied);
  }
  if (!stream) {
    co_return connect_failure(std::move(stream.error()), kUnavailable, Flag::kConnect);
  }
  co_return Application{std::move(*stream), std::move(judged)};
}

// Copies until the end; a change of policy that refuses the connection breaks it.
Task<void> carry(PodProxy& proxy, runtime::ByteStream& downstream, Application& application,
                 Report& report) {
  report.opened();
  runtime::ByteStream* client = &downstream;
  runtime::ByteStream* server = application.stream.get();
  application.judged->on_rejection([client, server] {
    server->abort();
    client->abort();
  });
  const auto broken = co_await relay(*client, *server, report.bytes);
  const auto& rejected = application.judged->rejected();
  report.closed(rejected ? rejected : proxy.end_of(broken));
}

Task<std::expected<Application, ConnectFailure>> connect_phases(
    Tunnel tunnel, const hbone::IncomingConnect& incoming, Report& report) {
  learn::View& view = tunnel.proxy.context().view;
  const auto target = validated_target(tunnel, incoming.request().authority);
  if (!target) co_return std::unexpected(target.error());
  auto state = co_await view.ready_state(kConfigurationWait);
  if (!state) co_return connect_failure(std::move(state.error()), kUnavailable, Flag::kConnect);
  auto own = co_await view.workload_of(tunnel.proxy.pod(), kConfigurationWait);
  if (!own) co_return connect_failure(std::move(own.error()), kUnavailable, Flag::kConnect);
  report.destination(*own);
  report.record.destination.identity = (*own)->identity;
  report.service_from_forwarded(incoming.request().forwarded, **state);
  // Labels only: who the source is was proven by its certificate, not by its address.
  if (auto source = (*state)->workload_by_ip(tunnel.peer.ip);
      source && source->identity == incoming.peer()) {
    report.source(source);
  }
  policy::Connection connection{incoming.peer(), tunnel.peer.ip, *target};
  co_return co_await open_application(tunnel.proxy, std::move(*own), std::move(connection),
                                      SocketAddress{tunnel.peer.ip, 0});
}

Task<void> serve_connect(Tunnel tunnel, std::unique_ptr<hbone::IncomingConnect> incoming) {
  Report report(tunnel.proxy.context(), Direction::kInbound, tunnel.peer, tunnel.local);
  report.record.hbone_address = incoming->request().authority;
  report.record.source.identity = incoming->peer();
  report.mutual_tls = true;

  auto application = co_await connect_phases(tunnel, *incoming, report);
  if (!application) {
    report.failed(application.error().error, application.error().flag);
    co_await incoming->refuse(application.error().status);
    co_return;
  }
  std::string baggage;
  if (auto state = tunnel.proxy.context().view.state()) {
    if (auto own = state->workload_of_pod(tunnel.proxy.pod().ns, tunnel.proxy.pod().name)) {
      baggage = baggage_of(*own);
    }
  }
  auto stream = co_await incoming->accept(std::move(baggage));
  if (!stream) {
    report.failed(stream.error(), Flag::kConnect);
    application->stream->abort();
    co_return;
  }
  co_await carry(tunnel.proxy, **stream, *application, report);
}

// The handshake, as the pod's own identity.
Task<Result<std::unique_ptr<tls::TlsStream>>> accept_tls(PodProxy& proxy,
                                                         std::unique_ptr<SocketStream> transport) {
  WorkerContext& context = proxy.context();
  auto own = CO_TRY(co_await context.view.workload_of(proxy.pod(), kConfigurationWait));
  auto tls = CO_TRY(co_await context.view.context_for(own->identity, kIdentityWait));
  SocketStream* raw = transport.get();
  const runtime::Deadline deadline(context.loop, kHandshakeTimeout, [raw] { raw->abort(); });
  co_return co_await tls::accept_mesh(context.loop, std::move(transport), std::move(tls));
}

Task<void> serve_tunnel(PodProxy& proxy, std::unique_ptr<SocketStream> transport,
                        SocketAddress peer, SocketAddress local) {
  SocketStream* raw = transport.get();
  auto breakable = std::make_unique<PodProxy::Breakable>(proxy, [raw] { raw->abort(); });
  auto tls = co_await accept_tls(proxy, std::move(transport));
  breakable.reset();
  if (!tls) {
    Report report(proxy.context(), Direction::kInbound, peer, local);
    report.failed(tls.error(), Flag::kTlsFailure);
    co_return;
  }
  const Tunnel tunnel{proxy, peer, local};
  auto connection =
      hbone::ServerConnection::make(proxy.context().loop, std::move(*tls),
                                    [tunnel](std::unique_ptr<hbone::IncomingConnect> incoming) {
                                      return serve_connect(tunnel, std::move(incoming));
                                    });
  hbone::ServerConnection* server = connection.get();
  const PodProxy::Breakable whole(
      proxy, [server] { server->abort(); }, [server] { server->drain(); });
  co_await connection->run();
}

Task<std::expected<Application, ConnectFailure>> plain_phases(PodProxy& proxy, SocketAddress client,
                                                              SocketAddress target,
                                                              Report& report) {
  learn::View& view = proxy.context().view;
  auto state = co_await view.ready_state(kConfigurationWait);
  if (!state) co_return connect_failure(std::move(state.error()), kUnavailable, Flag::kConnect);
  auto own = co_await view.workload_of(proxy.pod(), kConfigurationWait);
  if (!own) co_return connect_failure(std::move(own.error()), kUnavailable, Flag::kConnect);
  report.destination(*own);
  if (auto source = (*state)->workload_by_ip(client.ip)) report.source(source);
  policy::Connection connection{std::nullopt, client.ip, target};
  co_return co_await open_application(proxy, std::move(*own), std::move(connection), client);
}

Task<void> serve_plain(PodProxy& proxy, std::unique_ptr<SocketStream> downstream,
                       SocketAddress client, SocketAddress target) {
  SocketStream* raw = downstream.get();
  const PodProxy::Breakable breakable(proxy, [raw] { raw->abort(); });
  Report report(proxy.context(), Direction::kInbound, client, target);
  auto application = co_await plain_phases(proxy, client, target, report);
  if (!application) {
    report.failed(application.error().error, application.error().flag);
    downstream->abort();
    co_return;
  }
  co_await carry(proxy, *downstream, *application, report);
}

}  // namespace

Task<void> serve_inbound(PodProxy& proxy, Fd connection) {
  const auto client = runtime::peer_address(connection.get());
  const auto target = runtime::local_address(connection.get());
  if (!client || !target) co_return;  // reset before we came to it
  auto stream = std::make_unique<SocketStream>(proxy.context().loop, std::move(connection));
  if (target->port == hbone::kHbonePort) {
    co_await serve_tunnel(proxy, std::move(stream), *client, *target);
  } else {
    co_await serve_plain(proxy, std::move(stream), *client, *target);
  }
}

}  // namespace weft::node
