// A connection from outside the pod. On port 15008 it is a tunnel: TLS, HTTP/2, then one CONNECT
// for each connection it carries. On any other port it is plain text from a pod outside the mesh
// (or one that bypasses it), and policy decides without an identity.

#include "ztunnel/hbone/headers.h"
#include "ztunnel/hbone/server.h"
#include "ztunnel/node/application.h"
#include "ztunnel/node/pod_proxy.h"
#include "ztunnel/node/redirect.h"
#include "ztunnel/role/headers.h"
#include "ztunnel/role/relay.h"

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
  const std::vector<tls::CertificateId>& certificates;
};

// `early`: before it was known who talks to whom.
struct ConnectFailure {
  Error error;
  int status;
  Flag flag;
  bool early = false;
};

std::unexpected<ConnectFailure> early_failure(Error error, int status) {
  return std::unexpected(ConnectFailure{std::move(error), status, Flag::kConnect, true});
}

std::unexpected<ConnectFailure> late_failure(ApplicationError failure) {
  const int status = failure.flag == Flag::kDenied ? kUnauthorized : kUnavailable;
  return std::unexpected(ConnectFailure{std::move(failure.error), status, failure.flag});
}

// The authority names this very pod, or its workload is one that others' connections are sent to,
// and the port is an application's and not one of our own.
std::expected<ApplicationTarget, ConnectFailure> validated_target(
    const Tunnel& tunnel, const learn::Workload& own, const hbone::IncomingConnect& incoming) {
  const auto asker = [&incoming] { return "asked by " + incoming.peer().to_string(); };
  const auto asked = SocketAddress::parse(incoming.request().authority);
  if (!asked) {
    return early_failure(Error(Code::kInvalid, "authority \"" + incoming.request().authority +
                                                   "\" is not an address and a port, " + asker()),
                         kBadRequest);
  }
  if (asked->ip != tunnel.local.ip && !own.application_tunnel) {
    return early_failure(Error(Code::kRefused, "ip mismatch: " + tunnel.local.ip.to_string() +
                                                   " != " + asked->ip.to_string() + ", " + asker()),
                         kBadRequest);
  }
  const ApplicationTarget target = target_of_tunnel(own, tunnel.local, *asked);
  if (target.address.port == hbone::kHbonePort || target.address.port == 0 ||
      is_own_port(tunnel.proxy.pod(), target.address.port)) {
    return early_failure(Error(Code::kRefused, "port " + std::to_string(target.address.port) +
                                                   " is not an application's, " + asker()),
                         kUnavailable);
  }
  return target;
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
  const auto broken = co_await role::relay(*client, *server, report.bytes);
  const auto& rejected = application.judged->rejected();
  report.closed(rejected ? rejected : proxy.end_of(broken));
}

// Who the application sees. The address is the tunnel's, which leads back to the client. The port
// is what the peer says, which proves nothing: where another connection has it, any free one
// serves.
SocketAddress client_of(const Tunnel& tunnel, const hbone::IncomingConnect& incoming) {
  const auto client = hbone::forwarded_for(incoming.request().forwarded);
  const bool is_peer = client && client->ip == tunnel.peer.ip;
  return {tunnel.peer.ip, is_peer ? client->port : uint16_t{0}};
}

Task<std::expected<Application, ConnectFailure>> connect_phases(
    Tunnel tunnel, const hbone::IncomingConnect& incoming, Report& report) {
  learn::View& view = tunnel.proxy.context().view;
  auto state = co_await view.ready_state(kConfigurationWait);
  if (!state) co_return early_failure(std::move(state.error()), kUnavailable);
  auto own = co_await view.workload_of(tunnel.proxy.pod(), kConfigurationWait);
  if (!own) co_return early_failure(std::move(own.error()), kUnavailable);
  const auto target = validated_target(tunnel, **own, incoming);
  if (!target) co_return std::unexpected(target.error());
  report.destination(*own);
  report.record.destination.identity = (*own)->identity;
  report.service_from_forwarded(incoming.request().forwarded, **state);
  // Labels only: who the source is was proven by its certificate, not by its address.
  if (auto source = (*state)->workload_by_ip(tunnel.peer.ip);
      source && source->identity == incoming.peer()) {
    report.source(source);
  }
  auto application =
      co_await open_application(tunnel.proxy, std::move(*own), incoming.peer(), tunnel.peer,
                                client_of(tunnel, incoming), *target, tunnel.certificates);
  if (!application) co_return late_failure(std::move(application.error()));
  co_return std::move(*application);
}

// How a connection that came to nothing is reported.
void report_failure(const ConnectFailure& failure, Report& report) {
  if (failure.early) {
    report.failed_early(failure.error, failure.flag);
  } else {
    report.failed(failure.error, failure.flag);
  }
}

Task<void> serve_connect(Tunnel tunnel, std::unique_ptr<hbone::IncomingConnect> incoming) {
  Report report(tunnel.proxy.reporting(), Direction::kInbound, tunnel.peer, tunnel.local);
  report.record.hbone_address = incoming->request().authority;
  report.record.source.identity = incoming->peer();
  report.mutual_tls = true;

  auto application = co_await connect_phases(tunnel, *incoming, report);
  if (!application) {
    report_failure(application.error(), report);
    co_await incoming->refuse(application.error().status);
    co_return;
  }
  std::string baggage;
  if (auto state = tunnel.proxy.context().view.state()) {
    if (auto own = state->workload_of_pod(tunnel.proxy.pod().ns, tunnel.proxy.pod().name)) {
      baggage = role::baggage_of(*own);
    }
  }
  auto stream = co_await incoming->accept(std::move(baggage));
  if (!stream) {
    report.failed(stream.error(), Flag::kConnect);
    application->stream->abort();
    co_return;
  }
  incoming.reset();  // its labels are not needed while the connection lasts
  co_await carry(tunnel.proxy, **stream, *application, report);
}

