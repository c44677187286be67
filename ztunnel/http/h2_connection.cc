#include "ztunnel/http/h2_connection.h"

#include "ztunnel/base/check.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <cstring>

namespace weft::http {

using runtime::Buffer;
using runtime::Task;

namespace {

// What a connection that is over waits for its peer: to take the last frames, to close its side.
constexpr std::chrono::seconds kLinger{1};

}  // namespace

// What the connection and the holder of a stream share. Belongs to the connection's thread.
struct H2Stream::State {
  H2Connection* connection = nullptr;  // null: gone
  int32_t id = 0;
  std::vector<Header> headers;
  std::vector<Header> trailers;
  bool has_headers = false;
  bool peer_ended = false;
  bool we_ended = false;   // nothing follows `outgoing`
  bool responded = false;  // server
  bool aborted = false;
  bool closed = false;
  std::optional<Error> error;
  std::deque<Buffer> incoming;
  std::deque<Buffer> outgoing;
  size_t outgoing_bytes = 0;
  runtime::Event changed;  // headers, bytes, end or error
  runtime::Event room;     // outgoing bytes were taken, or error

  bool finished() const { return closed || error.has_value(); }
  Error failure() const {
    if (aborted) return {Code::kCancelled, "HTTP/2: the stream was aborted here"};
    if (error) return *error;
    return {Code::kReset, "HTTP/2: the stream has ended"};
  }
};

H2Stream::~H2Stream() {
  State& state = *state_;
  state.incoming.clear();
  if (state.finished()) return;
  // What both sides have ended is sent to its end without a holder.
  if (state.we_ended && state.peer_ended) return;
  if (state.we_ended && state.responded && state.outgoing.empty()) {
    // A response that did not wait for the whole request (RFC 9113, 8.1): the peer sees it, and
    // then that the rest is not wanted.
    state.connection->session_.reset(state.id, NGHTTP2_NO_ERROR);
    state.connection->want_write();
    return;
  }
  abort();
}

const std::vector<Header>& H2Stream::headers() const { return state_->headers; }
const std::vector<Header>& H2Stream::trailers() const { return state_->trailers; }

Task<Result<void>> H2Stream::wait_headers() {
  const std::shared_ptr<State> state = state_;
  while (!state->has_headers && !state->finished()) co_await state->changed.wait();
  if (state->has_headers) co_return Result<void>();
  co_return Fail(state->failure());
}

Result<void> H2Stream::respond(const std::vector<Header>& headers, bool end) {
  State& state = *state_;
  if (state.finished() || state.connection == nullptr) return Fail(state.failure());
  TRY(state.connection->session_.submit_response(state.id, headers, end));
  state.responded = true;
  state.we_ended = state.we_ended || end;
  state.connection->want_write();
  return {};
}

Task<Result<Buffer>> H2Stream::read() {
  const std::shared_ptr<State> state = state_;
  while (state->incoming.empty() && !state->peer_ended && !state->finished()) {
    co_await state->changed.wait();
  }
  if (state->aborted) co_return Fail(state->failure());
  if (!state->incoming.empty()) {
    Buffer first = std::move(state->incoming.front());
    state->incoming.pop_front();
    if (state->connection != nullptr && !state->closed) {
      state->connection->session_.consume(state->id, first.size());
      state->connection->want_write();
    }
    co_return first;
  }
  if (state->error) co_return Fail(*state->error);
  if (state->peer_ended) co_return Buffer();
  co_return Fail(state->failure());
}

Task<Result<void>> H2Stream::write(Buffer bytes) {
  const std::shared_ptr<State> state = state_;
  if (bytes.empty()) co_return Result<void>();
  while (!state->finished() && state->outgoing_bytes >= kOutgoingBytesMax) {
    co_await state->room.wait();
  }
  if (state->finished() || state->we_ended) co_return Fail(state->failure());
  state->outgoing_bytes += bytes.size();
  state->outgoing.push_back(std::move(bytes));
  state->connection->session_.resume(state->id);
  state->connection->want_write();
  co_return Result<void>();
}

Task<Result<void>> H2Stream::shutdown_write() {
  State& state = *state_;
  if (state.aborted) co_return Fail(state.failure());
  if (state.we_ended) co_return Result<void>();
  if (state.finished()) co_return Fail(state.failure());
  state.we_ended = true;
  state.connection->session_.resume(state.id);
  state.connection->want_write();
  co_return Result<void>();
}

void H2Stream::abort() {
  const std::shared_ptr<State> state = state_;
  if (std::exchange(state->aborted, true)) return;
  state->incoming.clear();
  if (state->connection != nullptr && !state->closed) {
    state->connection->session_.reset(state->id, NGHTTP2_CANCEL);
    state->connection->want_write();
  }
  if (!state->error) state->error = Error(Code::kCancelled, "HTTP/2: the stream was aborted here");
  state->changed.wake();
  state->room.wake();
}

H2Connection::H2Connection(runtime::Loop& loop, std::unique_ptr<runtime::ByteStream> transport,
                           H2Options options, OnRequest on_request)
    : loop_(loop),
      transport_(std::move(transport)),
      options_(options),
      on_request_(std::move(on_request)),
      session_(options.role, options.limits, *this, loop.buffers()) {}

H2Connection::~H2Connection() {
  loop_.unschedule(ping_timer_);
  fail_streams(Error(Code::kReset, "HTTP/2: the connection has ended"));
}

Result<std::unique_ptr<H2Stream>> H2Connection::request(const std::vector<Header>& headers,
                                                        bool end) {
  if (!accepts_requests()) {
    return fail(Code::kUnavailable, "HTTP/2: the connection takes no new streams");
  }
  const int32_t id = TRY(session_.submit_request(headers, end));
  auto state = std::make_shared<StreamState>();
  state->connection = this;
  state->id = id;
  state->we_ended = end;
  streams_.emplace(id, state);
  want_write();
  return std::unique_ptr<H2Stream>(new H2Stream(std::move(state)));
}

Task<Result<void>> H2Connection::run() {
  runtime::TaskScope writer;
  writer.spawn(write_loop());
  schedule_ping();
  const Result<void> read = co_await read_loop();
  if (!read && !broken_) broken_ = read.error();
  ended_ = true;
  loop_.unschedule(std::exchange(ping_timer_, 0));
  loop_.unschedule(std::exchange(linger_timer_, 0));
  writable_.set();
  // An orderly end leaves what was produced to be sent; a broken one has nobody to send to.
  const runtime::Deadline deadline(loop_, kLinger, [this] { transport_->abort(); });
  co_await writer.join();
  fail_streams(broken_ ? Error(Code::kReset, "HTTP/2: the connection broke", *broken_)
                       : Error(Code::kReset, "HTTP/2: the connection has ended"));
  if (broken_) co_return Fail(*broken_);
  co_return Result<void>();
}

Task<Result<void>> H2Connection::read_loop() {
  std::optional<runtime::Deadline> preface;
  if (options_.role == H2Role::kServer) {
    preface.emplace(loop_, options_.preface_timeout, [this] { transport_->abort(); });
  }
  while (!ended_) {
    Result<Buffer> bytes = co_await transport_->read();
    if (!bytes) co_return Fail(std::move(bytes.error()));
    if (bytes->empty()) co_return Result<void>();
    preface.reset();
    in_session_ = true;
    Result<void> fed = session_.feed(*bytes);
    in_session_ = false;
    bytes->clear();
    settle();
    if (!fed) co_return Fail(std::move(fed.error()));
    if (session_.is_finished()) co_return Result<void>();
  }
  co_return Result<void>();
}

Task<void> H2Connection::write_loop() {
  while (true) {
    writable_.reset();
    in_session_ = true;
    Result<Buffer> bytes = session_.produce();
    in_session_ = false;
    settle();
    if (!bytes) {
      if (!broken_) broken_ = std::move(bytes.error());
      transport_->abort();
      co_return;
    }
    if (!bytes->empty()) {
      Result<void> written = co_await transport_->write(std::move(*bytes));
      if (!written) {
        if (!broken_) broken_ = std::move(written.error());
        transport_->abort();
        co_return;
      }
      continue;
    }
    if (ended_ || session_.is_finished()) break;
    co_await writable_.wait();
  }
  const Result<void> said = co_await transport_->shutdown_write();
  if (!said && !broken_) broken_ = said.error();
  // A peer that does not close its side in turn is not waited for.
  if (!ended_) linger_timer_ = loop_.schedule(kLinger, [this] { transport_->abort(); });
}

void H2Connection::schedule_ping() {
  if (options_.ping_every.count() == 0) return;
  ping_timer_ = loop_.schedule(options_.ping_every, [this] {
    ping_answered_ = false;
    session_.ping();
    ping_timer_ = loop_.schedule(options_.ping_timeout, [this] {
      ping_timer_ = 0;
      if (ping_answered_) {
        schedule_ping();
        return;
      }
      broken_ = Error(Code::kTimeout, "HTTP/2: the peer did not answer a PING");
      transport_->abort();
    });
    want_write();
  });
}

void H2Connection::drain() {
  if (std::exchange(draining_, true)) return;
  session_.goaway();
  finish();
}

// A drained connection ends with its last stream.
void H2Connection::finish() {
  if (draining_ && streams_.empty()) session_.terminate(NGHTTP2_NO_ERROR);
  want_write();
}

void H2Connection::abort() {
  if (!broken_) broken_ = Error(Code::kCancelled, "HTTP/2: the connection was aborted here");
  transport_->abort();
}

void H2Connection::want_write() { writable_.set(); }

std::shared_ptr<H2Connection::StreamState> H2Connection::find(int32_t stream) const {
  const auto found = streams_.find(stream);
  return found == streams_.end() ? nullptr : found->second;
}

void H2Connection::touched(std::shared_ptr<StreamState> stream) {
  touched_.push_back(std::move(stream));
}

void H2Connection::settle() {
  while (!touched_.empty()) {
    const std::shared_ptr<StreamState> stream = std::move(touched_.front());
    touched_.pop_front();
    stream->changed.wake();
    stream->room.wake();
  }
  while (!requested_.empty()) {
    std::unique_ptr<H2Stream> stream = std::move(requested_.front());
    requested_.pop_front();
    if (on_request_) on_request_(std::move(stream));
  }
  if (std::exchange(some_gone_, false)) {
    if (draining_) finish();
    if (stream_gone_) stream_gone_();
  }
}

void H2Connection::on_headers(int32_t id, std::vector<Header> headers, bool /*end*/) {
  std::shared_ptr<StreamState> state = find(id);
  if (!state) {
    if (options_.role != H2Role::kServer) return;
    state = std::make_shared<StreamState>();
    state->connection = this;
    state->id = id;
    streams_.emplace(id, state);
    requested_.push_back(std::unique_ptr<H2Stream>(new H2Stream(state)));
  }
  if (!state->has_headers) {
    // An interim response (1xx) comes before the one that counts.
    const std::string_view status = find_header(headers, ":status");
    if (status.size() == 3 && status.front() == '1') return;
    state->headers = std::move(headers);
    state->has_headers = true;
  } else {
    state->trailers = std::move(headers);
  }
  touched(std::move(state));
}

void H2Connection::on_data(int32_t id, Buffer bytes) {
  const std::shared_ptr<StreamState> state = find(id);
  if (!state || state->aborted) return;
  Buffer* behind = state->incoming.empty() ? nullptr : &state->incoming.back();
  if (behind != nullptr && behind->is_exclusive() && bytes.size() < H2Session::kShareBytesMin &&
      behind->tail().size() >= bytes.size()) {
    Buffer& last = *behind;
    std::memcpy(last.tail().data(), bytes.data(), bytes.size());
    last.extend(bytes.size());
  } else {
    state->incoming.push_back(std::move(bytes));
  }
  touched(state);
}

void H2Connection::on_end(int32_t id) {
  if (const std::shared_ptr<StreamState> state = find(id)) {
    state->peer_ended = true;
    touched(state);
  }
}

void H2Connection::on_closed(int32_t id, uint32_t error) {
  const std::shared_ptr<StreamState> state = find(id);
  if (!state) return;
  state->closed = true;
  if (error != NGHTTP2_NO_ERROR && !state->error) {
    const Code code = error == NGHTTP2_REFUSED_STREAM ? Code::kUnavailable : Code::kReset;
    state->error = Error(code, std::string("HTTP/2: the peer reset the stream (") +
                                   nghttp2_http2_strerror(error) + ")");
  }
  state->outgoing.clear();
  state->outgoing_bytes = 0;
  state->connection = nullptr;
  streams_.erase(id);
  some_gone_ = true;
  touched(state);
}

void H2Connection::on_goaway(int32_t /*last_stream*/, uint32_t /*error*/) { going_away_ = true; }

H2Observer::Outgoing H2Connection::outgoing_ready(int32_t id, size_t size) {
  const std::shared_ptr<StreamState> state = find(id);
  if (!state) return {};
  const size_t bytes = std::min(size, state->outgoing_bytes);
  return {bytes, state->we_ended && bytes == state->outgoing_bytes};
}

void H2Connection::take_outgoing(int32_t id, std::span<uint8_t> into) {
  const std::shared_ptr<StreamState> state = find(id);
  CHECK(state != nullptr && state->outgoing_bytes >= into.size());
  state->outgoing_bytes -= into.size();
  while (!into.empty()) {
    Buffer& first = state->outgoing.front();
    const size_t part = std::min(first.size(), into.size());
    std::memcpy(into.data(), first.data(), part);
    first.trim_front(part);
    into = into.subspan(part);
    if (first.empty()) state->outgoing.pop_front();
  }
  touched(state);
}

void H2Connection::fail_streams(const Error& error) {
  const auto streams = std::exchange(streams_, {});
  for (const auto& [id, state] : streams) {
    state->connection = nullptr;
    state->closed = true;
    if (!state->error && !(state->peer_ended && state->we_ended)) state->error = error;
  }
  for (const auto& [id, state] : streams) {
    state->changed.wake();
    state->room.wake();
  }
}

}  // namespace weft::http
