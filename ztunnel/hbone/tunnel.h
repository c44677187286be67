#pragma once

#include "ztunnel/hbone/pool.h"
#include "ztunnel/http/h2_connection.h"

#include <memory>

namespace weft::hbone {

// One tunnel of a pool: an HTTP/2 connection that ends by itself when it is retired and empty, or
// has been empty for long. Internal to the pool.
class Tunnel {
 public:
  // `settings_limit`: by when the peer must have sent its settings.
  Tunnel(runtime::Loop& loop, std::unique_ptr<tls::TlsStream> transport, const PoolTimes& times,
         std::chrono::milliseconds settings_limit);
  ~Tunnel();

  http::H2Connection& connection() { return connection_; }
  const SpiffeId& peer() const { return peer_; }
  // Where CRLs are kept.
  const std::vector<tls::CertificateId>& certificates() const { return certificates_; }

  // Whether another stream may be opened. Until the peer has said how many it takes, one may.
  bool has_room() const;
  // Whether has_room() may become true by waiting for the peer's settings.
  bool is_starting() const;
  // No new streams; ends when it is empty, maybe before this returns.
  void retire();
  // To be called when it may have become empty.
  void check_idle();

 private:
  runtime::Loop& loop_;
  std::chrono::milliseconds idle_max_;
  SpiffeId peer_;
  std::vector<tls::CertificateId> certificates_;
  http::H2Connection connection_;
  bool retired_ = false;
  runtime::TimerId idle_timer_ = 0;
};

}  // namespace weft::hbone
