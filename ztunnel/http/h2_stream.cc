#include "ztunnel/http/h2_stream.h"

#include "ztunnel/http/h2_connection.h"
#include "ztunnel/http/h2_stream_state.h"

#include <nghttp2/nghttp2.h>

namespace weft::http {

using runtime::Buffer;
using runtime::Task;

H2Stream::~H2Stream() {
  State& state = *state_;
  state.when_broken = {};
  if (state.connection() != nullptr) state.connection()->give_back(state.incoming.size());
  state.incoming.clear();
  // What both sides have ended is sent to its end without a holder.
  if (state.is_over() || (state.we_ended && state.peer_ended)) return;
  // A response that did not wait for the whole request (RFC 9113, 8.1): the peer is to see it, and
  // then that the rest is not wanted.
  if (state.we_ended && state.responded) {
    state.unwanted = true;
    if (state.end_sent) state.connection()->reset_unwanted(state);
    return;
  }
  abort();
}

const std::vector<Header>& H2Stream::headers() const { return state_->headers; }
void H2Stream::forget_headers() { std::vector<Header>().swap(state_->headers); }
std::vector<Header> H2Stream::take_headers() { return std::move(state_->headers); }
std::vector<Header> H2Stream::take_trailers() { return std::move(state_->trailers); }
const std::vector<Header>& H2Stream::trailers() const { return state_->trailers; }

Task<Result<void>> H2Stream::wait_headers() {
  const std::shared_ptr<State> state = state_;
  while (!state->has_headers && !state->is_over()) co_await state->readable.wait();
  if (state->has_headers && !state->aborted) co_return Result<void>();
  co_return Fail(state->failure());
}

Result<void> H2Stream::respond(const std::vector<Header>& headers, bool end) {
  State& state = *state_;
  if (state.is_over()) return Fail(state.failure());
  TRY(state.connection()->session_.submit_response(state.id, headers, end));
  state.responded = true;
  state.we_ended = state.we_ended || end;
  state.connection()->want_write();
  return {};
}

Result<void> H2Stream::inform(const std::vector<Header>& headers) {
  State& state = *state_;
  if (state.is_over()) return Fail(state.failure());
  TRY(state.connection()->session_.submit_interim(state.id, headers));
  state.connection()->want_write();
  return {};
}

bool H2Stream::has_more() const { return !state_->peer_ended || !state_->incoming.empty(); }

void H2Stream::stop_reading() {
  const std::shared_ptr<State> state = state_;
  state->stopped = true;
  state->readable.wake();
}

void H2Stream::when_broken(std::move_only_function<void()> call) {
  state_->when_broken = std::move(call);
}

void H2Stream::refuse() { reset(NGHTTP2_REFUSED_STREAM); }

void H2Stream::abort() { reset(NGHTTP2_CANCEL); }

void H2Stream::reset(uint32_t error) {
  const std::shared_ptr<State> state = state_;
  if (std::exchange(state->aborted, true)) return;
  if (H2Connection* connection = state->connection(); connection != nullptr) {
    connection->give_back(state->incoming.size());
    if (!state->closed) {
      connection->session_.reset(state->id, error);
      connection->want_write();
    }
  }
  state->incoming.clear();
  // `outgoing` stays until the stream is closed: a frame of it may be under way already.
  state->error = Error(Code::kCancelled, "HTTP/2: the stream was aborted here");
  state->readable.wake();
  state->writable.wake();
}

Task<Result<Buffer>> H2Stream::read() {
  const std::shared_ptr<State> state = state_;
  while (state->incoming.empty() && !state->peer_ended && !state->is_over() && !state->stopped) {
    co_await state->readable.wait();
  }
  if (state->aborted) co_return Fail(state->failure());
  if (state->stopped) co_return fail(Code::kCancelled, "HTTP/2: nobody reads the stream any more");
  if (std::optional<Buffer> first = take_ready()) co_return std::move(*first);
  if (state->peer_ended) co_return Buffer();
  co_return Fail(state->failure());
}

std::optional<Buffer> H2Stream::take_ready() {
  State& state = *state_;
  if (state.aborted || state.incoming.empty()) return std::nullopt;
  Buffer first = state.incoming.pop();
  if (H2Connection* connection = state.connection(); connection != nullptr) {
    connection->consume(state, first.size());
    connection->give_back(first.size());
  }
  return first;
}

Task<Result<void>> H2Stream::write(Buffer bytes) {
  const std::shared_ptr<State> state = state_;
  if (bytes.empty()) co_return Result<void>();
  while (!state->is_over() && state->outgoing.size() >= kOutgoingBytesMax) {
    co_await state->writable.wait();
  }
  if (state->is_over()) co_return Fail(state->failure());
  if (state->we_ended) co_return fail(Code::kInternal, "HTTP/2: a write behind the stream's end");
  state->outgoing.push(std::move(bytes));
  state->connection()->session_.resume(state->id);
  state->connection()->want_write();
  co_return Result<void>();
}

Task<Result<void>> H2Stream::shutdown_write() { co_return end(); }

Result<void> H2Stream::finish(std::vector<Header> trailers) {
  state_->our_trailers = std::move(trailers);
  return end();
}

Result<void> H2Stream::end() {
  State& state = *state_;
  if (state.aborted) return Fail(state.failure());
  if (state.we_ended) return {};
  if (state.is_over()) return Fail(state.failure());
  state.we_ended = true;
  state.connection()->session_.resume(state.id);
  state.connection()->want_write();
  return {};
}

}  // namespace weft::http
