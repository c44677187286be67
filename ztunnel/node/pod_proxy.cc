#include "ztunnel/node/pod_proxy.h"

#include "ztunnel/base/log.h"
#include "ztunnel/node/dns_socket.h"
#include "ztunnel/node/inbound_policy.h"

namespace weft::node {
namespace {

using runtime::SocketStream;
using runtime::Task;

// The pool owns its way to dial; a free coroutine because a capturing lambda may not be one.
Task<Result<std::unique_ptr<runtime::ByteStream>>> dial_tunnel(PodProxy& proxy, SocketAddress to) {
  std::unique_ptr<SocketStream> stream = CO_TRY(co_await proxy.dial_from_pod(to));
  co_return std::unique_ptr<runtime::ByteStream>(std::move(stream));
}

// One worker reads a pod's queries: a datagram would wake every one that waits for it.
bool is_dns_reader(const WorkerContext& context, const learn::Pod& pod) {
  return std::hash<std::string>{}(pod.uid) % context.config.workers == context.worker;
}

role::Sharing::Kind kind_of(bool outbound, const Fd& connection) {
  if (outbound) return role::Sharing::Kind::kOutbound;
  const auto target = runtime::local_address(connection.get());
  const bool is_tunnel = target && target->port == hbone::kHbonePort;
  return is_tunnel ? role::Sharing::Kind::kTunnel : role::Sharing::Kind::kPlain;
}

}  // namespace

PodProxy::PodProxy(WorkerContext& context, std::shared_ptr<const learn::Pod> pod)
    : context_(context),
      pool_(context.loop, [this](SocketAddress to) { return dial_tunnel(*this, to); }),
      place_(context.sharings.of(pod->uid), context.worker, context.loop,
             [this](role::Sharing::Kind kind, Fd connection) {
               context_.loop.spawn(serve(kind, std::move(connection)));
             }) {
  listeners_.push_back(std::make_unique<Listeners>(*this, std::move(pod)));
}

PodProxy::~PodProxy() { CHECK(guests_ == 0 && breakables_.empty() && judged_.empty()); }

PodProxy::Listeners::Listeners(PodProxy& proxy, std::shared_ptr<const learn::Pod> of)
    : pod(std::move(of)) {
  const auto accept = [&](learn::ListenerKind kind, bool outbound) {
    const Fd& listener = pod->listener(kind);
    if (!listener) return;
    if (outbound) runtime::send_over_loopback(listener.get());
    acceptors.push_back(std::make_unique<runtime::Acceptor>(
        proxy.context_.loop, listener.get(), [&proxy, outbound](Fd connection) {
          return proxy.accepted(outbound, std::move(connection));
        }));
  };
  accept(learn::ListenerKind::kOutboundV4, true);
  accept(learn::ListenerKind::kOutboundV6, true);
  accept(learn::ListenerKind::kInboundV4, false);
  accept(learn::ListenerKind::kInboundV6, false);
  accept(learn::ListenerKind::kInboundPlainV4, false);
  accept(learn::ListenerKind::kInboundPlainV6, false);
  accept(learn::ListenerKind::kDnsStreamV4, true);
  accept(learn::ListenerKind::kDnsStreamV6, true);
  for (const auto kind : {learn::ListenerKind::kDnsV4, learn::ListenerKind::kDnsV6}) {
    const Fd& socket = pod->listener(kind);
    if (!socket || !is_dns_reader(proxy.context_, *pod)) continue;
    dns.push_back(std::make_unique<DnsSocket>(proxy, socket.get(), pod->netns.get()));
  }
}

PodProxy::Listeners::~Listeners() = default;

void PodProxy::Listeners::stop() {
  for (const auto& socket : dns) socket->stop();
  for (const auto& acceptor : acceptors) acceptor->stop();
}

Task<void> PodProxy::accepted(bool outbound, Fd connection) {
  const role::Sharing::Kind kind = kind_of(outbound, connection);
  place_.accepted(kind, std::move(connection));
  co_return;
}

Task<void> PodProxy::serve(role::Sharing::Kind kind, Fd connection) {
  const Guest guest(*this);
  co_await (kind == role::Sharing::Kind::kOutbound ? serve_outbound(*this, std::move(connection))
                                                   : serve_inbound(*this, std::move(connection)));
  place_.ended(kind);
}

PodProxy::Guest::~Guest() {
  if (proxy_ == nullptr) return;
  --proxy_->guests_;
  proxy_->context_.memory.connection_ended(proxy_->context_.loop);
  // May end stop() and with it the proxy: nothing of it is touched after this.
  if (proxy_->stopping_ && proxy_->guests_ == 0) proxy_->quiet_.wake();
}

void PodProxy::start() {
  for (const auto& acceptor : listeners_.back()->acceptors) acceptors_.spawn(acceptor->run());
  for (const auto& socket : listeners_.back()->dns) acceptors_.spawn(socket->run());
}

void PodProxy::adopt(std::shared_ptr<const learn::Pod> pod) {
  Listeners& old = *listeners_.back();
  listeners_.push_back(std::make_unique<Listeners>(*this, std::move(pod)));
  start();
  acceptors_.spawn(retire_listeners(old));
}

Task<void> PodProxy::retire_listeners(Listeners& listeners) {
  const auto until = context_.loop.now() + kListenerHandover;
  while (!stopping_ && context_.loop.now() < until) {
    co_await context_.loop.sleep(std::chrono::milliseconds(200));
  }
  listeners.stop();
}

Task<void> PodProxy::stop(std::chrono::milliseconds limit, Error reason) {
  stopping_ = true;
  for (const auto& listeners : listeners_) listeners->stop();
  place_.leave();
  co_await acceptors_.join();  // what they had accepted by now is a guest
  for_each_breakable(&Breakable::drain_);
  if (limit.count() == 0) break_all(reason);
  const runtime::Deadline deadline(context_.loop, limit, [this, &reason] { break_all(reason); });
  while (guests_ > 0) co_await quiet_.wait();
  co_await pool_.close(std::chrono::milliseconds(0));
}

// A call may end connections, which take themselves out of the set: go through a copy.
void PodProxy::for_each_breakable(std::function<void()> Breakable::* call) {
  const std::set<Breakable*> open = breakables_;
  for (Breakable* breakable : open) {
    if (breakables_.contains(breakable) && breakable->*call) (breakable->*call)();
  }
}

void PodProxy::break_all(const Error& reason) {
  if (broken_) return;
  broken_ = reason;
  if (!breakables_.empty()) {
    log::warn("ztunnel")
        .field("pod", pod().ns + "/" + pod().name)
        .field("open", static_cast<int64_t>(breakables_.size()))
        .field("reason", reason.to_string())
        .say("breaking what is still open");
  }
  for_each_breakable(&Breakable::abort_);
}

namespace {

// A pod that reaches itself needs no detour: its address is there. And by IPv6 the answers of its
// application would come in by the address's own interface, where a socket of lo does not look.
runtime::DialOptions inner_leg(const learn::Pod& pod, const SocketAddress& client,
                               const SocketAddress& application) {
  runtime::DialOptions options;
  options.netns_fd = pod.netns.get();
  options.source = client;
  options.timeout = kApplicationConnectTimeout;
  options.over_loopback = true;
  if (client.ip != application.ip) {
    options.transparent = true;
    options.mark = kInnerLegMark;
    options.bind_to_device = "lo";
  }
  if (pod.redirected) {
    // To connection tracking the client's own port would make it the connection that was
    // redirected.
    options.source->port = 0;
    options.mark = kPassMark;
    options.bind_to_device.clear();
  }
  return options;
}

}  // namespace

// Until the application's side is bound to lo, a moment after it was made (or much later, by
// TCP_DEFER_ACCEPT), it would get what a client with the same 4-tuple sends, and answer with a
// reset. So the port is one that clients do not have: below where the kernel begins with those that
// it gives out (net.ipv4.ip_local_port_range).
Task<Result<std::unique_ptr<SocketStream>>> PodProxy::dial_beside(SocketAddress client,
                                                                  SocketAddress application) {
  constexpr uint16_t kPortMin = 1024;
  constexpr uint16_t kPortMax = 32767;
  // With half of the ports taken, one in 65 000 finds none.
  constexpr int kAttempts = 16;
  if (!pod().peer_port_by_mark || client.ip == application.ip) {
    co_return co_await dial_application(client, application);
  }
  runtime::DialOptions options = inner_leg(pod(), client, application);
  options.mark |= uint32_t{client.port} << kPortShift;
  std::uniform_int_distribution<uint16_t> port(kPortMin, kPortMax);
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    options.source->port = port(context_.random);
    auto connected = co_await runtime::dial(context_.loop, application, options);
    if (connected || connected.error().code != Code::kUnavailable) co_return connected;
  }
  options.source->port = 0;
  co_return co_await runtime::dial(context_.loop, application, options);
}

