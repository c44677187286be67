#pragma once

#include "ztunnel/base/spiffe_id.h"
#include "ztunnel/hbone/connect.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/stream.h"
#include "ztunnel/tls/tls_stream.h"

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

namespace weft::hbone {

// Which tunnels may be shared: same proven source, same expected peers, same place.
struct TunnelKey {
  SpiffeId source;
  std::vector<SpiffeId> peers;  // any of these may answer
  SocketAddress address;        // pod IP and 15008
  auto operator<=>(const TunnelKey&) const = default;
};

// A stream inside a tunnel, after the peer's 200.
struct Tunnelled {
  std::unique_ptr<runtime::ByteStream> stream;
  SpiffeId peer;
  std::string baggage;  // of the response, may be empty
};

// Why a tunnel could not be had: the flag that metrics and logs carry (ztunnel's response_flags).
enum class Flag { kNone, kConnect, kTlsFailure, kH2HandshakeFailure, kDeny, kIdentity };

struct OpenError {
  Error error;
  Flag flag = Flag::kConnect;
  int status = 0;  // the CONNECT's status where one came (401: refused by policy)
};

// How long a pool waits; other values than Pool's are for tests.
struct PoolTimes {
  std::chrono::milliseconds idle_max;
  std::chrono::milliseconds ping_every;
  std::chrono::milliseconds ping_timeout;
  std::chrono::milliseconds setup_timeout;
  std::chrono::milliseconds answer_timeout;
};

// The tunnels of one pod on one worker. At most kStreamsMax streams (or the peer's own limit) share
// one tunnel, the next opens another; a tunnel without streams ends after kIdleMax. Tasks that ask
// for the same key while a tunnel is being set up wait for that one, and each sees its error if it
// fails. A CONNECT that the peer says it has not touched (its GOAWAY or limit crossed ours) is sent
// once more, on another tunnel if need be.
class Pool {
 public:
  static constexpr size_t kStreamsMax = 100;             // Go's and ztunnel's limit
  static constexpr std::chrono::minutes kIdleMax{5};     // as ztunnel
  static constexpr std::chrono::seconds kPingEvery{10};  // as ztunnel
  static constexpr std::chrono::seconds kPingTimeout{20};
  static constexpr std::chrono::seconds kSetupTimeout{10};  // TCP, TLS and HTTP/2 together
  // The peer connects to its application (10 s at most) before it answers.
  static constexpr std::chrono::seconds kAnswerTimeout{15};
  // Tunnels to one place, of kStreamsMax streams each: as many connections as a client has ports.
  static constexpr size_t kTunnelsMax = 512;
  static constexpr PoolTimes kTimes{kIdleMax, kPingEvery, kPingTimeout, kSetupTimeout,
                                    kAnswerTimeout};

  // Opens a TCP connection from where the pod stands (its own network namespace).
  using Dial =
      std::function<runtime::Task<Result<std::unique_ptr<runtime::ByteStream>>>(SocketAddress)>;

  Pool(runtime::Loop& loop, Dial dial, const PoolTimes& times = kTimes);
  ~Pool();  // close() must have completed, and every open() returned

  // `context` proves key.source. The CONNECT is sent and its answer awaited.
  runtime::Task<std::expected<Tunnelled, OpenError>> open(TunnelKey key,
                                                          std::shared_ptr<tls::Context> context,
                                                          ConnectRequest request);
  // New streams get new tunnels (a rotated certificate); the ones in use go on until they are
  // empty.
  void retire(const SpiffeId& source);
  // Breaks the tunnels to peers that have been revoked, with everything in them.
  void break_revoked(const tls::RevocationList& revoked);
  // Ends every tunnel: in good order and then, after `limit`, at once. Those that are being set up
  // end at once; a dial that is under way is waited for.
  runtime::Task<void> close(std::chrono::milliseconds limit);
  size_t tunnels() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace weft::hbone