// The handshake, as the pod's own identity.
Task<Result<std::unique_ptr<tls::TlsStream>>> accept_tls(PodProxy& proxy,
                                                         std::unique_ptr<SocketStream> transport) {
  WorkerContext& context = proxy.context();
  SocketStream* raw = transport.get();
  const role::Handshakes::Place place(context.handshakes, *raw);
  auto own = CO_TRY(co_await context.view.workload_of(proxy.pod(), kConfigurationWait));
  auto tls = CO_TRY(co_await context.view.context_for(own->identity, kIdentityWait));
  const runtime::Deadline deadline(context.loop, kHandshakeTimeout, [raw] { raw->abort(); });
  auto accepted = co_await tls::accept_mesh(context.loop, std::move(transport), std::move(tls));
  if (!accepted && place.gave_way()) {
    co_return fail(Code::kLimit, "TLS handshake: " + std::to_string(role::Handshakes::kMax) +
                                     " peers are at theirs; the one that took longest gave way");
  }
  co_return accepted;
}

Task<void> serve_tunnel(PodProxy& proxy, std::unique_ptr<SocketStream> transport,
                        SocketAddress peer, SocketAddress local) {
  SocketStream* raw = transport.get();
  auto breakable = std::make_unique<PodProxy::Breakable>(proxy, [raw] { raw->abort(); });
  auto tls = co_await accept_tls(proxy, std::move(transport));
  breakable.reset();
  if (!tls) {
    Report report(proxy.reporting(), Direction::kInbound, peer, local);
    report.failed_early(tls.error(), Flag::kTlsFailure);
    co_return;
  }
  PodProxy::InboundTunnel watched(proxy, (*tls)->peer().certificates, {});
  const Tunnel tunnel{proxy, peer, local, watched.certificates};
  const std::string who = (*tls)->peer().identity ? (*tls)->peer().identity->to_string() : "nobody";
  auto connection = hbone::ServerConnection::make(
      proxy.context().loop, std::move(*tls),
      [tunnel](std::unique_ptr<hbone::IncomingConnect> incoming) {
        return serve_connect(tunnel, std::move(incoming));
      },
      [tunnel, who](const Error& error) {
        Report report(tunnel.proxy.reporting(), Direction::kInbound, tunnel.peer, tunnel.local);
        report.failed_early(Error(error).in("peer " + who), Flag::kH2HandshakeFailure);
      });
  hbone::ServerConnection* server = connection.get();
  watched.abort = [server] { server->abort(); };
  const PodProxy::Breakable whole(proxy, watched.abort, [server] { server->drain(); });
  co_await connection->run();
}

Task<std::expected<Application, ConnectFailure>> plain_phases(PodProxy& proxy, SocketAddress client,
                                                              SocketAddress target,
                                                              Report& report) {
  learn::View& view = proxy.context().view;
  auto state = co_await view.ready_state(kConfigurationWait);
  if (!state) co_return early_failure(std::move(state.error()), kUnavailable);
  auto own = co_await view.workload_of(proxy.pod(), kConfigurationWait);
  if (!own) co_return early_failure(std::move(own.error()), kUnavailable);
  report.destination(*own);
  if (auto source = (*state)->workload_by_ip(client.ip)) report.source(source);
  const ApplicationTarget application_target = target_of_plain(**own, target);
  auto application = co_await open_application(proxy, std::move(*own), std::nullopt, client, client,
                                               application_target);
  if (!application) co_return late_failure(std::move(application.error()));
  co_return std::move(*application);
}

Task<void> serve_plain(PodProxy& proxy, std::unique_ptr<SocketStream> downstream,
                       SocketAddress client, SocketAddress target) {
  SocketStream* raw = downstream.get();
  const PodProxy::Breakable breakable(proxy, [raw] { raw->abort(); });
  Report report(proxy.reporting(), Direction::kInbound, client, target);
  if (is_own_port(proxy.pod(), target.port)) {
    report.failed_early(Error(Code::kRefused, "the port is ztunnel's own"), Flag::kConnect);
    downstream->abort();
    co_return;
  }
  auto application = co_await plain_phases(proxy, client, target, report);
  if (!application) {
    report_failure(application.error(), report);
    downstream->abort();
    co_return;
  }
  co_await carry(proxy, *downstream, *application, report);
}

}  // namespace

Task<void> serve_inbound(PodProxy& proxy, Fd connection) {
  const auto client = runtime::peer_address(connection.get());
  const auto local = runtime::local_address(connection.get());
  const auto target = original_target(proxy.pod(), connection.get());
  if (!client || !local || !target) co_return;  // reset before we came to it
  auto stream = std::make_unique<SocketStream>(proxy.context().loop, std::move(connection));
  if (local->port == hbone::kHbonePort) {
    co_await serve_tunnel(proxy, std::move(stream), *client, *local);
  } else {
    co_await serve_plain(proxy, std::move(stream), *client, *target);
  }
}

}  // namespace weft::node