Task<Result<std::unique_ptr<SocketStream>>> PodProxy::dial_application(SocketAddress client,
                                                                       SocketAddress application) {
  runtime::DialOptions options = inner_leg(pod(), client, application);
  auto connected = co_await runtime::dial(context_.loop, application, options);
  // The same client port towards the same application, through two services or just closed: the
  // client's address still holds, its port then cannot.
  const bool taken = !connected && connected.error().code == Code::kUnavailable && client.port != 0;
  if (!taken) co_return connected;
  options.source->port = 0;
  co_return co_await runtime::dial(context_.loop, application, options);
}

Task<Result<std::unique_ptr<SocketStream>>> PodProxy::dial_from_pod(SocketAddress to) {
  runtime::DialOptions options;
  options.netns_fd = pod().netns.get();
  options.mark = mark();
  return runtime::dial(context_.loop, to, std::move(options));
}

void PodProxy::rejudge(const learn::State& state) {
  const std::shared_ptr<const learn::Workload> own = state.workload_of_pod(pod().ns, pod().name);
  if (!own) return;  // the pod is leaving: its listeners go with it
  reject([&](const Judged& judged) -> std::optional<Error> {
    Result<void> allowed = authorize_inbound(state, *own, judged.connection_);
    if (allowed) return std::nullopt;
    return std::move(allowed.error()).in("connection closed due to policy change");
  });
}

