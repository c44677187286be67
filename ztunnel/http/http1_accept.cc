#include "ztunnel/http/http1_accept.h"

#include "ztunnel/base/check.h"
#include "ztunnel/http/http1_reader.h"
#include "ztunnel/http/http1_tail.h"
#include "ztunnel/http/reason.h"

#include <utility>

namespace weft::http {

using http1::Framing;
using http1::Meta;
using http1::Parsed;
using http1::Refusal;
using runtime::Buffer;
using runtime::ByteStream;
using runtime::Task;

namespace {

// After the last answer: how long and how much is still read, so that a client which is still
// sending gets the answer rather than a reset.
constexpr std::chrono::seconds kLingerTimeout{1};
constexpr size_t kLingerBytesMax = 256 * 1024;
// More than nearly every request has; a vector of 512 bytes.
constexpr size_t kFieldsExpected = 16;

std::unexpected<Refusal> over() { return http1::refuse(0, ""); }

}  // namespace

class Http1Server::Exchange final : public ServerExchange {
 public:
  Exchange(Http1Server& connection, RequestHead head, const Meta& meta)
      : connection_(connection),
        head_(std::move(head)),
        reader_(meta),
        keep_alive_(meta.keep_alive),
        expects_continue_(meta.expects_continue),
        to_head_(head_.method == "HEAD") {}
  ~Exchange() override {
    connection_.in_use_ = false;
    if (upgraded_) return;
    inlet().when_ended({});
    if (!responded_ || !outlet().is_done()) abort();
    // What was not read of the request would be taken for the next one.
    if (!keep_alive_ || reader_.has_more() || reader_.is_broken()) connection_.reusable_ = false;
  }

  bool has_more() const override { return reader_.has_more(); }
  Task<Result<Buffer>> read() override {
    if (std::exchange(expects_continue_, false) && !inlet().has_unread() && !responded_) {
      ResponseHead head;
      head.status = 100;
      CO_TRY(co_await inform(std::move(head)));
    }
    co_return co_await reader_.read(inlet());
  }
  std::optional<Buffer> take_ready() override { return reader_.take_ready(inlet()); }
  FieldList take_trailers() override { return reader_.take_trailers(); }

  Task<Result<void>> write(Buffer bytes) override {
    if (to_head_) return skip();
    return outlet().write(inlet().transport(), std::move(bytes));
  }
  Task<Result<void>> flush() override { return outlet().flush(inlet().transport()); }
  Task<Result<void>> finish(FieldList trailers) override {
    return outlet().finish(inlet().transport(), std::move(trailers));
  }

  RequestHead& request() override { return head_; }
  Task<Result<void>> inform(ResponseHead head) override {
    if (head_.version == Version::kHttp10 || responded_) co_return Result<void>();
    outlet().response(head, Meta{}, head_.version, false);
    co_return co_await flush();
  }

  Task<Result<void>> respond(ResponseHead head, bool end) override {
    CHECK(!std::exchange(responded_, true));
    // A client that was not told to go on with its body may or may not send it.
    if (connection_.draining_ || (expects_continue_ && reader_.has_more())) keep_alive_ = false;
    const Meta meta = frame(head, end);
    outlet().response(head, meta, head_.version, to_head_);
    if (end) co_return co_await outlet().finish(inlet().transport(), {});
    co_return Result<void>();
  }
  bool has_responded() const override { return responded_; }

  Task<Result<std::unique_ptr<ByteStream>>> upgrade(ResponseHead head) override {
    CHECK(!std::exchange(responded_, true));
    head.status = 101;
    outlet().response(head, Meta{}, head_.version, false);
    CO_TRY(co_await flush());
    inlet().when_ended({});
    upgraded_ = true;
    connection_.reusable_ = false;
    connection_.deadline_.lift();
    auto tail = std::make_unique<http1::Tail>(std::move(*connection_.inlet_));
    connection_.inlet_.reset();
    co_return std::unique_ptr<ByteStream>(std::move(tail));
  }

  void when_gone(std::move_only_function<void()> call) override {
    // Only what comes behind the request tells; within it, its reader is told.
    if (!upgraded_ && !reader_.has_more()) inlet().when_ended(std::move(call));
  }
  void stop_reading() override {
    if (upgraded_) return;
    inlet().interrupt(Error(Code::kCancelled, "HTTP/1.1: the rest of the request is not wanted"));
  }
  void abort() override { connection_.abort(); }

 private:
  http1::Inlet& inlet() const { return *connection_.inlet_; }
  http1::Outlet& outlet() const { return connection_.outlet_; }
  static Task<Result<void>> skip() { co_return Result<void>(); }

