#pragma once

#include "tests/support/test_authority.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/stream.h"
#include "ztunnel/tls/openssl.h"

#include <memory>
#include <string>

// The other side of a test as plain OpenSSL, configured in ways that ours never is.

namespace weft::tls {

struct RawOptions {
  bool server = false;
  std::string alpn = "h2";  // empty: none
  int version_max = TLS1_3_VERSION;
  std::string suites = "TLS_AES_256_GCM_SHA384";
  std::string groups = "X25519";
  size_t tickets = 0;
};

class RawPeer {
 public:
  // `issued` may be null: no certificate. Checks nothing of its peer.
  RawPeer(runtime::Loop& loop, std::unique_ptr<runtime::ByteStream> transport,
          const testing::Issued* issued, const RawOptions& options);

  runtime::Task<Result<void>> handshake();
  runtime::Task<Result<void>> write(std::string text);
  // The next plain text; empty at close_notify.
  runtime::Task<Result<std::string>> read();
  // Changes our key, and asks the peer to change its own.
  runtime::Task<Result<void>> update_keys();
  SSL* ssl() { return ssl_.get(); }

 private:
  runtime::Task<Result<void>> flush();
  runtime::Task<Result<void>> step(int result);

  runtime::Loop& loop_;
  std::unique_ptr<runtime::ByteStream> transport_;
  std::string alpn_;  // with its length in front
  SslContextPtr context_;
  SslPtr ssl_;
  BIO* in_ = nullptr;
  BIO* out_ = nullptr;
};

}  // namespace weft::tls