void PodProxy::break_revoked(const tls::RevocationList& revoked) {
  reject([&](const Judged& judged) -> std::optional<Error> {
    if (!revoked.revokes_any(judged.certificates_)) return std::nullopt;
    return tls::revoked_error(judged.connection_.source->to_string());
  });
  // One without connections is ended as well: nobody revoked may open any.
  const std::set<InboundTunnel*> open = tunnels_;
  for (InboundTunnel* tunnel : open) {
    if (tunnels_.contains(tunnel) && revoked.revokes_any(tunnel->certificates)) tunnel->abort();
  }
  pool_.break_revoked(revoked);
}

// `why`: Judged -> the reason, if there is one. An abort lets a connection end, which takes it out
// of the set: goes through a copy.
template <class Test>
void PodProxy::reject(Test why) {
  const std::set<Judged*> open = judged_;
  for (Judged* judged : open) {
    if (!judged_.contains(judged)) continue;
    std::optional<Error> reason = why(*judged);
    if (!reason) continue;
    judged->rejected_ = std::move(reason);
    if (judged->abort_) judged->abort_();
  }
}

PodProxy::InboundTunnel::InboundTunnel(PodProxy& of, std::vector<tls::CertificateId> peers,
                                       std::function<void()> end)
    : proxy(of), certificates(std::move(peers)), abort(std::move(end)) {
  proxy.tunnels_.insert(this);
}

PodProxy::InboundTunnel::~InboundTunnel() { proxy.tunnels_.erase(this); }

PodProxy::Judged::Judged(PodProxy& proxy, policy::Connection connection,
                         std::vector<tls::CertificateId> certificates)
    : proxy_(proxy), connection_(std::move(connection)), certificates_(std::move(certificates)) {
  proxy_.judged_.insert(this);
  proxy_.context_.memory.connection_opened();  // one of many in a tunnel, which is one guest
}

Result<void> PodProxy::Judged::judge(const learn::Workload& own) {
  return authorize_inbound(*proxy_.context_.view.state(), own, connection_);
}

PodProxy::Judged::~Judged() {
  proxy_.judged_.erase(this);
  proxy_.context_.memory.connection_ended(proxy_.context_.loop);
}

PodProxy::Breakable::Breakable(PodProxy& proxy, std::function<void()> abort,
                               std::function<void()> drain)
    : proxy_(proxy), abort_(std::move(abort)), drain_(std::move(drain)) {
  proxy_.breakables_.insert(this);
  // Accepted before stop() and only here now.
  if (proxy_.broken_) {
    abort_();
  } else if (proxy_.stopping_ && drain_) {
    drain_();
  }
}

PodProxy::Breakable::~Breakable() { proxy_.breakables_.erase(this); }

}  // namespace weft::node
