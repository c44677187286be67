#include "ztunnel/tls/session.h"

#include "ztunnel/base/check.h"
#include "ztunnel/tls/alerts.h"

#include <algorithm>
#include <cstring>

namespace weft::tls {
namespace {

// The alert that the peer sent, if that is what the latest error is; 0 otherwise.
int alert_of(unsigned long error) {
  const int reason = ERR_GET_REASON(error);
  if (ERR_GET_LIB(error) != ERR_LIB_SSL || reason <= SSL_AD_REASON_OFFSET) return 0;
  return reason - SSL_AD_REASON_OFFSET;
}

}  // namespace

Session::Session(Context::Impl& context, runtime::BufferPool& pool, uint64_t records_per_key)
    : pool_(pool),
      library_(context.library.get()),
      records_per_key_(records_per_key),
      outgoing_(pool) {}

Session::~Session() = default;

Result<std::unique_ptr<Session>> Session::make(Context::Impl& context, Verification expected,
                                               runtime::BufferPool& pool,
                                               uint64_t records_per_key) {
  std::unique_ptr<Session> session(new Session(context, pool, records_per_key));
  session->verification_ = std::make_unique<Verification>(std::move(expected));
  session->ssl_ = TRY(make_ssl(context, *session->verification_));
  BIO* bio = BIO_new(bio_method());
  if (bio == nullptr) return fail(Code::kInternal, "BIO_new: " + take_openssl_error());
  BIO_set_data(bio, session.get());
  BIO_set_init(bio, 1);
  SSL_set_bio(session->ssl_.get(), bio, bio);
  return session;
}

Result<Session::Progress> Session::handshake() {
  if (broken_) return Fail(*broken_);
  if (records_) return Progress::kDone;
  ERR_clear_error();
  const int done = SSL_do_handshake(ssl_.get());
  if (done != 1) {
    if (SSL_get_error(ssl_.get(), done) == SSL_ERROR_WANT_READ) return Progress::kNeedsInput;
    broken_ = handshake_error();
    return Fail(*broken_);
  }
  Result<void> taken_over = take_over();
  if (taken_over) return Progress::kDone;
  broken_ = std::move(taken_over.error());
  return Fail(*broken_);
}

// The secrets of both directions are new and nothing was sent or read under them: tickets are not
// issued, and OpenSSL reads one record at a time. So both begin with record 0, and what else has
// come is theirs.
Result<void> Session::take_over() {
  const unsigned char* name = nullptr;
  unsigned int size = 0;
  SSL_get0_alpn_selected(ssl_.get(), &name, &size);
  alpn_.assign(reinterpret_cast<const char*>(name), size);
  if (alpn_ != "h2") {
    return fail(Code::kRefused, "peer chose no application protocol (ALPN), expected h2");
  }
  if (SSL_has_pending(ssl_.get()) != 0) {
    return fail(Code::kInternal, "TLS: OpenSSL read on behind the handshake");
  }
  const SSL_CIPHER* cipher = SSL_get_current_cipher(ssl_.get());
  const Suite suite = TRY(suite_of(cipher));
  cipher_ = SSL_CIPHER_get_name(cipher);
  const bool server = SSL_is_server(ssl_.get()) != 0;
  Secret& ours = server ? verification_->server_traffic : verification_->client_traffic;
  Secret& peers = server ? verification_->client_traffic : verification_->server_traffic;
  records_.emplace(server ? Records::Side::kServer : Records::Side::kClient,
                   TRY(TrafficKey::make(suite, std::move(ours), library_)),
                   TRY(TrafficKey::make(suite, std::move(peers), library_)), records_per_key_,
                   pool_, outgoing_);
  if (!incoming_.empty()) records_->feed(std::move(incoming_));
  ssl_.reset();
  return {};
}

void Session::feed(runtime::Buffer ciphertext) {
  if (records_) return records_->feed(std::move(ciphertext));
  CHECK(incoming_.empty());
  incoming_ = std::move(ciphertext);
}

Error Session::handshake_error() {
  const int alert = alert_of(ERR_peek_last_error());
  const std::string reason = take_openssl_error();
  if (!verification_->refusal.empty()) return {Code::kRefused, verification_->refusal};
  if (alert != 0) {
    return {Code::kRefused, "peer refused the TLS handshake " + words_of_alert(alert)};
  }
  return {Code::kRefused, "TLS handshake failed: " + reason};
}

int Session::bio_read(BIO* bio, char* into, size_t size, size_t* done) {
  auto& session = *static_cast<Session*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  if (session.incoming_.empty()) {
    BIO_set_retry_read(bio);
    return 0;
  }
  *done = std::min(size, session.incoming_.size());
  std::memcpy(into, session.incoming_.data(), *done);
  session.incoming_.trim_front(*done);
  if (session.incoming_.empty()) session.incoming_.clear();  // gives its storage back
  return 1;
}

int Session::bio_write(BIO* bio, const char* from, size_t size, size_t* done) {
  auto& session = *static_cast<Session*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  *done = size;
  session.outgoing_.append({reinterpret_cast<const uint8_t*>(from), size});
  return 1;
}

long Session::bio_control(BIO* /*bio*/, int command, long /*number*/, void* /*pointer*/) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

BIO_METHOD* Session::bio_method() {
  static const BioMethodPtr method = [] {
    BioMethodPtr made(BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "weft session"));
    CHECK(made != nullptr);
    BIO_meth_set_read_ex(made.get(), bio_read);
    BIO_meth_set_write_ex(made.get(), bio_write);
    BIO_meth_set_ctrl(made.get(), bio_control);
    return made;
  }();
  return method.get();
}

}  // namespace weft::tls
