#include "ztunnel/http/grpc_client.h"

#include "ztunnel/http/grpc_framing.h"
#include "ztunnel/http/h2_connection.h"

#include <algorithm>

namespace weft::http {
namespace {

using runtime::Buffer;
using runtime::BufferPool;
using runtime::Task;

constexpr std::chrono::seconds kPingEvery{30};  // as ztunnel towards its control plane
constexpr std::chrono::seconds kPingTimeout{10};
// What a server that is closing may still say.
constexpr std::chrono::seconds kCloseTimeout{2};

H2Options client_options() {
  H2Options options;
  options.role = H2Role::kClient;
  options.limits.streams_max = 0;
  options.ping_every = kPingEvery;
  options.ping_timeout = kPingTimeout;
  return options;
}

class Stream final : public GrpcStream {
 public:
  Stream(runtime::Loop& loop, std::unique_ptr<H2Stream> stream)
      : loop_(loop), stream_(std::move(stream)), reader_(GrpcChannel::kMessageBytesMax) {}

  Task<Result<void>> send(std::string message) override {
    if (message.size() > GrpcChannel::kMessageBytesMax) {
      co_return fail(Code::kLimit, "gRPC: a message of " + std::to_string(message.size()) +
                                       " bytes; at most " +
                                       std::to_string(GrpcChannel::kMessageBytesMax) + " are sent");
    }
    CO_TRY(co_await stream_->write(loop_.buffers().copy_of(message_prefix(message.size()))));
    for (size_t at = 0; at < message.size(); at += BufferPool::kBufferBytes) {
      const std::string_view part = std::string_view(message).substr(at, BufferPool::kBufferBytes);
      CO_TRY(co_await stream_->write(loop_.buffers().copy_of(part)));
    }
    co_return Result<void>();
  }

  Task<Result<void>> end_sending() { return stream_->shutdown_write(); }

  Task<Result<std::string>> receive() override {
    CO_TRY(co_await stream_->wait_headers());
    CO_TRY(check_response(stream_->headers()));
    while (true) {
      std::optional<std::string> message = CO_TRY(reader_.next());
      if (message) co_return std::move(*message);
      const Buffer bytes = CO_TRY(co_await stream_->read());
      if (bytes.empty()) break;
      reader_.feed(bytes.text());
    }
    if (!reader_.is_between_messages()) {
      co_return fail(Code::kReset, "gRPC: the stream ended within a message");
    }
    std::optional<Error> error = status_error(stream_->headers(), stream_->trailers());
    if (error) co_return Fail(std::move(*error));
    co_return fail(Code::kClosed, "gRPC: the server ended the stream");
  }

  void abort() override { stream_->abort(); }

 private:
  runtime::Loop& loop_;
  std::unique_ptr<H2Stream> stream_;
  MessageReader reader_;
};

class Channel final : public GrpcChannel {
 public:
  Channel(runtime::Loop& loop, std::unique_ptr<runtime::ByteStream> transport,
          std::string authority)
      : loop_(loop),
        connection_(loop, std::move(transport), client_options()),
        authority_(std::move(authority)) {}

  void start() { tasks_.spawn(run()); }

  Task<Result<std::string>> call(std::string path, std::vector<Header> metadata,
                                 std::string request, std::chrono::milliseconds timeout) override {
    metadata.push_back({"grpc-timeout", timeout_header(timeout)});
    Stream stream(loop_, CO_TRY(open_request(path, metadata)));
    const runtime::Deadline deadline(loop_, timeout, [&stream] { stream.abort(); });
    Result<std::string> answer = co_await exchange(stream, std::move(request));
    if (!answer && deadline.expired()) {
      co_return fail(Code::kTimeout, "gRPC: no answer to " + path + " in " +
                                         std::to_string(timeout.count()) + " ms");
    }
    co_return answer;
  }

  Task<Result<std::unique_ptr<GrpcStream>>> open_stream(std::string path,
                                                        std::vector<Header> metadata) override {
    std::unique_ptr<H2Stream> stream = CO_TRY(open_request(path, metadata));
    co_return std::make_unique<Stream>(loop_, std::move(stream));
  }

  void abort() override { connection_.abort(); }

  Task<void> close() override {
    connection_.drain();
    const runtime::Deadline deadline(loop_, kCloseTimeout, [this] { connection_.abort(); });
    co_await tasks_.join();
  }

 private:
  Task<void> run() {
    const Result<void> ended = co_await connection_.run();
    if (!ended) broken_ = ended.error();
  }

  static Task<Result<void>> send_whole(Stream& stream, std::string request) {
    CO_TRY(co_await stream.send(std::move(request)));
    co_return co_await stream.end_sending();
  }

  static Task<Result<std::string>> exchange(Stream& stream, std::string request) {
    const Result<void> sent = co_await send_whole(stream, std::move(request));
    Result<std::string> answer = co_await stream.receive();
    if (!answer && answer.error().code == Code::kClosed) {
      co_return fail(Code::kInternal, "gRPC: status OK, but no message answers a unary call");
    }
    // A server may answer with an error before it has taken the whole request.
    if (!answer && !sent && answer.error().code == Code::kReset) co_return Fail(sent.error());
    if (!answer) co_return answer;
    // A status other than OK behind the message still is a failure.
    const Result<std::string> end = co_await stream.receive();
    if (end) co_return fail(Code::kInternal, "gRPC: two messages answer a unary call");
    if (end.error().code != Code::kClosed) co_return Fail(end.error());
    co_return answer;
  }

  Result<std::unique_ptr<H2Stream>> open_request(const std::string& path,
                                                 const std::vector<Header>& metadata) {
    if (broken_) return Fail(*broken_);
    std::vector<Header> headers{{":method", "POST"},   {":scheme", "https"},
                                {":path", path},       {":authority", authority_},
                                {"te", "trailers"},    {"content-type", "application/grpc"},
                                {"user-agent", "weft"}};
    headers.insert(headers.end(), metadata.begin(), metadata.end());
    return connection_.request(headers, false);
  }

  runtime::Loop& loop_;
  H2Connection connection_;
  std::string authority_;
  runtime::TaskScope tasks_;
  std::optional<Error> broken_;
};

}  // namespace

Task<Result<std::unique_ptr<GrpcChannel>>> GrpcChannel::open(
    runtime::Loop& loop, std::unique_ptr<runtime::ByteStream> transport, std::string authority) {
  auto channel = std::make_unique<Channel>(loop, std::move(transport), std::move(authority));
  channel->start();
  co_return std::unique_ptr<GrpcChannel>(std::move(channel));
}

}  // namespace weft::http
