#include "ztunnel/http/h2_accept.h"

#include "ztunnel/base/check.h"
#include "ztunnel/http/h2_translate.h"

#include <utility>

namespace weft::http {

using runtime::Buffer;
using runtime::ByteStream;
using runtime::Task;

namespace {

H2Options options_of_server() {
  H2Options options;
  options.role = H2Role::kServer;
  options.limits.connect_protocol = true;
  return options;
}

class Exchange final : public ServerExchange {
 public:
  Exchange(std::unique_ptr<H2Stream> stream, RequestHead head)
      : stream_(std::move(stream)), head_(std::move(head)), to_head_(head_.method == "HEAD") {
    expects_continue_ = head_.fields.remove("expect") > 0 && stream_->has_more();
  }

  bool has_more() const override { return stream_->has_more(); }
  Task<Result<Buffer>> read() override {
    if (std::exchange(expects_continue_, false) && !responded_) {
      static_cast<void>(stream_->inform({{":status", "100"}}));
    }
    return stream_->read();
  }
  std::optional<Buffer> take_ready() override { return stream_->take_ready(); }
  FieldList take_trailers() override { return to_fields(stream_->take_trailers()); }

  Task<Result<void>> write(Buffer bytes) override {
    return to_head_ ? done({}) : stream_->write(std::move(bytes));
  }
  Task<Result<void>> flush() override { return done({}); }
  Task<Result<void>> finish(FieldList trailers) override {
    return done(stream_->finish(from_fields(trailers)));
  }

  RequestHead& request() override { return head_; }
  Task<Result<void>> inform(ResponseHead head) override {
    return done(responded_ ? Result<void>() : stream_->inform(from_response(head)));
  }
  Task<Result<void>> respond(ResponseHead head, bool end) override {
    CHECK(!std::exchange(responded_, true));
    return done(stream_->respond(from_response(head), end));
  }
  bool has_responded() const override { return responded_; }
  Task<Result<std::unique_ptr<ByteStream>>> upgrade(ResponseHead head) override {
    CHECK(!std::exchange(responded_, true));
    head.status = 200;
    head.fields.remove("sec-websocket-accept");  // of HTTP/1.1's handshake alone (RFC 8441, 5)
    CO_TRY(stream_->respond(from_response(head), false));
    stream_->when_broken({});
    co_return std::unique_ptr<ByteStream>(std::move(stream_));
  }
  void when_gone(std::move_only_function<void()> call) override {
    if (stream_) stream_->when_broken(std::move(call));
  }
  void stop_reading() override {
    if (stream_) stream_->stop_reading();
  }
  void abort() override {
    if (stream_) stream_->abort();
  }

 private:
  static Task<Result<void>> done(Result<void> result) { co_return result; }

  std::unique_ptr<H2Stream> stream_;  // null: given to who upgraded
  RequestHead head_;
  bool to_head_;
  bool expects_continue_ = false;
  bool responded_ = false;
};

}  // namespace

Http2Server::Http2Server(runtime::Loop& loop, std::unique_ptr<ByteStream> transport,
                         OnExchange on_exchange, OnRefused on_refused)
    : on_exchange_(std::move(on_exchange)),
      on_refused_(std::move(on_refused)),
      connection_(loop, std::move(transport), options_of_server(),
                  [this](std::unique_ptr<H2Stream> stream) { accept(std::move(stream)); }) {
  connection_.on_refused_stream([this](const Error& error) {
    if (on_refused_) on_refused_(0, error.message);
  });
}

void Http2Server::accept(std::unique_ptr<H2Stream> stream) {
  Result<RequestHead> head = to_request(stream->take_headers());
  if (head) {
    return on_exchange_(std::make_unique<Exchange>(std::move(stream), *std::move(head)));
  }
  const int status = head.error().code == Code::kUnsupported ? 501 : 400;
  if (on_refused_) on_refused_(status, head.error().message);
  static_cast<void>(stream->respond({{":status", std::to_string(status)}}, true));
}

}  // namespace weft::http
