#include "ztunnel/waypoint/listener.h"

#include "ztunnel/hbone/headers.h"
#include "ztunnel/role/headers.h"
#include "ztunnel/role/relay.h"
#include "ztunnel/waypoint/sniffed_stream.h"
#include "ztunnel/waypoint/target.h"
#include "ztunnel/waypoint/tcp.h"

namespace weft::waypoint {
namespace {

using runtime::SocketStream;
using runtime::Task;

// Status codes of a refused CONNECT (reference: ztunnel.md 1.2).
constexpr int kUnauthorized = 401;
constexpr int kUnavailable = 503;

// As in the node proxy.
constexpr std::chrono::seconds kIdentityWait{10};
constexpr std::chrono::seconds kHandshakeTimeout{10};
// A client that speaks first has spoken by then; one that does not loses this much, once.
constexpr std::chrono::milliseconds kSniffWait{300};

struct Peer {
  Worker& worker;
  SocketAddress peer;
  SocketAddress local;
};

// What a connection that is refused, or is not HTTP, leaves behind.
void begin_report(role::Report& report, const hbone::IncomingConnect& incoming) {
  report.reporter = telemetry::Reporter::kWaypoint;
  report.record.hbone_address = incoming.request().authority;
  report.record.source.identity = incoming.peer();
  report.mutual_tls = true;
}

void fill_report(role::Report& report, const Client& client) {
  if (client.workload) report.source(client.workload);
  if (client.service) report.destination_service(*client.service);
}

Arrival arrival_of(const Client& client) {
  Arrival arrival =
      client.service ? Arrival::at(client.service->ns + "/" + client.service->hostname, client.port)
                     : Arrival::at("/" + client.original.ip.to_string(), client.port);
  arrival.caller = client.identity;
  arrival.client = client.address;
  return arrival;
}

Task<void> carry(runtime::ByteStream& downstream, Reached reached, role::Report& report) {
  report.opened();
  const auto broken = co_await role::relay(downstream, *reached.stream, report.bytes);
  report.closed(broken);
}

// The client gets his 200 when there is an endpoint: he sees what he would see without a waypoint.
Task<void> serve_tcp(Peer peer, Client client, std::unique_ptr<hbone::IncomingConnect> incoming) {
  WorkerContext& context = peer.worker.context();
  role::Report report(context.reporting(), role::Direction::kInbound, peer.peer, peer.local);
  begin_report(report, *incoming);
  fill_report(report, client);
  Opened opened = co_await open_tcp(context, peer.worker.network(), client, report);
  if (!opened) {
    report.failed(opened.error().error, opened.error().flag);
    const bool is_denied = opened.error().flag == role::Flag::kDenied;
    co_return co_await incoming->refuse(is_denied ? kUnauthorized : kUnavailable);
  }
  auto stream = co_await incoming->accept(role::baggage_of(*context.own_workload()));
  if (!stream) {
    report.failed(stream.error(), role::Flag::kConnect);
    opened->stream->abort();
    co_return;
  }
  incoming.reset();
  co_await carry(**stream, std::move(*opened), report);
}

// HTTP where it looks like HTTP. A client that says nothing waits for a server that speaks first.
Task<void> serve_sniffed(Peer peer, Client client,
                         std::unique_ptr<hbone::IncomingConnect> incoming) {
  WorkerContext& context = peer.worker.context();
  role::Report report(context.reporting(), role::Direction::kInbound, peer.peer, peer.local);
  begin_report(report, *incoming);
  fill_report(report, client);
  auto accepted = co_await incoming->accept(role::baggage_of(*context.own_workload()));
  if (!accepted) co_return report.failed(accepted.error(), role::Flag::kConnect);
  incoming.reset();
  auto stream = std::make_unique<SniffedStream>(context.loop, std::move(*accepted));
  const std::optional<Spoken> spoken = co_await stream->sniffed(kSniffWait);
  if (spoken && *spoken != Spoken::kOther) {
    report.forget();
    co_return co_await peer.worker.proxy().serve(std::move(stream), arrival_of(client));
  }
  Opened opened = co_await open_tcp(context, peer.worker.network(), client, report);
  if (opened) {
    co_await carry(*stream, std::move(*opened), report);
  } else {
    report.failed(opened.error().error, opened.error().flag);
    stream->abort();
  }
  co_await stream->close();
}

Task<void> serve_http(Peer peer, Client client, std::unique_ptr<hbone::IncomingConnect> incoming) {
  WorkerContext& context = peer.worker.context();
  auto stream = co_await incoming->accept(role::baggage_of(*context.own_workload()));
  incoming.reset();
  if (!stream) co_return;  // he is gone already
  co_await peer.worker.proxy().serve(std::move(*stream), arrival_of(client));
}

Task<void> serve_connect(Peer peer, std::unique_ptr<hbone::IncomingConnect> incoming) {
  using weft::route::Port;
  WorkerContext& context = peer.worker.context();
  auto found = co_await target_of(context, *incoming);
  if (!found) {
    role::Report report(context.reporting(), role::Direction::kInbound, peer.peer, peer.local);
    begin_report(report, *incoming);
    report.failed_early(found.error().error, found.error().flag);
    co_return co_await incoming->refuse(found.error().status);
  }
  Client& client = *found;
  client.address = hbone::forwarded_for(incoming->request().forwarded).value_or(peer.peer);
  client.workload = client.state->workload_by_ip(peer.peer.ip);
  if (client.workload && client.workload->identity != client.identity) client.workload = nullptr;
  switch (client.protocol) {
    case Port::HTTP1:
    case Port::HTTP2:
      co_return co_await serve_http(peer, std::move(client), std::move(incoming));
    case Port::TCP:
    case Port::TLS:
      co_return co_await serve_tcp(peer, std::move(client), std::move(incoming));
    default:
      co_return co_await serve_sniffed(peer, std::move(client), std::move(incoming));
  }
}

Task<Result<std::unique_ptr<tls::TlsStream>>> accept_tls(WorkerContext& context,
                                                         std::unique_ptr<SocketStream> transport) {
  SocketStream* raw = transport.get();
  const role::Handshakes::Place place(context.handshakes, *raw);
  auto tls = CO_TRY(co_await context.view.context_for(context.self.identity, kIdentityWait));
  const runtime::Deadline deadline(context.loop, kHandshakeTimeout, [raw] { raw->abort(); });
  auto accepted = co_await tls::accept_mesh(context.loop, std::move(transport), std::move(tls));
  if (!accepted && place.gave_way()) {
    co_return fail(Code::kLimit, "TLS handshake: " + std::to_string(role::Handshakes::kMax) +
                                     " peers are at theirs; the one that took longest gave way");
  }
  co_return accepted;
}

}  // namespace

Task<void> serve_client(Worker& worker, Fd connection) {
  const auto address = runtime::peer_address(connection.get());
  const auto local = runtime::local_address(connection.get());
  if (!address || !local) co_return;  // reset before we came to it
  WorkerContext& context = worker.context();
  auto transport = std::make_unique<SocketStream>(context.loop, std::move(connection));
  const Peer peer{worker, *address, *local};
  SocketStream* raw = transport.get();
  auto handshake = std::make_unique<Worker::Tunnel>(worker, [raw] { raw->abort(); });
  auto secured = co_await accept_tls(context, std::move(transport));
  handshake.reset();
  if (!secured) {
    role::Report report(context.reporting(), role::Direction::kInbound, peer.peer, peer.local);
    report.failed_early(secured.error(), role::Flag::kTlsFailure);
    co_return;
  }
  const std::string who =
      (*secured)->peer().identity ? (*secured)->peer().identity->to_string() : "nobody";
  std::vector<tls::CertificateId> certificates = (*secured)->peer().certificates;
  auto server = hbone::ServerConnection::make(
      context.loop, std::move(*secured),
      [peer](std::unique_ptr<hbone::IncomingConnect> incoming) {
        return serve_connect(peer, std::move(incoming));
      },
      [peer, who](const Error& error) {
        role::Report report(peer.worker.context().reporting(), role::Direction::kInbound, peer.peer,
                            peer.local);
        report.failed_early(Error(error).in("peer " + who), role::Flag::kH2HandshakeFailure);
      });
  hbone::ServerConnection* raw_server = server.get();
  Worker::Tunnel tunnel(worker, [raw_server] { raw_server->abort(); });
  tunnel.drain = [raw_server] { raw_server->drain(); };
  tunnel.certificates = std::move(certificates);
  if (worker.stopping()) tunnel.drain();
  co_await server->run();
}

}  // namespace weft::waypoint
