// One entry for each key, with its tunnels. A tunnel is a task that runs its HTTP/2 connection and
// takes itself out of the entry at its end. Setting one up is a task too: those who need the same
// tunnel meanwhile wait for its Setup, and each of them learns its outcome.

#include "ztunnel/hbone/pool.h"

#include "ztunnel/http/h2_connection.h"
#include "ztunnel/runtime/sync.h"

#include <algorithm>
#include <list>
#include <map>

namespace weft::hbone {

using http::H2Connection;
using http::H2Stream;
using http::Header;
using runtime::Task;

namespace {

http::H2Options client_options() {
  http::H2Options options;
  options.role = http::H2Role::kClient;
  options.limits.streams_max = 0;
  options.limits.header_list_bytes_max = 16U << 10;
  options.ping_every = Pool::kPingEvery;
  options.ping_timeout = Pool::kPingTimeout;
  return options;
}

std::vector<Header> connect_headers(const ConnectRequest& request) {
  std::vector<Header> headers{{":method", "CONNECT"}, {":authority", request.authority}};
  const auto add = [&headers](std::string_view name, const std::string& value) {
    if (!value.empty()) headers.push_back({std::string(name), value});
  };
  add("baggage", request.baggage);
  add("forwarded", request.forwarded);
  add("traceparent", request.traceparent);
  return headers;
}

std::unexpected<OpenError> open_error(Error error, Flag flag, int status = 0) {
  return std::unexpected(OpenError{std::move(error), flag, status});
}

// One tunnel. Ends by itself when it is retired and empty, or has been empty for kIdleMax.
struct Tunnel {
  Tunnel(runtime::Loop& on, std::unique_ptr<tls::TlsStream> transport)
      : loop(on),
        peer(transport->peer().identity.value_or(SpiffeId{})),
        connection(on, std::move(transport), client_options()) {
    connection.on_stream_gone([this] { check_idle(); });
  }
  ~Tunnel() { loop.unschedule(idle_timer); }

  bool has_room() const {
    const size_t most = std::min<size_t>(Pool::kStreamsMax, connection.peer_streams_max());
    return !retired && connection.accepts_requests() && connection.streams() + opening < most;
  }
  void retire() {
    retired = true;
    check_idle();
  }
  void check_idle() {
    loop.unschedule(std::exchange(idle_timer, 0));
    if (connection.streams() + opening > 0) return;
    if (retired) {
      connection.drain();
    } else {
      idle_timer = loop.schedule(Pool::kIdleMax, [this] {
        idle_timer = 0;
        connection.drain();
      });
    }
  }

  runtime::Loop& loop;
  SpiffeId peer;
  H2Connection connection;
  size_t opening = 0;  // who has been given this tunnel and has not asked for its stream yet
  bool retired = false;
  runtime::TimerId idle_timer = 0;
};

using TunnelPtr = std::shared_ptr<Tunnel>;

struct Setup {
  runtime::Event done;
  std::optional<OpenError> error;
};

struct Entry {
  std::list<TunnelPtr> tunnels;
  std::shared_ptr<Setup> setup;  // being made
};

}  // namespace

struct Pool::Impl {
  Impl(runtime::Loop& on, Dial how) : loop(on), dial(std::move(how)) {}

  Task<std::expected<TunnelPtr, OpenError>> tunnel_for(TunnelKey key,
                                                       std::shared_ptr<tls::Context> context);
  Task<void> set_up(TunnelKey key, std::shared_ptr<tls::Context> context,
                    std::shared_ptr<Setup> setup);
  Task<std::expected<std::unique_ptr<tls::TlsStream>, OpenError>> handshake(
      const TunnelKey& key, std::shared_ptr<tls::Context> context);
  Task<void> run_tunnel(TunnelKey key, TunnelPtr tunnel);
  void abort_all();

