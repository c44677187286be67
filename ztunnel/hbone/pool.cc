// One entry for each key, with its tunnels. A tunnel is a task that runs its HTTP/2 connection and
// takes itself out of the entry at its end. Setting one up is a task too: those who need the same
// tunnel meanwhile wait for its Setup, and each of them learns its outcome.

#include "ztunnel/hbone/pool.h"

#include "ztunnel/hbone/headers.h"
#include "ztunnel/hbone/tunnel.h"
#include "ztunnel/runtime/sync.h"

#include <algorithm>
#include <list>
#include <map>

namespace weft::hbone {

using http::H2Stream;
using runtime::Task;

namespace {

constexpr int kOk = 200;
constexpr int kUnauthorized = 401;
// How often a CONNECT is sent that the peer says it has not touched.
constexpr int kAttempts = 2;

using TunnelPtr = std::shared_ptr<Tunnel>;

template <class T>
using Opened = std::expected<T, OpenError>;

std::unexpected<OpenError> open_error(Error error, Flag flag, int status = 0) {
  return std::unexpected(OpenError{std::move(error), flag, status});
}

std::unexpected<OpenError> leaving() {
  return open_error(Error(Code::kCancelled, "the pod is leaving"), Flag::kConnect);
}

std::unexpected<OpenError> no_streams(const TunnelKey& key) {
  return open_error(Error(Code::kLimit, "the tunnel to " + key.address.to_string() +
                                            ": the peer takes no streams"),
                    Flag::kConnect);
}

struct Setup {
  runtime::Event done;
  std::optional<OpenError> error;
  TunnelPtr tunnel;                          // where there is no error; it may have ended since
  runtime::ByteStream* transport = nullptr;  // while the handshake is under way
  bool retired = false;                      // its certificate is replaced already
};

struct Entry {
  std::list<TunnelPtr> tunnels;
  std::shared_ptr<Setup> setup;  // being made

  TunnelPtr find(bool (Tunnel::*suits)() const) const {
    const auto found = std::ranges::find_if(
        tunnels, [suits](const TunnelPtr& tunnel) { return ((*tunnel).*suits)(); });
    return found == tunnels.end() ? nullptr : *found;
  }
};

// Why a tunnel broke before the peer said its settings, if it has. In TLS 1.3 a server judges the
// client's certificate when the client's handshake is done already, so its refusal shows here.
OpenError broken_start(const http::H2Connection& connection, Error otherwise) {
  const std::optional<Error>& broken = connection.broken();
  const bool refused = broken && broken->code == Code::kRefused;
  if (refused) return {*broken, Flag::kTlsFailure, 0};
  return {std::move(otherwise), Flag::kH2HandshakeFailure, 0};
}

OpenError no_answer(Error error, const http::H2Connection& connection, bool expired) {
  if (expired) error = Error(Code::kTimeout, "the peer did not answer the CONNECT");
  // One that has said its settings does speak HTTP/2.
  if (connection.has_settings()) return {std::move(error), Flag::kConnect, 0};
  return broken_start(connection, std::move(error));
}

}  // namespace

struct Pool::Impl {
  Impl(runtime::Loop& on, Dial how, const PoolTimes& waits)
      : loop(on), dial(std::move(how)), times(waits) {}

  // `untouched`: it failed, and the peer says that it did nothing with the CONNECT.
  Task<Opened<Tunnelled>> open_once(const TunnelKey& key, std::shared_ptr<tls::Context> context,
                                    const ConnectRequest& request, bool& untouched);
  Task<Opened<TunnelPtr>> tunnel_for(const TunnelKey& key, std::shared_ptr<tls::Context> context);
  Task<void> set_up(TunnelKey key, std::shared_ptr<tls::Context> context,
                    std::shared_ptr<Setup> setup);
  Task<Opened<TunnelPtr>> make_tunnel(const TunnelKey& key, std::shared_ptr<tls::Context> context,
                                      Setup& setup);
  Task<void> run_tunnel(TunnelKey key, TunnelPtr tunnel);
  std::vector<TunnelPtr> all_tunnels() const;
  void abort_all();

