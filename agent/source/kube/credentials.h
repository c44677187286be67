#pragma once

#include "agent/source/kube/config.h"
#include "agent/source/kube/exec_plugin.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/sync.h"
#include "ztunnel/tls/tls_stream.h"

#include <chrono>
#include <optional>
#include <string>

namespace weft::source::kube {

// Who we are to the API server, as of now: tokens and certificates are replaced while we run.
// Belongs to one loop's thread.
class Credentials {
 public:
  // A projected token is replaced when 80 % of its life (an hour, or ten minutes at least) is over:
  // to look once a minute is often enough, and more would only cost system calls.
  static constexpr std::chrono::seconds kReadAgain{60};
  // An exec plugin's credentials are renewed so long before they expire.
  static constexpr std::chrono::seconds kExpiryMargin{10};

  Credentials(runtime::Loop& loop, ApiConfig config) : loop_(loop), config_(std::move(config)) {}

  // The bearer token; empty: there is none, a certificate or nothing proves us.
  runtime::Task<Result<std::string>> token();
  // The server said 401 to this token: the next token() looks anew. False: there is nothing new to
  // be had, asking again would be of no use.
  bool reject(const std::string& token);
  // What a new connection trusts and shows.
  runtime::Task<Result<tls::ClientTls>> tls();
  // Changes with the client certificate, to which a connection is bound for its life.
  uint64_t certificate_generation() const { return certificate_generation_; }

 private:
  runtime::Task<Result<void>> renew_exec();
  Result<std::string> token_from_file();

  runtime::Loop& loop_;
  ApiConfig config_;
  std::string token_;
  std::optional<std::chrono::steady_clock::time_point> read_at_;
  std::optional<ExecCredential> exec_;
  uint64_t certificate_generation_ = 0;
  bool running_ = false;  // the plugin: once for all who ask
  runtime::Event ran_;
};

}  // namespace weft::source::kube
