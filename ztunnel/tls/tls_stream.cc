#include "ztunnel/tls/tls_stream.h"

#include "ztunnel/runtime/sync.h"
#include "ztunnel/tls/context.h"
#include "ztunnel/tls/session.h"

#include <array>
#include <span>
#include <utility>

// Moves a Session's bytes over a transport. The session is called synchronously on the loop's
// thread, so a reader and a writer cannot meet inside it; what both produce leaves in the order in
// which it was made, because only one of them sends at a time and sends everything that lies there.

namespace weft::tls {
namespace {

using runtime::Buffer;
using runtime::ByteStream;
using runtime::Task;

// A peer that connects and does not go on: as ztunnel bounds it.
constexpr std::chrono::seconds kHandshakeTimeout{10};
// How long the last words (an alert) of a broken session may wait for a peer that does not read.
constexpr std::chrono::seconds kAlertTimeout{1};
constexpr size_t kBuffersPerWrite = 4;  // 256 KiB of records in one system call

class Stream final : public TlsStream {
 public:
  Stream(runtime::Loop& loop, std::unique_ptr<ByteStream> transport,
         std::shared_ptr<Context> context, std::unique_ptr<Session> session)
      : loop_(loop),
        context_(std::move(context)),
        transport_(std::move(transport)),
        session_(std::move(session)) {}

  Task<Result<void>> handshake();
  Task<Result<Buffer>> read() override;
  std::optional<Buffer> take_ready() override;
  Task<Result<void>> write(Buffer bytes) override;
  Task<Result<void>> write_pieces(std::span<Buffer> pieces) override;
  Task<Result<void>> shutdown_write() override;
  void abort() override {
    aborted_ = true;
    transport_->abort();
  }
  const Peer& peer() const override { return peer_; }
  const Trust& trust() const { return *context_->impl().trust; }

 private:
  Task<Result<void>> handshake_steps();
  Task<Result<void>> flush();
  Task<void> say_why();
  Fail cancelled() const { return fail(Code::kCancelled, "TLS: the stream was aborted"); }