  runtime::Loop& loop;
  Dial dial;
  PoolTimes times;
  std::map<TunnelKey, Entry> entries;
  runtime::TaskScope tasks;
  bool closing = false;
};

Task<Opened<TunnelPtr>> Pool::Impl::make_tunnel(const TunnelKey& key,
                                                std::shared_ptr<tls::Context> context,
                                                Setup& setup) {
  using std::chrono::milliseconds;
  const auto until = loop.now() + times.setup_timeout;
  const auto left = [&] {
    return std::max(std::chrono::ceil<milliseconds>(until - loop.now()), milliseconds(1));
  };
  auto transport = co_await dial(key.address);
  if (closing) co_return leaving();
  if (!transport) {
    Error error = std::move(transport.error());
    if (error.code == Code::kTimeout) {
      error = std::move(error).in(
          "connection timed out, maybe a NetworkPolicy is blocking HBONE port " +
          std::to_string(kHbonePort));
    }
    co_return open_error(std::move(error), Flag::kConnect);
  }
  setup.transport = transport->get();
  const runtime::Deadline deadline(loop, left(), [&setup] { setup.transport->abort(); });
  auto tls = co_await tls::connect_mesh(loop, std::move(*transport), std::move(context), key.peers);
  setup.transport = nullptr;
  if (closing) co_return leaving();
  if (!tls && deadline.expired()) {
    co_return open_error(Error(Code::kTimeout, "TLS handshake with " + key.address.to_string() +
                                                   ": the time for the set-up is over"),
                         Flag::kTlsFailure);
  }
  if (!tls) co_return open_error(std::move(tls.error()), Flag::kTlsFailure);
  co_return std::make_shared<Tunnel>(loop, std::move(*tls), times, left());
}

Task<void> Pool::Impl::set_up(TunnelKey key, std::shared_ptr<tls::Context> context,
                              std::shared_ptr<Setup> setup) {
  Opened<TunnelPtr> made = co_await make_tunnel(key, std::move(context), *setup);
  Entry& entry = entries[key];
  entry.setup.reset();
  if (!made) {
    setup->error = std::move(made.error());
    if (entry.tunnels.empty()) entries.erase(key);
    setup->done.set();
    co_return;
  }
  setup->tunnel = *made;
  entry.tunnels.push_back(*made);
  tasks.spawn(run_tunnel(key, *made));
  (*made)->check_idle();
  setup->done.set();
  if (setup->retired) (*made)->retire();
}

Task<void> Pool::Impl::run_tunnel(TunnelKey key, TunnelPtr tunnel) {
  static_cast<void>(co_await tunnel->connection().run());
  const auto found = entries.find(key);
  if (found == entries.end()) co_return;
  found->second.tunnels.remove(tunnel);
  if (found->second.tunnels.empty() && !found->second.setup) entries.erase(found);
}

// A tunnel with room, of which the caller must open a stream before anything else runs.
Task<Opened<TunnelPtr>> Pool::Impl::tunnel_for(const TunnelKey& key,
                                               std::shared_ptr<tls::Context> context) {
  const auto ended_early = [&key](const http::H2Connection& connection) {
    return std::unexpected(
        broken_start(connection, Error(Code::kReset, "the tunnel to " + key.address.to_string() +
                                                         " ended before it was set up")));
  };
  int ended = 0;
  while (!closing) {
    Entry& entry = entries[key];
    if (TunnelPtr tunnel = entry.find(&Tunnel::has_room)) co_return tunnel;
    if (const TunnelPtr starting = entry.find(&Tunnel::is_starting)) {
      const bool started = co_await starting->connection().wait_settings();
      if (!started) co_return ended_early(starting->connection());
      if (starting->connection().peer_streams_max() == 0) co_return no_streams(key);
      continue;
    }
    std::shared_ptr<Setup> setup = entry.setup;
    if (!setup) {
      if (entry.tunnels.size() >= kTunnelsMax) {
        co_return open_error(
            Error(Code::kLimit, "there are " + std::to_string(kTunnelsMax) + " tunnels to " +
                                    key.address.to_string() + " already, all full"),
            Flag::kConnect);
      }
      setup = std::make_shared<Setup>();
      entry.setup = setup;
      tasks.spawn(set_up(key, context, setup));
    }
    co_await setup->done.wait();
    if (setup->error) co_return std::unexpected(*setup->error);
    // A peer that ends its tunnels at once would otherwise be asked for ever.
    const http::H2Connection& made = setup->tunnel->connection();
    if (made.broken() || (!made.accepts_requests() && ++ended >= kAttempts)) {
      co_return ended_early(made);
    }
  }
  co_return leaving();
}

Task<Opened<Tunnelled>> Pool::Impl::open_once(const TunnelKey& key,
                                              std::shared_ptr<tls::Context> context,
                                              const ConnectRequest& request, bool& untouched) {
  Opened<TunnelPtr> chosen = co_await tunnel_for(key, std::move(context));
  if (!chosen) co_return std::unexpected(std::move(chosen.error()));
  const TunnelPtr tunnel = std::move(*chosen);
  http::H2Connection& connection = tunnel->connection();
  auto stream = connection.request(to_headers(request), false);
  if (!stream) co_return open_error(std::move(stream.error()), Flag::kConnect);
  tunnel->check_idle();
  H2Stream* raw = stream->get();
  const runtime::Deadline deadline(loop, times.answer_timeout, [raw] { raw->abort(); });
  // Otherwise the CONNECT would wait for ever to be sent.
  if (co_await connection.wait_settings() && connection.peer_streams_max() == 0) {
    co_return no_streams(key);
  }
  if (Result<void> answered = co_await raw->wait_headers(); !answered) {
    untouched = answered.error().code == Code::kUnavailable;
    co_return std::unexpected(
        no_answer(std::move(answered.error()), connection, deadline.expired()));
  }
  const int status = status_of(raw->headers());
  if (status != kOk) {
    const bool denied = status == kUnauthorized;
    co_return open_error(Error(denied ? Code::kRefused : Code::kUnavailable,
                               "http status: " + std::to_string(status)),
                         denied ? Flag::kDeny : Flag::kConnect, status);
  }
  Tunnelled tunnelled;
  tunnelled.peer = tunnel->peer();
  tunnelled.baggage = http::find_header(raw->headers(), "baggage");
  raw->forget_headers();
  tunnelled.stream = std::move(*stream);
  co_return tunnelled;
}

std::vector<TunnelPtr> Pool::Impl::all_tunnels() const {
  std::vector<TunnelPtr> tunnels;
  for (const auto& [key, entry] : entries) {
    tunnels.insert(tunnels.end(), entry.tunnels.begin(), entry.tunnels.end());
  }
  return tunnels;
}

void Pool::Impl::abort_all() {
  for (const TunnelPtr& tunnel : all_tunnels()) tunnel->connection().abort();
}

Pool::Pool(runtime::Loop& loop, Dial dial, const PoolTimes& times)
    : impl_(std::make_unique<Impl>(loop, std::move(dial), times)) {}

Pool::~Pool() = default;

Task<Opened<Tunnelled>> Pool::open(TunnelKey key, std::shared_ptr<tls::Context> context,
                                   ConnectRequest request) {
  for (int attempt = 1;; ++attempt) {
    bool untouched = false;
    Opened<Tunnelled> opened = co_await impl_->open_once(key, context, request, untouched);
    if (opened || !untouched || attempt >= kAttempts || impl_->closing) co_return opened;
  }
}

void Pool::retire(const SpiffeId& source) {
  std::vector<TunnelPtr> tunnels;  // one that is empty ends at once and leaves its entry
  for (const auto& [key, entry] : impl_->entries) {
    if (key.source != source) continue;
    tunnels.insert(tunnels.end(), entry.tunnels.begin(), entry.tunnels.end());
    if (entry.setup) entry.setup->retired = true;
  }
  for (const TunnelPtr& tunnel : tunnels) tunnel->retire();
}

void Pool::break_revoked(const tls::RevocationList& revoked) {
  for (const TunnelPtr& tunnel : impl_->all_tunnels()) {
    if (!revoked.revokes_any(tunnel->certificates())) continue;
    tunnel->retire();
    tunnel->connection().abort(tls::revoked_error(tunnel->peer().to_string()));
  }
}

Task<void> Pool::close(std::chrono::milliseconds limit) {
  impl_->closing = true;
  std::vector<runtime::ByteStream*> handshaking;
  for (const auto& [key, entry] : impl_->entries) {
    if (entry.setup && entry.setup->transport != nullptr) {
      handshaking.push_back(entry.setup->transport);
    }
  }
  for (runtime::ByteStream* transport : handshaking) transport->abort();
  for (const TunnelPtr& tunnel : impl_->all_tunnels()) tunnel->retire();
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