  Meta frame(ResponseHead& head, bool end) {
    Meta meta;
    const bool bodiless = to_head_ || head.status == 204 || head.status == 304;
    const std::string_view length = head.fields.get("content-length");
    if (!length.empty()) {
      meta.length = http1::parse_number<uint64_t>(length, 10).value_or(0);
      meta.framing = bodiless || meta.length == 0 ? Framing::kNone : Framing::kLength;
    } else if (end || bodiless) {
      if (!bodiless) head.fields.add_view("content-length", "0");
    } else if (head_.version == Version::kHttp10) {
      meta.framing = Framing::kUntilEnd;
      keep_alive_ = false;
    } else {
      meta.framing = Framing::kChunked;
    }
    meta.keep_alive = keep_alive_;
    return meta;
  }

  Http1Server& connection_;
  RequestHead head_;
  http1::Reader reader_;
  bool keep_alive_;
  bool expects_continue_;
  bool to_head_;
  bool responded_ = false;
  bool upgraded_ = false;
};

Http1Server::Http1Server(runtime::Loop& loop, std::unique_ptr<ByteStream> transport,
                         Http1Options options, OnRefused on_refused)
    : loop_(loop),
      inlet_(std::make_unique<http1::Inlet>(loop, std::move(transport))),
      options_(options),
      on_refused_(std::move(on_refused)),
      outlet_(loop.buffers()),
      deadline_(loop,
                [this] { inlet_->interrupt(Error(Code::kTimeout, "HTTP/1.1: no request came")); }),
      draining_(options.drains) {}

Http1Server::~Http1Server() { CHECK(!in_use_); }

void Http1Server::drain() {
  draining_ = true;
  if (idle_) inlet_->interrupt(Error(Code::kCancelled, "HTTP/1.1: draining"));
}

void Http1Server::abort() {
  reusable_ = false;
  if (inlet_) inlet_->transport().abort();
}

// A refusal of status 0: there will be none.
Task<Parsed<std::span<char>>> Http1Server::next_head(FieldList& into) {
  while (true) {
    Parsed<std::span<char>> head = heads_.take(*inlet_, into);
    if (!head || !head->empty()) {
      deadline_.lift();
      co_return head;
    }
    const bool partial = heads_.is_partial();
    idle_ = !partial;
    if (idle_ && draining_ && had_any_) co_return over();
    if (!partial) {
      deadline_.set(options_.idle_timeout);
    } else if (!std::exchange(head_begun_, true)) {
      deadline_.set(options_.head_timeout);
    }
    const Result<bool> more = co_await inlet_->more();
    idle_ = false;
    if (!more && more.error().code == Code::kTimeout && partial) {
      co_return http1::refuse(408, "the request's head did not come in time");
    }
    if (!more || !*more) co_return over();
  }
}

Task<std::unique_ptr<ServerExchange>> Http1Server::next() {
  CHECK(!in_use_);
  if (!inlet_) co_return nullptr;
  if (reusable_) {
    RequestHead request;
    request.fields.reserve(kFieldsExpected);
    head_begun_ = false;
    const Parsed<std::span<char>> head = co_await next_head(request.fields);
    Parsed<Meta> meta =
        head ? http1::parse_request(*head, request) : Parsed<Meta>(std::unexpected(head.error()));
    if (meta) {
      in_use_ = true;
      had_any_ = true;
      co_return std::make_unique<Exchange>(*this, std::move(request), *meta);
    }
    if (meta.error().status != 0) co_await refuse(std::move(meta.error()));
  }
  co_await end();
  co_return nullptr;
}

Task<void> Http1Server::refuse(Refusal why) {
  if (on_refused_) on_refused_(why.status, why.reason);
  ResponseHead head;
  head.status = why.status;
  const std::string body = why.reason + "\n";
  head.fields.add("content-type", "text/plain");
  head.fields.add("content-length", std::to_string(body.size()));
  Meta meta{.framing = Framing::kLength, .length = body.size(), .keep_alive = false};
  outlet_.response(head, meta, Version::kHttp11, false);
  ByteStream& transport = inlet_->transport();
  if (co_await outlet_.write(transport, loop_.buffers().copy_of(body))) {
    static_cast<void>(co_await outlet_.finish(transport, {}));
  }
}

Task<void> Http1Server::end() {
  deadline_.lift();
  inlet_->allow();
  if (!inlet_->has_ended() && co_await inlet_->transport().shutdown_write()) {
    const runtime::Deadline deadline(loop_, kLingerTimeout,
                                     [this] { inlet_->transport().abort(); });
    size_t read = 0;
    while (read < kLingerBytesMax) {
      const Result<bool> more = co_await inlet_->more();
      if (!more || !*more) break;
      read += inlet_->unread().size();
      inlet_->unread().clear();
    }
  }
  inlet_.reset();
}

}  // namespace weft::http