  runtime::Loop& loop_;
  std::shared_ptr<Context> context_;  // outlives the session
  std::unique_ptr<ByteStream> transport_;
  std::unique_ptr<Session> session_;
  Peer peer_;
  bool aborted_ = false;
  bool ended_ = false;  // we have said close_notify
  bool flushing_ = false;
  std::optional<Error> unsent_;  // why the transport takes no more
  runtime::Event flushed_;
};

Task<Result<void>> Stream::handshake_steps() {
  while (true) {
    Result<Session::Progress> progress = session_->handshake();
    if (!progress) {
      co_await say_why();
      co_return Fail(std::move(progress.error()));
    }
    CO_TRY(co_await flush());
    if (*progress == Session::Progress::kDone) co_return Result<void>();
    Result<Buffer> received = co_await transport_->read();
    if (!received) co_return Fail(std::move(received.error()).in("TLS handshake"));
    if (received->empty()) {
      co_return fail(Code::kClosed, "peer ended the connection during the TLS handshake");
    }
    session_->feed(std::move(*received));
  }
}

Task<Result<void>> Stream::handshake() {
  Result<void> done;
  {
    const runtime::Deadline deadline(loop_, kHandshakeTimeout, [this] { abort(); });
    done = co_await handshake_steps();
    if (!done && deadline.expired()) {
      co_return fail(Code::kTimeout, "TLS handshake: not finished within " +
                                         std::to_string(kHandshakeTimeout.count()) + " s");
    }
  }
  if (!done) co_return done;
  peer_.identity = session_->verification().proven;
  peer_.certificates = session_->verification().certificates;
  peer_.cipher = session_->cipher();
  peer_.alpn = session_->alpn();
  session_->forget_verification();
  co_return done;
}

Task<Result<Buffer>> Stream::read() {
  while (true) {
    if (aborted_) co_return cancelled();
    Result<std::optional<Buffer>> opened = session_->open();
    if (!opened) {
      co_await say_why();
      co_return Fail(std::move(opened.error()));
    }
    if (*opened) co_return std::move(**opened);
    Buffer received = CO_TRY(co_await transport_->read());
    if (received.empty()) {
      co_return fail(Code::kReset,
                     "peer ended the connection without close_notify: it may be truncated");
    }
    session_->feed(std::move(received));
  }
}

// An end or an error is told by the next read().
std::optional<Buffer> Stream::take_ready() {
  if (aborted_) return std::nullopt;
  Result<std::optional<Buffer>> opened = session_->open();
  if (!opened || !*opened || (*opened)->empty()) return std::nullopt;
  return std::move(*opened);
}

Task<Result<void>> Stream::write(Buffer bytes) { co_return co_await write_pieces({&bytes, 1}); }

Task<Result<void>> Stream::write_pieces(std::span<Buffer> pieces) {
  if (aborted_) co_return cancelled();
  CO_TRY(session_->seal(pieces));
  co_return co_await flush();
}

Task<Result<void>> Stream::shutdown_write() {
  if (aborted_) co_return cancelled();
  if (std::exchange(ended_, true)) co_return Result<void>();
  CO_TRY(session_->end());
  CO_TRY(co_await flush());
  co_return co_await transport_->shutdown_write();
}

// Sends all that lies there, also what is added meanwhile. Whoever comes second waits for the
// first.
Task<Result<void>> Stream::flush() {
  while (flushing_) co_await flushed_.wait();
  flushing_ = true;
  while (!unsent_) {
    std::array<Buffer, kBuffersPerWrite> pieces;
    size_t count = 0;
    while (count < pieces.size()) {
      std::optional<Buffer> next = session_->take_outgoing();
      if (!next) break;
      pieces[count++] = std::move(*next);
    }
    if (count == 0) break;
    Result<void> sent = co_await transport_->write_pieces(std::span(pieces).first(count));
    if (!sent) unsent_ = std::move(sent.error());
  }
  flushing_ = false;
  flushed_.wake();
  if (unsent_) co_return Fail(*unsent_);
  co_return Result<void>();
}

// A session that broke tells the peer why, if the peer listens, and ends.
Task<void> Stream::say_why() {
  const runtime::Deadline deadline(loop_, kAlertTimeout, [this] { transport_->abort(); });
  const Result<void> sent = co_await flush();
  if (sent) (void)co_await transport_->shutdown_write();
}

Task<Result<std::unique_ptr<TlsStream>>> establish(runtime::Loop& loop,
                                                   std::unique_ptr<ByteStream> transport,
                                                   std::shared_ptr<Context> context,
                                                   Verification expected) {
  std::unique_ptr<Session> session =
      CO_TRY(Session::make(context->impl(), std::move(expected), loop.buffers()));
  auto stream =
      std::make_unique<Stream>(loop, std::move(transport), std::move(context), std::move(session));
  CO_TRY(co_await stream->handshake());
  // The list may have been replaced since the peer was judged, and nobody watches this stream yet.
  const RevocationList* revoked = stream->trust().revoked.get();
  if (revoked != nullptr && revoked->revokes_any(stream->peer().certificates)) {
    stream->abort();
    co_return Fail(revoked_error(stream->peer().identity->to_string()));
  }
  co_return std::unique_ptr<TlsStream>(std::move(stream));
}

}  // namespace

Task<Result<std::unique_ptr<TlsStream>>> connect_mesh(runtime::Loop& loop,
                                                      std::unique_ptr<ByteStream> transport,
                                                      std::shared_ptr<Context> context,
                                                      std::vector<SpiffeId> any_of) {
  if (any_of.empty()) {
    co_return fail(Code::kInvalid, "mesh TLS: no identity is expected of the server");
  }
  Verification expected;
  expected.role = Role::kMeshClient;
  expected.any_of = std::move(any_of);
  expected.trust = context->impl().trust;
  co_return co_await establish(loop, std::move(transport), std::move(context), std::move(expected));
}

Task<Result<std::unique_ptr<TlsStream>>> accept_mesh(runtime::Loop& loop,
                                                     std::unique_ptr<ByteStream> transport,
                                                     std::shared_ptr<Context> context) {
  Verification expected;
  expected.role = Role::kMeshServer;
  expected.trust_domain = context->impl().own_trust_domain;
  expected.trust = context->impl().trust;
  co_return co_await establish(loop, std::move(transport), std::move(context), std::move(expected));
}

Task<Result<std::unique_ptr<TlsStream>>> connect_control(runtime::Loop& loop,
                                                         std::unique_ptr<ByteStream> transport,
                                                         std::shared_ptr<Context> context,
                                                         std::string server_name) {
  Verification expected;
  expected.role = Role::kControlClient;
  expected.server_name = std::move(server_name);
  co_return co_await establish(loop, std::move(transport), std::move(context), std::move(expected));
}

}  // namespace weft::tls
