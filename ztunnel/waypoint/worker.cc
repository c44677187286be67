#include "ztunnel/waypoint/worker.h"

#include "ztunnel/runtime/socket.h"
#include "ztunnel/waypoint/listener.h"

namespace weft::waypoint {
namespace {

using runtime::Task;

// A free coroutine because a capturing lambda may not be one.
Task<Result<std::unique_ptr<runtime::ByteStream>>> dial_tunnel(runtime::Loop& loop,
                                                               SocketAddress to) {
  std::unique_ptr<runtime::SocketStream> stream =
      CO_TRY(co_await runtime::dial(loop, to, runtime::DialOptions{}));
  co_return std::unique_ptr<runtime::ByteStream>(std::move(stream));
}

}  // namespace

std::shared_ptr<const learn::Workload> WorkerContext::own_workload() const {
  auto own = view.state()->workload_of_pod(self.ns, self.pod_name);
  if (own != nullptr && own->identity == self.identity) return own;
  auto unknown = std::make_shared<learn::Workload>();
  unknown->name = self.pod_name;
  unknown->ns = self.ns;
  unknown->identity = self.identity;
  return unknown;
}

Worker::Worker(std::unique_ptr<runtime::Loop> loop, learn::Learner& learner,
               telemetry::Shard& metrics, telemetry::RequestShard& request_metrics,
               const Self& self, int listener, std::shared_ptr<role::Sharing> sharing,
               std::shared_ptr<SharedDestinations> destinations, size_t number)
    : loop_(std::move(loop)),
      view_(learner.make_view(*loop_)),
      resolver_(*loop_, self.resolv_conf),
      pool_(*loop_, [this](SocketAddress to) { return dial_tunnel(*loop_, to); }),
      context_{.loop = *loop_,
               .view = *view_,
               .metrics = metrics,
               .self = self,
               .pool = pool_,
               .resolver = resolver_,
               .random = std::mt19937_64(std::random_device{}())},
      upstreams_(*loop_, network_, std::move(destinations)),
      reporter_(*loop_, {.config = context_.config, .state = [this] { return view_->state(); }},
                request_metrics, upstreams_),
      proxy_(*loop_, context_.config, upstreams_, &reporter_),
      place_(std::move(sharing), number, *loop_,
             [this](role::Sharing::Kind, Fd connection) {
               serving_.spawn(serve(std::move(connection)));
             }),
      acceptor_(*loop_, listener,
                [this](Fd connection) { return accepted(std::move(connection)); }) {
  loop_->post([this] {
    view_->observe(this);
    accepting_.spawn(acceptor_.run());
  });
}

Worker::~Worker() = default;

void Worker::run() { loop_->run(); }

void Worker::take_config(std::shared_ptr<const Config> config) {
  loop_->post([this, config = std::move(config)]() mutable {
    context_.config = std::move(config);
    network_.changed();
  });
}

Task<void> Worker::accepted(Fd connection) {
  place_.accepted(role::Sharing::Kind::kTunnel, std::move(connection));
  co_return;
}

Task<void> Worker::serve(Fd connection) {
  context_.memory.connection_opened();
  co_await serve_client(*this, std::move(connection));
  place_.ended(role::Sharing::Kind::kTunnel);
  context_.memory.connection_ended(context_.loop);
}

Worker::Tunnel::Tunnel(Worker& of, std::function<void()> end) : worker(of), abort(std::move(end)) {
  worker.tunnels_.insert(this);
}

Worker::Tunnel::~Tunnel() { worker.tunnels_.erase(this); }

// A call may end tunnels, which take themselves out of the set: goes through a copy.
template <class Call>
void Worker::for_each_tunnel(Call call) {
  const std::set<Tunnel*> open = tunnels_;
  for (Tunnel* tunnel : open) {
    if (tunnels_.contains(tunnel)) call(*tunnel);
  }
}

void Worker::trust_changed() {
  const std::shared_ptr<const tls::RevocationList> revoked = view_->trust().revoked;
  if (!revoked) return;
  for_each_tunnel([&revoked](Tunnel& tunnel) {
    if (revoked->revokes_any(tunnel.certificates)) tunnel.abort();
  });
  pool_.break_revoked(*revoked);
}

void Worker::request_stop(std::chrono::milliseconds limit, std::function<void()> stopped) {
  loop_->post([this, limit, stopped = std::move(stopped)]() mutable {
    loop_->spawn(stop_all(limit, std::move(stopped)));
  });
}

Task<void> Worker::stop_all(std::chrono::milliseconds limit, std::function<void()> stopped) {
  stopping_ = true;
  acceptor_.stop();
  co_await accepting_.join();
  place_.leave();
  proxy_.drain();
  for_each_tunnel([](Tunnel& tunnel) { tunnel.drain ? tunnel.drain() : tunnel.abort(); });
  {
    const auto break_all = [this] { for_each_tunnel([](Tunnel& tunnel) { tunnel.abort(); }); };
    if (limit.count() == 0) break_all();
    const runtime::Deadline deadline(*loop_, limit, break_all);
    co_await serving_.join();
  }
  co_await reporter_.close();
  co_await pool_.close(std::chrono::milliseconds(0));
  co_await resolver_.stop();
  view_->observe(nullptr);
  view_.reset();  // here: its TLS contexts belong to this thread
  stopped();
  loop_->stop();
}

}  // namespace weft::waypoint
