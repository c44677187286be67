#include "ztunnel/http/h2_connection.h"

#include "ztunnel/base/check.h"
#include "ztunnel/http/h2_stream_state.h"
#include "ztunnel/runtime/pooled.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <utility>

// nghttp2 calls back from within itself, and nobody may be resumed from there: what it says is
// noted (touch) and told when it has returned (settle). What is to be sent is sent at the end of
// the loop's turn (want_write), so that all that the turn's tasks have to say leaves together.

namespace weft::http {

using runtime::Buffer;
using runtime::Task;

namespace {

// What a connection that is over waits for its peer: to take the last frames, to close its side.
constexpr std::chrono::seconds kLinger{1};
// How long requests that are on their way may arrive after the first GOAWAY, where the peer does
// not say by a PING that it has seen it.
constexpr std::chrono::seconds kDrainNotice{1};

}  // namespace

H2Connection::H2Connection(runtime::Loop& loop, std::unique_ptr<runtime::ByteStream> transport,
                           H2Options options, OnRequest on_request)
    : loop_(loop),
      transport_(std::move(transport)),
      options_(options),
      on_request_(std::move(on_request)),
      session_(options.role, options.limits, *this),
      link_(std::make_shared<H2Connection*>(this)) {}

H2Connection::~H2Connection() {
  ended_ = true;
  fail_streams(Error(Code::kReset, "HTTP/2: the connection has ended"));
  requested_.clear();
  *link_ = nullptr;
  for (const runtime::TimerId timer : {preface_timer_, ping_timer_, drain_timer_, linger_timer_}) {
    loop_.unschedule(timer);
  }
}

bool H2Connection::accepts_requests() const {
  return !ended_ && !broken_ && !draining_ && !going_away_ && !session_.failure();
}

Result<std::unique_ptr<H2Stream>> H2Connection::request(const std::vector<Header>& headers,
                                                        bool end) {
  if (!accepts_requests()) {
    return fail(Code::kUnavailable, "HTTP/2: the connection takes no new streams");
  }
  const int32_t id = TRY(session_.submit_request(headers, end));
  const std::shared_ptr<StreamState> state = add_stream(id);
  state->we_ended = end;
  want_write();
  return std::unique_ptr<H2Stream>(new H2Stream(state));
}

Task<bool> H2Connection::wait_settings() {
  while (!has_settings_ && !ended_) co_await settings_.wait();
  co_return has_settings_ && !ended_;
}

Task<Result<void>> H2Connection::run() {
  runtime::TaskScope writer;
  writer.spawn(write_loop());
  want_write();
  schedule_ping();
  preface_timer_ = loop_.schedule(options_.preface_timeout, [this] {
    break_off(Error(Code::kTimeout, "HTTP/2: the peer did not send its preface within " +
                                        std::to_string(options_.preface_timeout.count()) + " ms"));
  });
  Result<void> read = co_await read_loop();
  if (!read && !finished_ && !broken_) broken_ = std::move(read.error());
  ended_ = true;
  for (runtime::TimerId* timer : {&preface_timer_, &ping_timer_, &drain_timer_, &linger_timer_}) {
    loop_.unschedule(std::exchange(*timer, 0));
  }
  writable_.set();
  {
    const runtime::Deadline deadline(loop_, kLinger, [this] { transport_->abort(); });
    co_await writer.join();
  }
  if (session_.failure() && (!broken_ || broken_->code != Code::kCancelled)) {
    broken_ = session_.failure();
  }
  if (broken_) transport_->abort();
  fail_streams(broken_ ? Error(Code::kReset, "HTTP/2: the connection broke", *broken_)
                       : Error(Code::kReset, "HTTP/2: the connection has ended"));
  settings_.wake();
  if (broken_) co_return Fail(*broken_);
  co_return Result<void>();
}

Task<Result<void>> H2Connection::read_loop() {
  while (true) {
    Result<Buffer> bytes = co_await transport_->read();
    if (!bytes) co_return Fail(std::move(bytes.error()));
    if (bytes->empty()) co_return Result<void>();
    Result<void> fed = session_.feed(*bytes);
    // All that came together, before anybody is told of it: then it is passed on together, too.
    while (fed) {
      std::optional<Buffer> more = transport_->take_ready();
      if (!more) break;
      fed = session_.feed(*more);
    }
    bytes->clear();
    settle();
    if (!fed) co_return fed;
    // Once all is said, what still comes is read and dropped until the peer ends its side too: to
    // close before that could cost it our last frames.
    want_write();
  }
}

Task<void> H2Connection::write_loop() {
  do {
    writer_waits_ = true;
    co_await writable_.wait();
    writer_waits_ = false;
    while (true) {
      send_last_goaway();
      Result<void> produced = session_.produce(out_);
      settle();
      if (!produced) co_return break_off(std::move(produced.error()));
      if (out_.empty()) break;
      Result<void> written = co_await transport_->write_pieces(out_.pieces());
      out_.clear();
      if (!written) co_return break_off(std::move(written.error()));
    }
  } while (!ended_ && !session_.is_finished());
  finished_ = session_.is_finished();
  Result<void> said = co_await transport_->shutdown_write();
  if (!said) co_return break_off(std::move(said.error()));
  // A peer that does not close its side in turn is not waited for.
  if (!ended_) linger_timer_ = loop_.schedule(kLinger, [this] { transport_->abort(); });
}

void H2Connection::want_write() {
  if (!writer_waits_) return;
  if (!session_.wants_write() && !session_.is_finished() && !last_goaway_due_) return;
  flush_.ask();
}

void H2Connection::break_off(Error error) {
  if (!broken_ && !finished_) broken_ = std::move(error);
  transport_->abort();
}

void H2Connection::schedule_ping() {
  if (options_.ping_every.count() == 0) return;
  ping_timer_ = loop_.schedule(options_.ping_every, [this] {
    session_.ping(Ping::kAlive);
    ping_timer_ = loop_.schedule(options_.ping_timeout, [this] {
      ping_timer_ = 0;
      break_off(Error(Code::kTimeout, "HTTP/2: the peer did not answer a PING within " +
                                          std::to_string(options_.ping_timeout.count()) + " ms"));
    });
    want_write();
  });
}

void H2Connection::on_ping_answered(Ping ping) {
  if (ended_) return;
  if (ping == Ping::kDrain) {
    last_goaway_due_ = draining_;
  } else if (ping == Ping::kAlive && ping_timer_ != 0) {
    loop_.unschedule(ping_timer_);
    schedule_ping();
  }
}

void H2Connection::drain() {
  if (std::exchange(draining_, true) || ended_) return;
  if (options_.role == H2Role::kClient) {
    said_goaway_ = true;
    session_.goaway();
    end_if_done();
  } else {
    // Requests that are on their way are still taken: the last GOAWAY, which names the last of
    // them, follows once the peer must have seen this one (RFC 9113, 6.8).
    session_.announce_goaway();
    session_.ping(Ping::kDrain);
    drain_timer_ = loop_.schedule(kDrainNotice, [this] {
      drain_timer_ = 0;
      last_goaway_due_ = true;
      want_write();
    });
  }
  want_write();
}

// Names the last stream that we take; so it is made only when it is sent, because what comes in
// between would be served here and count as refused there.
void H2Connection::send_last_goaway() {
  if (!last_goaway_due_ || std::exchange(said_goaway_, true)) return;
  loop_.unschedule(std::exchange(drain_timer_, 0));
  session_.goaway();
  end_if_done();
}

// A connection that takes no new streams ends with its last one.
void H2Connection::end_if_done() {
  const bool no_more = said_goaway_ || (going_away_ && options_.role == H2Role::kClient);
  if (!no_more || !streams_.empty() || ended_) return;
  session_.terminate(NGHTTP2_NO_ERROR);
  want_write();
}

void H2Connection::abort() {
  abort(Error(Code::kCancelled, "HTTP/2: the connection was aborted here"));
}

void H2Connection::abort(Error why) { break_off(std::move(why)); }

H2Stream::State* H2Connection::find(int32_t stream) const {
  const auto found = streams_.find(stream);
  return found == streams_.end() ? nullptr : found->second.get();
}

std::shared_ptr<H2Stream::State> H2Connection::add_stream(int32_t stream) {
  auto state = std::allocate_shared<StreamState>(runtime::PooledAllocator<StreamState>(),
                                                 loop_.buffers(), link_, stream);
  state->window_bytes = options_.limits.stream_window_bytes;
  streams_.emplace(stream, state);
  return state;
}

void H2Connection::touch(StreamState& stream) {
  if (std::exchange(stream.touched, true)) return;
  touched_.push_back(streams_.at(stream.id));
}

void H2Connection::settle() {
  while (!touched_.empty()) {
    const std::shared_ptr<StreamState> stream = std::move(touched_.front());
    touched_.pop_front();
    stream->touched = false;
    stream->readable.wake();
    if (stream->is_over() || stream->outgoing.size() < H2Stream::kOutgoingBytesMax) {
      stream->writable.wake();
    }
    stream->tell_broken();
  }
  while (!requested_.empty()) {
    std::unique_ptr<H2Stream> stream = std::move(requested_.front());
    requested_.pop_front();
    if (on_request_) on_request_(std::move(stream));
  }
  if (std::exchange(some_gone_, false) && stream_gone_) stream_gone_();
  if (has_settings_ && preface_timer_ != 0) {
    loop_.unschedule(std::exchange(preface_timer_, 0));
    settings_.wake();
  }
  end_if_done();
}

void H2Connection::on_settings() { has_settings_ = true; }

void H2Connection::on_headers(int32_t id, std::vector<Header> headers) {
  StreamState* state = find(id);
  if (state == nullptr) {
    if (options_.role != H2Role::kServer) return;
    const std::shared_ptr<StreamState> added = add_stream(id);
    state = added.get();
    requested_.push_back(std::unique_ptr<H2Stream>(new H2Stream(added)));
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
  touch(*state);
}

void H2Connection::on_data(int32_t id, const Buffer& source, size_t offset, size_t size) {
  StreamState* state = find(id);
  if (state == nullptr || state->aborted || state->unwanted) {
    session_.consume_connection(size);
    return;
  }
  unread_bytes_ += size;
  if (unread_bytes_ <= kUnreadBytesMax) {
    session_.consume_connection(size);
  } else {
    withheld_bytes_ += size;
  }
  state->incoming.push(source, offset, size);
  touch(*state);
}

// What the stream's reader has taken.
void H2Connection::consume(StreamState& stream, size_t bytes) {
  if (stream.closed) return;
  const uint32_t most = options_.limits.stream_window_bytes_max;
  if (stream.window_bytes < most) {
    stream.read_bytes += bytes;
    if (stream.read_bytes >= stream.window_bytes) {
      stream.window_bytes = std::min(2 * stream.window_bytes, most);
      session_.set_stream_window(stream.id, stream.window_bytes);
    }
  }
  session_.consume_stream(stream.id, bytes);
}

// Unread bytes have been read, or given up.
void H2Connection::give_back(size_t bytes) {
  unread_bytes_ -= bytes;
  if (withheld_bytes_ > 0 && unread_bytes_ < kUnreadBytesMax) {
    const size_t part = std::min(withheld_bytes_, kUnreadBytesMax - unread_bytes_);
    withheld_bytes_ -= part;
    session_.consume_connection(part);
  }
  want_write();
}

void H2Connection::on_end(int32_t id) {
  if (StreamState* state = find(id); state != nullptr) {
    state->peer_ended = true;
    touch(*state);
  }
}

void H2Connection::on_end_sent(int32_t id) {
  StreamState* state = find(id);
  if (state == nullptr) return;
  state->end_sent = true;
  if (state->unwanted) reset_unwanted(*state);
}

void H2Connection::reset_unwanted(StreamState& stream) {
  if (stream.peer_ended) return;
  session_.reset(stream.id, NGHTTP2_NO_ERROR);
  want_write();
}

void H2Connection::on_closed(int32_t id, uint32_t error) {
  StreamState* state = find(id);
  if (state == nullptr) return;
  touch(*state);  // keeps it
  state->closed = true;
  if (error != NGHTTP2_NO_ERROR && !state->error) {
    const Code code = error == NGHTTP2_REFUSED_STREAM ? Code::kUnavailable : Code::kReset;
    state->error = Error(code, std::string("HTTP/2: the peer reset the stream (") +
                                   nghttp2_http2_strerror(error) + ")");
    if (!state->peer_ended) {
      unread_bytes_ -= state->incoming.size();
      state->incoming.clear();
    }
  }
  state->outgoing.clear();
  streams_.erase(id);
  some_gone_ = true;
}

H2Observer::Outgoing H2Connection::outgoing_ready(int32_t id, size_t size) {
  const StreamState* state = find(id);
  if (state == nullptr || state->aborted) return {};
  const size_t bytes = std::min(size, state->outgoing.size());
  const bool end = state->we_ended && bytes == state->outgoing.size();
  return {bytes, end, end && !state->our_trailers.empty() ? &state->our_trailers : nullptr};
}

void H2Connection::take_outgoing(int32_t id, size_t size, PieceList& into) {
  StreamState* state = find(id);
  CHECK(state != nullptr);
  state->outgoing.take(size, into);
  touch(*state);
}

void H2Connection::fail_streams(const Error& error) {
  const auto streams = std::exchange(streams_, {});
  for (const auto& [id, state] : streams) {
    state->closed = true;
    if (!state->error) state->error = error;
    state->outgoing.clear();
  }
  for (const auto& [id, state] : streams) {
    state->readable.wake();
    state->writable.wake();
    state->tell_broken();
  }
}

}  // namespace weft::http
