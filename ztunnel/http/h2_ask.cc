#include "ztunnel/http/h2_ask.h"

#include "ztunnel/http/h2_translate.h"

#include <algorithm>
#include <utility>

namespace weft::http {

using runtime::Buffer;
using runtime::ByteStream;
using runtime::Task;

namespace {

// Streams at a time where the server names no limit, or a higher one.
constexpr uint32_t kStreamsMax = 100;
// A server that does not answer a PING is gone, whatever its TCP connection says.
constexpr std::chrono::seconds kPingEvery{30};
constexpr std::chrono::seconds kPingTimeout{20};

H2Options options_of_client() {
  H2Options options;
  options.role = H2Role::kClient;
  options.ping_every = kPingEvery;
  options.ping_timeout = kPingTimeout;
  return options;
}

}  // namespace

class Http2Client::Exchange final : public ClientExchange {
 public:
  explicit Exchange(std::shared_ptr<State> state) : state_(std::move(state)) {}

  bool has_more() const override { return stream_ && stream_->has_more(); }
  Task<Result<Buffer>> read() override { return stream_->read(); }
  std::optional<Buffer> take_ready() override { return stream_->take_ready(); }
  FieldList take_trailers() override { return to_fields(stream_->take_trailers()); }

  Task<Result<void>> write(Buffer bytes) override { return stream_->write(std::move(bytes)); }
  Task<Result<void>> flush() override { return done({}); }
  Task<Result<void>> finish(FieldList trailers) override {
    return done(stream_->finish(from_fields(trailers)));
  }

  Task<Result<void>> send(const RequestHead& head, bool end) override {
    if (aborted_) co_return fail(Code::kCancelled, "HTTP/2: the exchange was aborted here");
    if (!head.protocol.empty() && !state_->connection.peer_takes_connect_protocol()) {
      co_return fail(Code::kUnsupported,
                     "HTTP/2: the server takes no " + std::string(head.protocol));
    }
    is_upgrade_ = !head.protocol.empty();
    stream_ = CO_TRY(state_->connection.request(from_request(head), end && head.protocol.empty()));
    co_return Result<void>();
  }
  Task<Result<ResponseHead>> response() override {
    if (!stream_) co_return fail(Code::kUnavailable, "HTTP/2: nothing was sent");
    CO_TRY(co_await stream_->wait_headers());
    ResponseHead head = to_response(stream_->take_headers());
    if (is_upgrade_ && head.status == 200) head.status = 101;
    co_return head;
  }
  Task<Result<std::unique_ptr<ByteStream>>> take_stream() override {
    co_return std::unique_ptr<ByteStream>(std::move(stream_));
  }
  void abort() override {
    aborted_ = true;
    if (stream_) stream_->abort();
  }

 private:
  static Task<Result<void>> done(Result<void> result) { co_return result; }

  std::shared_ptr<State> state_;
  std::unique_ptr<H2Stream> stream_;
  bool is_upgrade_ = false;
  bool aborted_ = false;
};

Http2Client::State::State(runtime::Loop& loop, std::unique_ptr<ByteStream> transport)
    : connection(loop, std::move(transport), options_of_client()) {}

std::shared_ptr<Http2Client> Http2Client::start(runtime::Loop& loop,
                                                std::unique_ptr<ByteStream> transport,
                                                std::function<void()> ended) {
  auto state = std::make_shared<State>(loop, std::move(transport));
  state->ended = std::move(ended);
  loop.spawn(run(state));
  return std::shared_ptr<Http2Client>(new Http2Client(std::move(state)));
}

Http2Client::~Http2Client() {
  state_->ended = {};
  state_->connection.drain();
}

Task<void> Http2Client::run(std::shared_ptr<State> state) {
  static_cast<void>(co_await state->connection.run());
  if (state->ended) std::exchange(state->ended, {})();
}

bool Http2Client::is_free() const {
  const H2Connection& connection = state_->connection;
  return connection.accepts_requests() &&
         connection.streams() < std::min(kStreamsMax, connection.peer_streams_max());
}

std::unique_ptr<ClientExchange> Http2Client::begin() { return std::make_unique<Exchange>(state_); }

}  // namespace weft::http
