#include "tests/unit/ztunnel/tls/raw_peer.h"

#include "tests/support/run_task.h"
#include "ztunnel/base/check.h"
#include "ztunnel/tls/x509.h"

namespace weft::tls {
namespace {

int choose_first(SSL* /*ssl*/, const unsigned char** chosen, unsigned char* chosen_size,
                 const unsigned char* /*offered*/, unsigned int /*offered_size*/, void* wanted) {
  const auto& text = *static_cast<const std::string*>(wanted);
  *chosen = reinterpret_cast<const unsigned char*>(text.data() + 1);
  *chosen_size = static_cast<unsigned char>(text.size() - 1);
  return SSL_TLSEXT_ERR_OK;
}

int accept_anybody(X509_STORE_CTX* /*store*/, void* /*unused*/) { return 1; }

void use(SSL_CTX* context, const testing::Issued& issued) {
  const auto* der = reinterpret_cast<const unsigned char*>(issued.key_der.bytes().data());
  const KeyPtr key(
      d2i_AutoPrivateKey(nullptr, &der, static_cast<long>(issued.key_der.bytes().size())));
  const auto certificates = parse_certificates(issued.certificate_pem, nullptr);
  CHECK(SSL_CTX_use_certificate(context, certificates->front().get()) == 1);
  CHECK(SSL_CTX_use_PrivateKey(context, key.get()) == 1);
}

}  // namespace

RawPeer::RawPeer(runtime::Loop& loop, std::unique_ptr<runtime::ByteStream> transport,
                 const testing::Issued* issued, const RawOptions& options)
    : loop_(loop), transport_(std::move(transport)), context_(SSL_CTX_new(TLS_method())) {
  SSL_CTX* context = context_.get();
  SSL_CTX_set_max_proto_version(context, options.version_max);
  CHECK(SSL_CTX_set_ciphersuites(context, options.suites.c_str()) == 1);
  CHECK(SSL_CTX_set1_groups_list(context, options.groups.c_str()) == 1);
  SSL_CTX_set_num_tickets(context, options.tickets);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_cert_verify_callback(context, accept_anybody, nullptr);
  if (issued != nullptr) use(context, *issued);
  if (!options.alpn.empty()) {
    alpn_ = std::string(1, static_cast<char>(options.alpn.size())) + options.alpn;
    SSL_CTX_set_alpn_protos(context, reinterpret_cast<const unsigned char*>(alpn_.data()),
                            static_cast<unsigned int>(alpn_.size()));
    SSL_CTX_set_alpn_select_cb(context, choose_first, &alpn_);
  }
  ssl_.reset(SSL_new(context));
  in_ = BIO_new(BIO_s_mem());
  out_ = BIO_new(BIO_s_mem());
  SSL_set_bio(ssl_.get(), in_, out_);
  if (options.server) {
    SSL_set_accept_state(ssl_.get());
  } else {
    SSL_set_connect_state(ssl_.get());
  }
}

runtime::Task<Result<void>> RawPeer::flush() {
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(out_, &bytes);
  const std::string text(bytes, static_cast<size_t>(size));
  (void)BIO_reset(out_);
  co_return co_await testing::send(loop_, *transport_, text);
}

// Sends what a call left behind, and where it wants more to read, reads.
runtime::Task<Result<void>> RawPeer::step(int result) {
  const int why = SSL_get_error(ssl_.get(), result);
  const std::string reason = take_openssl_error();
  CO_TRY(co_await flush());
  if (result > 0) co_return Result<void>();
  if (why != SSL_ERROR_WANT_READ) co_return fail(Code::kRefused, reason);
  const runtime::Buffer received = CO_TRY(co_await transport_->read());
  if (received.empty()) co_return fail(Code::kClosed, "the transport ended");
  BIO_write(in_, received.data(), static_cast<int>(received.size()));
  co_return Result<void>();
}

runtime::Task<Result<void>> RawPeer::handshake() {
  while (true) {
    ERR_clear_error();
    const int result = SSL_do_handshake(ssl_.get());
    CO_TRY(co_await step(result));
    if (result == 1) co_return Result<void>();
  }
}

runtime::Task<Result<void>> RawPeer::write(std::string text) {
  ERR_clear_error();
  const int result = SSL_write(ssl_.get(), text.data(), static_cast<int>(text.size()));
  co_return co_await step(result);
}

runtime::Task<Result<std::string>> RawPeer::read() {
  std::string text(64 * 1024, '\0');
  while (true) {
    ERR_clear_error();
    const int result = SSL_read(ssl_.get(), text.data(), static_cast<int>(text.size()));
    if (SSL_get_error(ssl_.get(), result) == SSL_ERROR_ZERO_RETURN) co_return std::string();
    CO_TRY(co_await step(result));
    if (result <= 0) continue;
    text.resize(static_cast<size_t>(result));
    co_return text;
  }
}

runtime::Task<Result<void>> RawPeer::update_keys() {
  ERR_clear_error();
  if (SSL_key_update(ssl_.get(), SSL_KEY_UPDATE_REQUESTED) != 1) {
    co_return fail(Code::kInternal, take_openssl_error());
  }
  const int result = SSL_do_handshake(ssl_.get());
  co_return co_await step(result);
}

}  // namespace weft::tls
