#include "ztunnel/tls/context.h"

#include "ztunnel/base/ip.h"
#include "ztunnel/tls/x509.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <span>
#include <string_view>

namespace weft::tls {
namespace {

constexpr unsigned char kAlpn[] = {2, 'h', '2'};
// The cheaper one first, as BoringSSL has it on processors with AES instructions.
constexpr char kSuites[] = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384";
constexpr char kGroups[] = "X25519:P-256:P-384";
// 112 bits: RSA from 2048, no SHA-1.
constexpr int kSecurityLevel = 2;
// A chain of ten certificates is under 20 KiB; what a stranger may make us buffer.
constexpr long kPeerChainBytesMax = 64 * 1024;

Fail openssl_fail(const char* what) {
  return fail(Code::kInternal, std::string(what) + ": " + take_openssl_error());
}

std::string list_of(std::span<const SpiffeId> identities) {
  constexpr size_t kShownMax = 4;
  std::string text;
  for (size_t i = 0; i < identities.size(); ++i) {
    if (i == kShownMax) return text + " or " + std::to_string(identities.size() - i) + " others";
    if (i > 0) text += " or ";
    text += identities[i].to_string();
  }
  return text;
}

bool judge_server(const X509* leaf, Verification& verification) {
  const Result<std::vector<std::string>> uris = uri_names(leaf);
  if (uris) {
    for (const SpiffeId& wanted : verification.any_of) {
      if (std::ranges::find(*uris, wanted.to_string()) == uris->end()) continue;
      verification.proven = wanted;
      return true;
    }
  }
  verification.refusal =
      "peer proved " + describe_names(leaf) + ", expected " + list_of(verification.any_of);
  return false;
}

bool is_accepted(const std::string& trust_domain, const Verification& verification) {
  return trust_domain == verification.trust_domain ||
         std::ranges::find(verification.trust->trust_domain_aliases, trust_domain) !=
             verification.trust->trust_domain_aliases.end();
}

// Remembers the peer's chain, and looks for it among what was revoked. The root is what we trust:
// it is taken back by no longer trusting it.
bool judge_revocation(const STACK_OF(X509) * chain, Verification& verification) {
  const RevocationList* revoked = verification.trust->revoked.get();
  if (revoked == nullptr) return true;
  const int count = std::max(1, sk_X509_num(chain) - 1);
  for (int i = 0; i < count; ++i) {
    X509* certificate = sk_X509_value(chain, i);
    verification.certificates.push_back(id_of(certificate));
    if (!revoked->revokes(verification.certificates.back())) continue;
    verification.refusal = revoked_error(describe_names(sk_X509_value(chain, 0))).to_string() +
                           (i == 0 ? " (serial " : " (an intermediate's, serial ") +
                           serial_of(certificate) + ")";
    return false;
  }
  return true;
}

bool judge_client(const X509* leaf, Verification& verification) {
  const Result<std::vector<std::string>> uris = uri_names(leaf);
  if (!uris || uris->size() != 1) {
    verification.refusal =
        "peer proved " + describe_names(leaf) + ", expected exactly one SPIFFE identity";
    return false;
  }
  Result<SpiffeId> identity = SpiffeId::parse(uris->front());
  if (!identity) {
    verification.refusal = "peer's certificate: " + identity.error().to_string();
    return false;
  }
  if (!is_accepted(identity->trust_domain, verification)) {
    verification.refusal = "peer proved " + identity->to_string() +
                           ", expected an identity of trust domain " + verification.trust_domain;
    return false;
  }
  verification.proven = *std::move(identity);
  return true;
}

// Called instead of OpenSSL's own check, so that the name is judged together with the chain and
// the peer gets an alert for either.
int judge_peer(X509_STORE_CTX* store, void* /*unused*/) {
  auto* ssl =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto& verification = *static_cast<Verification*>(SSL_get_app_data(ssl));
  const X509* leaf = X509_STORE_CTX_get0_cert(store);
  const bool control = verification.role == Role::kControlClient;
  if (X509_verify_cert(store) != 1) {
    const std::string reason = X509_verify_cert_error_string(X509_STORE_CTX_get_error(store));
    verification.refusal =
        "peer's certificate (" +
        (control ? "expected " + verification.server_name : describe_names(leaf)) +
        ") does not verify: " + reason;
    return 0;
  }
  if (control) return 1;
  if (!judge_revocation(X509_STORE_CTX_get0_chain(store), verification)) {
    X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REVOKED);
    return 0;
  }
  const bool good = verification.role == Role::kMeshClient ? judge_server(leaf, verification)
                                                           : judge_client(leaf, verification);
  if (!good) X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
  return good ? 1 : 0;
}

// A client that offers no ALPN at all never reaches choose_alpn.
int require_alpn(SSL* ssl, int* alert, void* /*unused*/) {
  const unsigned char* extension = nullptr;
  size_t size = 0;
  if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &extension,
                                &size) == 1) {
    return SSL_CLIENT_HELLO_SUCCESS;
  }
  static_cast<Verification*>(SSL_get_app_data(ssl))->refusal =
      "peer offers no application protocol (ALPN), expected h2";
  *alert = SSL_AD_NO_APPLICATION_PROTOCOL;
  return SSL_CLIENT_HELLO_ERROR;
}

