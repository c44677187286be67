#include "ztunnel/tls/session.h"

#include "ztunnel/base/check.h"

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

bool is_about_certificate(int alert) {
  switch (alert) {
    case SSL_AD_HANDSHAKE_FAILURE:
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_ACCESS_DENIED:
    case SSL_AD_DECRYPT_ERROR:  // a signature in the chain or of the handshake does not fit
    case TLS13_AD_CERTIFICATE_REQUIRED:
      return true;
    default:
      return false;
  }
}

}  // namespace

Session::Session(runtime::BufferPool& pool, uint64_t records_per_key)
    : pool_(pool), records_per_key_(records_per_key) {}

Session::~Session() = default;

Result<std::unique_ptr<Session>> Session::make(Context::Impl& context, Verification expected,
                                               runtime::BufferPool& pool,
                                               uint64_t records_per_key) {
  std::unique_ptr<Session> session(new Session(pool, records_per_key));
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
  ERR_clear_error();
  const int done = SSL_do_handshake(ssl_.get());
  if (done == 1) {
    if (alpn() == "h2") return Progress::kDone;
    broken_ = Error(Code::kRefused, "peer chose no application protocol (ALPN), expected h2");
    return Fail(*broken_);
  }
  if (SSL_get_error(ssl_.get(), done) == SSL_ERROR_WANT_READ) return Progress::kNeedsInput;
  broken_ = handshake_error();
  return Fail(*broken_);
}

void Session::feed(runtime::Buffer ciphertext) {
  CHECK(incoming_.empty());
  incoming_ = std::move(ciphertext);
}

Result<std::optional<runtime::Buffer>> Session::open() {
  if (peer_ended_) return runtime::Buffer();
  if (broken_) return Fail(*broken_);
  if (answer_bytes_ > kAnswerBytesMax) {
    broken_ = Error(Code::kLimit, "TLS: peer asks for key updates and has had no answer to many");
    return Fail(*broken_);
  }
  if (incoming_.empty() && SSL_has_pending(ssl_.get()) == 0) return std::nullopt;
  runtime::Buffer plain = pool_.get();
  opening_ = true;
  while (!plain.tail().empty()) {
    ERR_clear_error();
    size_t size = 0;
    const int done = SSL_read_ex(ssl_.get(), plain.tail().data(), plain.tail().size(), &size);
    if (done == 1) {
      plain.extend(size);
      continue;
    }
    const int why = SSL_get_error(ssl_.get(), done);
    if (why == SSL_ERROR_WANT_READ) break;
    if (why == SSL_ERROR_ZERO_RETURN) {
      peer_ended_ = true;
    } else {
      broken_ = session_error();
    }
    incoming_.clear();
    break;
  }
  opening_ = false;
  // What came before an end or an error is handed out first; the next call tells.
  if (!plain.empty()) return plain;
  if (peer_ended_) return runtime::Buffer();
  if (broken_) return Fail(*broken_);
  return std::nullopt;
}

Result<void> Session::seal(runtime::Buffer plain) {
  answer_bytes_ = 0;
  while (!plain.empty()) {
    if (broken_) return Fail(*broken_);
    ERR_clear_error();
    if (records_sealed_ >= records_per_key_) {
      if (SSL_key_update(ssl_.get(), SSL_KEY_UPDATE_NOT_REQUESTED) != 1) {
        broken_ = session_error();
        return Fail(*broken_);
      }
      records_sealed_ = 0;
    }
    size_t size = 0;
    if (SSL_write_ex(ssl_.get(), plain.data(), plain.size(), &size) != 1) {
      broken_ = session_error();
      return Fail(*broken_);
    }
    plain.trim_front(size);
    ++records_sealed_;
  }
  return {};
}

Result<void> Session::end() {
  if (broken_) return Fail(*broken_);
  ERR_clear_error();
  if (SSL_shutdown(ssl_.get()) >= 0) return {};
  broken_ = session_error();
  return Fail(*broken_);
}

std::optional<runtime::Buffer> Session::take_outgoing() {
  if (outgoing_.empty()) return std::nullopt;
  runtime::Buffer first = std::move(outgoing_.front());
  outgoing_.pop_front();
  return first;
}

void Session::forget_verification() {
  SSL_set_app_data(ssl_.get(), nullptr);
  verification_.reset();
}

std::string Session::cipher() const {
  const char* name = SSL_get_cipher_name(ssl_.get());
  return name != nullptr ? name : "";
}

std::string Session::alpn() const {
  const unsigned char* name = nullptr;
  unsigned int size = 0;
  SSL_get0_alpn_selected(ssl_.get(), &name, &size);
  return std::string(reinterpret_cast<const char*>(name), size);
}

Error Session::handshake_error() {
  const int alert = alert_of(ERR_peek_last_error());
  const std::string reason = take_openssl_error();
  if (!verification_->refusal.empty()) return {Code::kRefused, verification_->refusal};
  if (alert != 0) {
    return {Code::kRefused, std::string("peer refused the TLS handshake (alert: ") +
                                SSL_alert_desc_string_long(alert) + ")"};
  }
  return {Code::kRefused, "TLS handshake failed: " + reason};
}

Error Session::session_error() {
  const int alert = alert_of(ERR_peek_last_error());
  const std::string reason = take_openssl_error();
  if (alert == 0) return {Code::kReset, "TLS session broke: " + reason};
  const std::string words = std::string(" (alert: ") + SSL_alert_desc_string_long(alert) + ")";
  // In TLS 1.3 a server judges the client's certificate after the client's handshake is done.
  if (is_about_certificate(alert)) return {Code::kRefused, "peer refused our certificate" + words};
  return {Code::kReset, "peer broke the TLS session" + words};
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
  if (session.opening_) session.answer_bytes_ += size;
  while (size > 0) {
    if (session.outgoing_.empty() || session.outgoing_.back().seal_tail().empty()) {
      session.outgoing_.push_back(session.pool_.get());
    }
    runtime::Buffer& last = session.outgoing_.back();
    const std::span<uint8_t> room = last.seal_tail();
    const size_t part = std::min(size, room.size());
    std::memcpy(room.data(), from, part);
    last.extend(part);
    from += part;
    size -= part;
  }
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