  runtime::Loop& loop;
  Dial dial;
  std::map<TunnelKey, Entry> entries;
  runtime::TaskScope tasks;
  bool closing = false;
};

Task<std::expected<std::unique_ptr<tls::TlsStream>, OpenError>> Pool::Impl::handshake(
    const TunnelKey& key, std::shared_ptr<tls::Context> context) {
  auto transport = co_await dial(key.address);
  if (!transport) {
    const bool timed_out = transport.error().code == Code::kTimeout;
    Error error = std::move(transport.error());
    if (timed_out) {
      error = std::move(error).in(
          "connection timed out, maybe a NetworkPolicy is blocking HBONE port " +
          std::to_string(kHbonePort));
    }
    co_return open_error(std::move(error), Flag::kConnect);
  }
  runtime::ByteStream* raw = transport->get();
  const runtime::Deadline deadline(loop, kSetupTimeout, [raw] { raw->abort(); });
  auto tls = co_await tls::connect_mesh(loop, std::move(*transport), std::move(context), key.peers);
  if (!tls) co_return open_error(std::move(tls.error()), Flag::kTlsFailure);
  co_return std::move(*tls);
}

Task<void> Pool::Impl::set_up(TunnelKey key, std::shared_ptr<tls::Context> context,
                              std::shared_ptr<Setup> setup) {
  auto tls = co_await handshake(key, std::move(context));
  Entry& entry = entries[key];
  entry.setup.reset();
  if (!tls) {
    setup->error = std::move(tls.error());
  } else if (closing) {
    (*tls)->abort();
    setup->error = OpenError{Error(Code::kCancelled, "the pod is leaving"), Flag::kConnect};
  } else {
    auto tunnel = std::make_shared<Tunnel>(loop, std::move(*tls));
    entry.tunnels.push_back(tunnel);
    tasks.spawn(run_tunnel(key, std::move(tunnel)));
  }
  if (setup->error && entry.tunnels.empty()) entries.erase(key);
  setup->done.set();
}

Task<void> Pool::Impl::run_tunnel(TunnelKey key, TunnelPtr tunnel) {
  static_cast<void>(co_await tunnel->connection.run());
  const auto found = entries.find(key);
  if (found == entries.end()) co_return;
  found->second.tunnels.remove(tunnel);
  if (found->second.tunnels.empty() && !found->second.setup) entries.erase(found);
}

Task<std::expected<TunnelPtr, OpenError>> Pool::Impl::tunnel_for(
    TunnelKey key, std::shared_ptr<tls::Context> context) {
  while (true) {
    if (closing) {
      co_return open_error(Error(Code::kCancelled, "the pod is leaving"), Flag::kConnect);
    }
    Entry& entry = entries[key];
    for (const TunnelPtr& tunnel : entry.tunnels) {
      if (!tunnel->has_room()) continue;
      ++tunnel->opening;
      co_return tunnel;
    }
    std::shared_ptr<Setup> setup = entry.setup;
    if (!setup) {
      setup = std::make_shared<Setup>();
      entry.setup = setup;
      tasks.spawn(set_up(key, context, setup));
    }
    co_await setup->done.wait();
    if (setup->error) co_return std::unexpected(*setup->error);
  }
}

void Pool::Impl::abort_all() {
  std::vector<TunnelPtr> tunnels;  // an abort changes the entries
  for (const auto& [key, entry] : entries) {
    tunnels.insert(tunnels.end(), entry.tunnels.begin(), entry.tunnels.end());
  }
  for (const TunnelPtr& tunnel : tunnels) tunnel->connection.abort();
}

Pool::Pool(runtime::Loop& loop, Dial dial) : impl_(std::make_unique<Impl>(loop, std::move(dial))) {}

Pool::~Pool() = default;

Task<std::expected<Tunnelled, OpenError>> Pool::open(TunnelKey key,
                                                     std::shared_ptr<tls::Context> context,
                                                     ConnectRequest request) {
  auto chosen = co_await impl_->tunnel_for(std::move(key), std::move(context));
  if (!chosen) co_return std::unexpected(std::move(chosen.error()));
  const TunnelPtr tunnel = std::move(*chosen);
  auto stream = tunnel->connection.request(connect_headers(request), false);
  --tunnel->opening;
  tunnel->check_idle();
  if (!stream) co_return open_error(std::move(stream.error()), Flag::kH2HandshakeFailure);
  H2Stream* raw = stream->get();
  const runtime::Deadline deadline(impl_->loop, kAnswerTimeout, [raw] { raw->abort(); });
  if (Result<void> answered = co_await raw->wait_headers(); !answered) {
    if (deadline.expired()) {
      co_return open_error(Error(Code::kTimeout, "the peer did not answer the CONNECT"),
                           Flag::kConnect);
    }
    co_return open_error(std::move(answered.error()), Flag::kConnect);
  }
  const std::string_view status = http::find_header(raw->headers(), ":status");
  if (status != "200") {
    const int number = std::atoi(std::string(status).c_str());
    co_return open_error(Error(number == 401 ? Code::kRefused : Code::kUnavailable,
                               "http status: " + std::string(status)),
                         number == 401 ? Flag::kDeny : Flag::kConnect, number);
  }
  Tunnelled tunnelled;
  tunnelled.peer = tunnel->peer;
  tunnelled.baggage = http::find_header(raw->headers(), "baggage");
  tunnelled.stream = std::move(*stream);
  co_return tunnelled;
}

void Pool::retire(const SpiffeId& source) {
  std::vector<TunnelPtr> tunnels;  // one that is empty ends at once and leaves its entry
  for (const auto& [key, entry] : impl_->entries) {
    if (key.source != source) continue;
    tunnels.insert(tunnels.end(), entry.tunnels.begin(), entry.tunnels.end());
  }
  for (const TunnelPtr& tunnel : tunnels) tunnel->retire();
}

Task<void> Pool::close(std::chrono::milliseconds limit) {
  impl_->closing = true;
  std::vector<TunnelPtr> tunnels;
  for (const auto& [key, entry] : impl_->entries) {
    tunnels.insert(tunnels.end(), entry.tunnels.begin(), entry.tunnels.end());
  }
  for (const TunnelPtr& tunnel : tunnels) tunnel->retire();
  tunnels.clear();
  if (limit.count() == 0) impl_->abort_all();
  const runtime::Deadline deadline(impl_->loop, limit, [this] { impl_->abort_all(); });
  co_await impl_->tasks.join();
}

size_t Pool::tunnels() const {
  size_t count = 0;
  for (const auto& [key, entry] : impl_->entries) count += entry.tunnels.size();
  return count;
}

}  // namespace weft::hbone
