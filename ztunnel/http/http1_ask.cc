#include "ztunnel/http/http1_ask.h"

#include "ztunnel/base/check.h"
#include "ztunnel/http/http1_reader.h"
#include "ztunnel/http/http1_tail.h"

#include <utility>

namespace weft::http {

using http1::Framing;
using http1::Meta;
using http1::Parsed;
using runtime::Buffer;
using runtime::ByteStream;
using runtime::Task;

namespace {

constexpr size_t kFieldsExpected = 16;
// A server that sends interim answers without end is not waited for.
constexpr int kInterimMax = 32;

}  // namespace

class Http1Client::Exchange final : public ClientExchange {
 public:
  explicit Exchange(Http1Client& connection) : connection_(connection) {}
  ~Exchange() override {
    connection_.in_use_ = false;
    if (!connection_.inlet_) return;
    const bool whole = outlet().is_done() && answered_ && !reader_.has_more();
    if (whole && keep_alive_) return;
    connection_.reusable_ = false;
    if (!whole) abort();
  }

  bool has_more() const override { return !answered_ || reader_.has_more(); }
  Task<Result<Buffer>> read() override { return reader_.read(inlet()); }
  std::optional<Buffer> take_ready() override { return reader_.take_ready(inlet()); }
  FieldList take_trailers() override { return reader_.take_trailers(); }

  Task<Result<void>> write(Buffer bytes) override {
    return outlet().write(inlet().transport(), std::move(bytes));
  }
  Task<Result<void>> flush() override { return outlet().flush(inlet().transport()); }
  Task<Result<void>> finish(FieldList trailers) override {
    return outlet().finish(inlet().transport(), std::move(trailers));
  }

  Task<Result<void>> send(const RequestHead& head, bool end) override {
    to_head_ = head.method == "HEAD";
    const std::string_view length = head.fields.get("content-length");
    Meta meta;
    if (!length.empty()) {
      meta.length = http1::parse_number<uint64_t>(length, 10).value_or(0);
      meta.framing = meta.length == 0 ? Framing::kNone : Framing::kLength;
    } else if (!end && head.protocol.empty()) {
      meta.framing = Framing::kChunked;
    }
    outlet().request(head, meta);
    if (end || !head.protocol.empty()) {
      co_return co_await outlet().finish(inlet().transport(), {});
    }
    co_return Result<void>();
  }

  Task<Result<ResponseHead>> response() override {
    ResponseHead response;
    response.fields.reserve(kFieldsExpected);
    while (true) {
      const Parsed<std::span<char>> head = connection_.heads_.take(inlet(), response.fields);
      if (!head) co_return fail(Code::kInvalid, "HTTP/1.1 response: " + head.error().reason);
      if (!head->empty()) {
        CO_TRY(understand(*head, response));
        co_return response;
      }
      const Result<bool> more = co_await inlet().more();
      if (!more) co_return Fail(Error(Code::kReset, "HTTP/1.1: no answer came", more.error()));
      if (!*more) co_return fail(Code::kReset, "HTTP/1.1: the server ended the connection");
    }
  }

  Task<Result<std::unique_ptr<ByteStream>>> take_stream() override {
    auto tail = std::make_unique<http1::Tail>(std::move(*connection_.inlet_));
    connection_.inlet_.reset();
    co_return std::unique_ptr<ByteStream>(std::move(tail));
  }
  void abort() override {
    connection_.reusable_ = false;
    if (connection_.inlet_) inlet().transport().abort();
  }

 private:
  http1::Inlet& inlet() const { return *connection_.inlet_; }
  http1::Outlet& outlet() const { return connection_.outlet_; }

  Result<void> understand(std::span<char> head, ResponseHead& response) {
    const Parsed<Meta> meta =
        http1::parse_response(head, to_head_ ? "HEAD" : std::string_view(), response);
    if (!meta) return fail(Code::kInvalid, "HTTP/1.1 response: " + meta.error().reason);
    if (response.status < 200 && response.status != 101) {
      if (++interim_ > kInterimMax) {
        return fail(Code::kInvalid, "HTTP/1.1 response: interim answers without end");
      }
      return {};
    }
    answered_ = true;
    reader_ = http1::Reader(*meta);
    keep_alive_ = meta->keep_alive && response.status != 101;
    return {};
  }

  Http1Client& connection_;
  http1::Reader reader_;
  int interim_ = 0;
  bool to_head_ = false;
  bool answered_ = false;
  bool keep_alive_ = false;
};

Http1Client::Http1Client(runtime::Loop& loop, std::unique_ptr<ByteStream> transport)
    : inlet_(std::make_unique<http1::Inlet>(loop, std::move(transport))), outlet_(loop.buffers()) {}

Http1Client::~Http1Client() { CHECK(!in_use_); }

std::unique_ptr<ClientExchange> Http1Client::begin() {
  CHECK(is_free());
  in_use_ = true;
  ++exchanges_;
  inlet_->when_ended({});
  return std::make_unique<Exchange>(*this);
}

bool Http1Client::is_free() const {
  return !in_use_ && reusable_ && inlet_ && !inlet_->has_unread() && !inlet_->has_ended();
}

void Http1Client::when_ended(std::move_only_function<void()> call) {
  if (inlet_) inlet_->when_ended(std::move(call));
}

}  // namespace weft::http
