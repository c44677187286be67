#pragma once

#include "ztunnel/tls/credentials.h"
#include "ztunnel/tls/openssl.h"
#include "ztunnel/tls/revocation.h"
#include "ztunnel/tls/tls_stream.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

// How TLS is set up, and how a peer's certificate is judged. Internal to the room.

namespace weft::tls {

// OpenSSL's per-thread world: algorithms, random generator, locks. All Contexts of a thread share
// one; it goes with the last of them.
using Library = std::shared_ptr<OSSL_LIB_CTX>;
Result<Library> library_of_this_thread();

struct Context::Impl {
  Library library;
  SslContextPtr ssl;
  std::string own_trust_domain;  // mesh only
  std::shared_ptr<const Trust> trust = std::make_shared<const Trust>();
};

enum class Role { kMeshClient, kMeshServer, kControlClient };

// What one handshake expects of the peer, and what came of it.
struct Verification {
  Role role = Role::kMeshClient;
  std::vector<SpiffeId> any_of;        // kMeshClient
  std::string trust_domain;            // kMeshServer
  std::shared_ptr<const Trust> trust;  // mesh: never null
  std::string server_name;             // kControlClient
  std::optional<SpiffeId> proven;      // out, mesh
  std::string refusal;                 // out: why the peer's certificate was refused
  // Out, where revocation is asked for: what a CRL may name.
  std::vector<CertificateId> certificates;
  // Out: what the keys behind the handshake are made of. Never to be logged.
  Secret client_traffic;
  Secret server_traffic;
};

// Makes a session over no transport yet, of which `verification` must outlive the handshake.
Result<SslPtr> make_ssl(Context::Impl& context, Verification& verification);

}  // namespace weft::tls
