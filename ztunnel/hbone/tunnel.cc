#include "ztunnel/hbone/tunnel.h"

#include <algorithm>
#include <utility>

namespace weft::hbone {
namespace {

constexpr uint32_t kClientHeaderListBytesMax = 16U << 10;  // as ztunnel's client

http::H2Options client_options(const PoolTimes& times, std::chrono::milliseconds settings_limit) {
  http::H2Options options;
  options.role = http::H2Role::kClient;
  options.limits.streams_max = 0;
  options.limits.header_list_bytes_max = kClientHeaderListBytesMax;
  options.ping_every = times.ping_every;
  options.ping_timeout = times.ping_timeout;
  options.preface_timeout = settings_limit;
  return options;
}

}  // namespace

Tunnel::Tunnel(runtime::Loop& loop, std::unique_ptr<tls::TlsStream> transport,
               const PoolTimes& times, std::chrono::milliseconds settings_limit)
    : loop_(loop),
      idle_max_(times.idle_max),
      peer_(transport->peer().identity.value_or(SpiffeId{})),
      certificates_(transport->peer().certificates),
      connection_(loop, std::move(transport), client_options(times, settings_limit)) {
  connection_.on_stream_gone([this] { check_idle(); });
}

Tunnel::~Tunnel() { loop_.unschedule(idle_timer_); }

bool Tunnel::has_room() const {
  if (retired_ || !connection_.accepts_requests()) return false;
  const size_t most = connection_.has_settings()
                          ? std::min<size_t>(Pool::kStreamsMax, connection_.peer_streams_max())
                          : 1;
  return connection_.streams() < most;
}

bool Tunnel::is_starting() const {
  return !retired_ && connection_.accepts_requests() && !connection_.has_settings();
}

void Tunnel::retire() {
  retired_ = true;
  check_idle();
}

void Tunnel::check_idle() {
  loop_.unschedule(std::exchange(idle_timer_, 0));
  if (connection_.streams() > 0) return;
  if (retired_) {
    connection_.drain();
    return;
  }
  idle_timer_ = loop_.schedule(idle_max_, [this] {
    idle_timer_ = 0;
    if (connection_.streams() == 0) connection_.drain();
  });
}

}  // namespace weft::hbone