int choose_alpn(SSL* ssl, const unsigned char** chosen, unsigned char* chosen_size,
                const unsigned char* offered, unsigned int offered_size, void* /*unused*/) {
  unsigned char* match = nullptr;
  if (SSL_select_next_proto(&match, chosen_size, kAlpn, sizeof kAlpn, offered, offered_size) ==
      OPENSSL_NPN_NEGOTIATED) {
    *chosen = match;
    return SSL_TLSEXT_ERR_OK;
  }
  static_cast<Verification*>(SSL_get_app_data(ssl))->refusal =
      "peer does not offer application protocol (ALPN) h2";
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

// OpenSSL tells the secrets of a handshake in one way only, as the lines of a key log: "LABEL
// CLIENT_RANDOM SECRET", the latter two in hexadecimal. Ours go no further than into the session
// that takes its records over (records.h).
void note_secret(const SSL* ssl, const char* line) {
  auto* verification = static_cast<Verification*>(SSL_get_app_data(ssl));
  const std::string_view text(line);
  const std::string_view label = text.substr(0, text.find(' '));
  const bool client = label == "CLIENT_TRAFFIC_SECRET_0";
  if (verification == nullptr || (!client && label != "SERVER_TRAFFIC_SECRET_0")) return;
  const char* hex = line + text.rfind(' ') + 1;
  std::string secret(text.size() / 2, '\0');
  size_t size = 0;
  if (OPENSSL_hexstr2buf_ex(reinterpret_cast<unsigned char*>(secret.data()), secret.size(), &size,
                            hex, '\0') != 1) {
    return;
  }
  secret.resize(size);
  (client ? verification->client_traffic : verification->server_traffic) =
      Secret(std::move(secret));
}

Result<void> use_credentials(SSL_CTX* ssl, OSSL_LIB_CTX* library, const Credentials& credentials) {
  const auto* der = reinterpret_cast<const unsigned char*>(credentials.key_der.bytes().data());
  const KeyPtr key(d2i_AutoPrivateKey_ex(
      nullptr, &der, static_cast<long>(credentials.key_der.bytes().size()), library, nullptr));
  if (key == nullptr) return openssl_fail("reading our private key");
  bool is_leaf = true;
  for (const std::string& pem : credentials.chain_pem) {
    for (const X509Ptr& certificate : TRY(parse_certificates(pem, library))) {
      const int used = is_leaf ? SSL_CTX_use_certificate(ssl, certificate.get())
                               : static_cast<int>(SSL_CTX_add1_chain_cert(ssl, certificate.get()));
      if (used != 1) return openssl_fail("using our certificate");
      is_leaf = false;
    }
  }
  if (SSL_CTX_use_PrivateKey(ssl, key.get()) != 1 || SSL_CTX_check_private_key(ssl) != 1) {
    return openssl_fail("using our private key");
  }
  return {};
}

// A certificate and its key as people keep them in files.
Result<void> use_pem(SSL_CTX* ssl, OSSL_LIB_CTX* library, const ClientTls& tls) {
  Result<std::vector<X509Ptr>> chain = parse_certificates(tls.chain_pem, library);
  if (!chain) return Fail(std::move(chain.error()).in("the client certificate"));
  const std::string& pem = tls.key_pem.bytes();
  const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  // Nobody is asked for a passphrase: an empty one is given.
  const KeyPtr key(PEM_read_bio_PrivateKey_ex(bio.get(), nullptr, nullptr, const_cast<char*>(""),
                                              library, nullptr));
  if (key == nullptr) {
    return fail(Code::kInvalid, "the client key: expected an unencrypted private key in PEM (" +
                                    take_openssl_error() + ")");
  }
  bool is_leaf = true;
  for (const X509Ptr& certificate : *chain) {
    const int used = is_leaf ? SSL_CTX_use_certificate(ssl, certificate.get())
                             : static_cast<int>(SSL_CTX_add1_chain_cert(ssl, certificate.get()));
    if (used != 1) return openssl_fail("using the client certificate");
    is_leaf = false;
  }
  if (SSL_CTX_use_PrivateKey(ssl, key.get()) != 1 || SSL_CTX_check_private_key(ssl) != 1) {
    return fail(Code::kInvalid, "the client key does not belong to the client certificate (" +
                                    take_openssl_error() + ")");
  }
  return {};
}

Result<void> trust_roots(Context::Impl& impl, const std::string& roots_pem) {
  const std::vector<X509Ptr> roots = TRY(parse_certificates(roots_pem, impl.library.get()));
  StorePtr store = TRY(make_store(roots));
  SSL_CTX_set_cert_store(impl.ssl.get(), store.release());
  return {};
}

Result<std::unique_ptr<Context::Impl>> make_impl() {
  ERR_clear_error();
  auto impl = std::make_unique<Context::Impl>();
  impl->library = TRY(library_of_this_thread());
  impl->ssl.reset(SSL_CTX_new_ex(impl->library.get(), nullptr, TLS_method()));
  SSL_CTX* ssl = impl->ssl.get();
  if (ssl == nullptr) return openssl_fail("SSL_CTX_new");
  SSL_CTX_set_security_level(ssl, kSecurityLevel);
  SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                               SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                            SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_max_cert_list(ssl, kPeerChainBytesMax);
  if (SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_ciphersuites(ssl, kSuites) != 1 || SSL_CTX_set1_groups_list(ssl, kGroups) != 1 ||
      SSL_CTX_set_num_tickets(ssl, 0) != 1 ||
      SSL_CTX_set_alpn_protos(ssl, kAlpn, sizeof kAlpn) != 0) {
    return openssl_fail("configuring TLS 1.3");
  }
  SSL_CTX_set_alpn_select_cb(ssl, choose_alpn, nullptr);
  SSL_CTX_set_client_hello_cb(ssl, require_alpn, nullptr);
  SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_cert_verify_callback(ssl, judge_peer, nullptr);
  SSL_CTX_set_keylog_callback(ssl, note_secret);
  return impl;
}

// The name that the control plane's certificate must carry: checked by X509_verify_cert.
Result<void> expect_server_name(SSL* ssl, const std::string& name) {
  X509_VERIFY_PARAM* param = SSL_get0_param(ssl);
  if (IpAddress::parse(name)) {
    if (X509_VERIFY_PARAM_set1_ip_asc(param, name.c_str()) == 1) return {};
    return openssl_fail("expecting an IP address");
  }
  X509_VERIFY_PARAM_set_hostflags(
      param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
  if (name.empty() || X509_VERIFY_PARAM_set1_host(param, name.data(), name.size()) != 1 ||
      SSL_set_tlsext_host_name(ssl, name.c_str()) != 1) {
    ERR_clear_error();
    return fail(Code::kInvalid, "control plane: \"" + name + "\" is no DNS name or IP address");
  }
  return {};
}

}  // namespace

Result<Library> library_of_this_thread() {
  thread_local std::weak_ptr<OSSL_LIB_CTX> present;
  if (Library library = present.lock()) return library;
  Library library(OSSL_LIB_CTX_new(), [](OSSL_LIB_CTX* made) {
    if (made == nullptr) return;
    OPENSSL_thread_stop_ex(made);
    OSSL_LIB_CTX_free(made);
  });
  if (library == nullptr) return openssl_fail("OSSL_LIB_CTX_new");
  present = library;
  return library;
}

Result<SslPtr> make_ssl(Context::Impl& context, Verification& verification) {
  ERR_clear_error();
  SslPtr ssl(SSL_new(context.ssl.get()));
  if (ssl == nullptr) return openssl_fail("SSL_new");
  SSL_set_app_data(ssl.get(), &verification);
  if (verification.role == Role::kMeshServer) {
    SSL_set_accept_state(ssl.get());
    return ssl;
  }
  SSL_set_connect_state(ssl.get());
  if (verification.role == Role::kControlClient) {
    TRY(expect_server_name(ssl.get(), verification.server_name));
  }
  return ssl;
}

Context::Context(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Context::~Context() = default;

Result<std::shared_ptr<Context>> Context::make(std::shared_ptr<const Credentials> credentials) {
  std::unique_ptr<Impl> impl = TRY(make_impl());
  TRY(trust_roots(*impl, credentials->roots_pem));
  TRY(use_credentials(impl->ssl.get(), impl->library.get(), *credentials));
  impl->own_trust_domain = credentials->identity.trust_domain;
  return std::shared_ptr<Context>(new Context(std::move(impl)));
}

void Context::set_trust(std::shared_ptr<const Trust> trust) { impl_->trust = std::move(trust); }

Result<std::shared_ptr<Context>> Context::make_client(const std::string& roots_pem) {
  std::unique_ptr<Impl> impl = TRY(make_impl());
  if (Result<void> trusted = trust_roots(*impl, roots_pem); !trusted) {
    return Fail(std::move(trusted.error()).in("trusting the control plane's roots"));
  }
  return std::shared_ptr<Context>(new Context(std::move(impl)));
}

Result<std::shared_ptr<Context>> Context::make_client(const ClientTls& tls) {
  std::unique_ptr<Impl> impl = TRY(make_impl());
  if (!tls.verify) {
    SSL_CTX_set_verify(impl->ssl.get(), SSL_VERIFY_NONE, nullptr);
  } else if (Result<void> trusted = trust_roots(*impl, tls.roots_pem); !trusted) {
    return Fail(std::move(trusted.error()).in("the server's certificate authority"));
  }
  if (!tls.chain_pem.empty()) TRY(use_pem(impl->ssl.get(), impl->library.get(), tls));
  return std::shared_ptr<Context>(new Context(std::move(impl)));
}

}  // namespace weft::tls
