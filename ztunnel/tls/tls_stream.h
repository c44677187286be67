#pragma once

#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/stream.h"
#include "ztunnel/tls/credentials.h"
#include "ztunnel/tls/revocation.h"

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace weft::tls {

// What a client of ordinary servers (one that is known by a name, not by an identity) trusts and
// shows.
struct ClientTls {
  std::string roots_pem;
  bool verify = true;          // false: any certificate will do, and roots_pem is not read
  std::string chain_pem = {};  // our certificate, leaf first; empty: none
  Secret key_pem = {};         // its key
};

// What one worker needs to make TLS sessions with one identity. Holds an OpenSSL library context of
// its own thread (a shared one serializes the workers). Belongs to the thread that made it. Mesh
// TLS, both directions: TLS 1.3 only, AES-128-GCM or AES-256-GCM, ALPN "h2", client certificate
// mandatory, no SNI, no resumption (reference: ztunnel 1.5).
class Context {
 public:
  static Result<std::shared_ptr<Context>> make(std::shared_ptr<const Credentials> credentials);
  // A client that verifies a server by name against `roots_pem` and shows no certificate; ALPN
  // "h2". For the control plane: xDS, CA.
  static Result<std::shared_ptr<Context>> make_client(const std::string& roots_pem);
  // The same for another server: a Kubernetes API server. kInvalid says which part is malformed,
  // and whether certificate and key belong together.
  static Result<std::shared_ptr<Context>> make_client(const ClientTls& tls);
  ~Context();
  // For handshakes that begin from now on.
  void set_trust(std::shared_ptr<const Trust> trust);
  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  explicit Context(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Who the other side proved to be.
struct Peer {
  std::optional<SpiffeId> identity;  // mesh TLS: always; control-plane TLS: none
  std::string cipher;
  std::string alpn;
  // What a CRL may name: the certificates of its chain but the root. Only where CRLs are kept.
  std::vector<CertificateId> certificates;
};

class TlsStream : public runtime::ByteStream {
 public:
  virtual const Peer& peer() const = 0;
};

// Handshakes as a mesh client. The server's leaf must chain to the roots, be good for server
// authentication and carry a URI SAN among `any_of` (not empty). kRefused with a message that names
// what was proven and what was expected otherwise.
runtime::Task<Result<std::unique_ptr<TlsStream>>> connect_mesh(
    runtime::Loop& loop, std::unique_ptr<runtime::ByteStream> transport,
    std::shared_ptr<Context> context, std::vector<SpiffeId> any_of);

// Handshakes as a mesh server. The client's leaf must chain to the roots, be good for client
// authentication, carry exactly one URI SAN, and that of our own trust domain or an alias of it.
// Neither side may have been revoked: see Trust.
runtime::Task<Result<std::unique_ptr<TlsStream>>> accept_mesh(
    runtime::Loop& loop, std::unique_ptr<runtime::ByteStream> transport,
    std::shared_ptr<Context> context);

// Handshakes with the control plane, which must prove the DNS name (or IP address) `server_name`.
runtime::Task<Result<std::unique_ptr<TlsStream>>> connect_control(
    runtime::Loop& loop, std::unique_ptr<runtime::ByteStream> transport,
    std::shared_ptr<Context> context, std::string server_name);

}  // namespace weft::tls
