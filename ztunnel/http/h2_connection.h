#pragma once

#include "ztunnel/http/h2_session.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/stream.h"
#include "ztunnel/runtime/sync.h"

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>

namespace weft::http {

class H2Connection;

// One HTTP/2 stream as a stream of bytes. Whoever holds it may let go at any time: what is
// unfinished is then reset. Stays usable (every call fails) after its connection is gone.
class H2Stream final : public runtime::ByteStream {
 public:
  // What a writer may be ahead of what was sent, besides the transport's own bound. More only adds
  // delay; less would not fill a pass of the sealer.
  static constexpr size_t kOutgoingBytesMax = 128 * 1024;

  ~H2Stream() override;

  // The peer's first header block: a request where we serve, a response where we ask.
  runtime::Task<Result<void>> wait_headers();
  const std::vector<Header>& headers() const;
  // Behind the end of the stream; empty: none came.
  const std::vector<Header>& trailers() const;
  // Server: the response's headers. `end`: no bytes follow.
  Result<void> respond(const std::vector<Header>& headers, bool end);

  runtime::Task<Result<runtime::Buffer>> read() override;
  runtime::Task<Result<void>> write(runtime::Buffer bytes) override;
  runtime::Task<Result<void>> shutdown_write() override;
  void abort() override;

 private:
  friend class H2Connection;
  struct State;
  explicit H2Stream(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

struct H2Options {
  H2Role role = H2Role::kClient;
  H2Limits limits;
  std::chrono::milliseconds ping_every{0};  // 0: never
  std::chrono::milliseconds ping_timeout{0};
  // A server drops a peer that has not sent its preface and settings by then.
  std::chrono::milliseconds preface_timeout{10'000};
};

// One HTTP/2 connection over a stream of bytes: run() reads and writes it until it has ended.
class H2Connection final : private H2Observer {
 public:
  // Server: a request's headers are there. The stream is the handler's from then on.
  using OnRequest = std::function<void(std::unique_ptr<H2Stream>)>;

  H2Connection(runtime::Loop& loop, std::unique_ptr<runtime::ByteStream> transport,
               H2Options options, OnRequest on_request = {});
  ~H2Connection() override;  // run() must have returned, or never been started

  // Until the connection has ended. An orderly end is a value; otherwise why it broke.
  runtime::Task<Result<void>> run();
  // Client: opens a stream. kUnavailable once the connection takes no new ones.
  Result<std::unique_ptr<H2Stream>> request(const std::vector<Header>& headers, bool end);

  void drain();  // GOAWAY: no new streams; ends when the present ones have
  void abort();  // breaks everything now
  bool accepts_requests() const { return !ended_ && !draining_ && !going_away_; }
  size_t streams() const { return streams_.size(); }
  // How many streams the peer lets us have open at once.
  uint32_t peer_streams_max() const { return session_.peer_streams_max(); }
  // Called when a stream has gone, on the connection's own turn.
  void on_stream_gone(std::function<void()> call) { stream_gone_ = std::move(call); }
  const runtime::ByteStream& transport() const { return *transport_; }

 private:
  friend class H2Stream;
  using StreamState = H2Stream::State;

  void on_headers(int32_t stream, std::vector<Header> headers, bool end) override;
  void on_data(int32_t stream, runtime::Buffer bytes) override;
  void on_end(int32_t stream) override;
  void on_closed(int32_t stream, uint32_t error) override;
  void on_goaway(int32_t last_stream, uint32_t error) override;
  void on_ping_answered() override { ping_answered_ = true; }
  Outgoing outgoing_ready(int32_t stream, size_t size) override;
  void take_outgoing(int32_t stream, std::span<uint8_t> into) override;

  std::shared_ptr<StreamState> find(int32_t stream) const;
  runtime::Task<Result<void>> read_loop();
  runtime::Task<void> write_loop();
  void schedule_ping();
  void touched(std::shared_ptr<StreamState> stream);
  void settle();  // wakes whom the last call into the session concerns
  void want_write();
  void fail_streams(const Error& error);
  void finish();

  runtime::Loop& loop_;
  std::unique_ptr<runtime::ByteStream> transport_;
  H2Options options_;
  OnRequest on_request_;
  H2Session session_;
  std::map<int32_t, std::shared_ptr<StreamState>> streams_;
  std::deque<std::shared_ptr<StreamState>> touched_;
  std::deque<std::unique_ptr<H2Stream>> requested_;
  std::function<void()> stream_gone_;
  runtime::Event writable_;
  std::optional<Error> broken_;
  runtime::TimerId ping_timer_ = 0;
  runtime::TimerId linger_timer_ = 0;
  bool in_session_ = false;  // nghttp2 is on the call stack: wake nobody
  bool ping_answered_ = true;
  bool draining_ = false;
  bool going_away_ = false;  // the peer said so
  bool ended_ = false;
  bool some_gone_ = false;
};

}  // namespace weft::http
