#pragma once

#include "ztunnel/http/h2_session.h"
#include "ztunnel/http/h2_stream.h"
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

struct H2Options {
  H2Role role = H2Role::kClient;
  H2Limits limits;
  std::chrono::milliseconds ping_every{0};  // after the answer to the one before; 0: never
  std::chrono::milliseconds ping_timeout{0};
  // A peer that has not sent its preface (a client's magic, and SETTINGS) by then is dropped.
  std::chrono::milliseconds preface_timeout{10'000};
};

// One HTTP/2 connection over a stream of bytes: run() reads and writes it until it has ended. One
// task reads, one writes; what a turn of the loop makes to send leaves in one write.
//
// Memory is bounded: a stream that nobody reads holds at most its own window, which is as large as
// what was read of it before (see H2Limits), and all unread bytes together kUnreadBytesMax and a
// connection window, because past that the connection's own window stays shut.
class H2Connection final : private H2Observer {
 public:
  // Below it no stream can hold up another: it is 16 streams' widest windows.
  static constexpr size_t kUnreadBytesMax = 64U << 20;

  // Server: a request's headers are there. The stream is the handler's from then on.
  using OnRequest = std::function<void(std::unique_ptr<H2Stream>)>;

  H2Connection(runtime::Loop& loop, std::unique_ptr<runtime::ByteStream> transport,
               H2Options options, OnRequest on_request = {});
  ~H2Connection() override;  // run() must have returned, or never been started

  // Until the connection has ended. An orderly end is a value; otherwise why it broke.
  runtime::Task<Result<void>> run();
  // Client: opens a stream. kUnavailable once the connection takes no new ones.
  Result<std::unique_ptr<H2Stream>> request(const std::vector<Header>& headers, bool end);
  // Returns once the peer's settings are here (true) or the connection has ended (false).
  runtime::Task<bool> wait_settings();

  void drain();  // GOAWAY: no new streams; ends when the present ones have
  void abort();  // breaks everything now
  void abort(Error why);
  // Why it broke, if it has.
  const std::optional<Error>& broken() const { return broken_; }
  bool has_settings() const { return has_settings_; }
  bool accepts_requests() const;
  size_t streams() const { return streams_.size(); }
  // How many streams the peer lets us have open at once.
  uint32_t peer_streams_max() const { return session_.peer_streams_max(); }
  bool peer_takes_connect_protocol() const { return session_.peer_takes_connect_protocol(); }
  // Called when a stream has gone, on the connection's own turn.
  void on_stream_gone(std::function<void()> call) { stream_gone_ = std::move(call); }
  // Called for a stream that the peer's own mistake ended before anybody saw it. From within: it
  // may not touch the connection.
  void on_refused_stream(std::function<void(const Error&)> call) { refused_ = std::move(call); }

 private:
  friend class H2Stream;
  using StreamState = H2Stream::State;

  void on_settings() override;
  void on_headers(int32_t stream, std::vector<Header> headers) override;
  void on_data(int32_t stream, const runtime::Buffer& source, size_t offset, size_t size) override;
  void on_end(int32_t stream) override;
  void on_end_sent(int32_t stream) override;
  void on_closed(int32_t stream, uint32_t error) override;
  void on_refused(const Error& error) override {
    if (refused_) refused_(error);
  }
  void on_goaway() override { going_away_ = true; }
  void on_ping_answered(Ping ping) override;
  Outgoing outgoing_ready(int32_t stream, size_t size) override;
  void take_outgoing(int32_t stream, size_t size, PieceList& into) override;

  StreamState* find(int32_t stream) const;
  std::shared_ptr<StreamState> add_stream(int32_t stream);
  runtime::Task<Result<void>> read_loop();
  runtime::Task<void> write_loop();
  void schedule_ping();
  void send_last_goaway();
  void end_if_done();
  void give_back(size_t bytes);
  void consume(StreamState& stream, size_t bytes);
  void reset_unwanted(StreamState& stream);
  void touch(StreamState& stream);
  void settle();
  void want_write();
  void break_off(Error error);
  void fail_streams(const Error& error);

  runtime::Loop& loop_;
  std::unique_ptr<runtime::ByteStream> transport_;
  H2Options options_;
  OnRequest on_request_;
  H2Session session_;
  std::map<int32_t, std::shared_ptr<StreamState>> streams_;
  std::shared_ptr<H2Connection*> link_;  // this; streams that outlive it find null
  // What the last call into the session concerned; see settle().
  std::deque<std::shared_ptr<StreamState>> touched_;
  std::deque<std::unique_ptr<H2Stream>> requested_;
  PieceList out_{loop_.buffers()};  // is being written
  bool some_gone_ = false;
  std::function<void()> stream_gone_;
  std::function<void(const Error&)> refused_;
  runtime::Event writable_;
  runtime::Event settings_;
  std::optional<Error> broken_;
  runtime::TimerId preface_timer_ = 0;
  runtime::TimerId ping_timer_ = 0;
  runtime::TimerId drain_timer_ = 0;
  runtime::TimerId linger_timer_ = 0;
  size_t unread_bytes_ = 0;    // that streams hold
  size_t withheld_bytes_ = 0;  // of the connection's window
  runtime::TurnEnd flush_{loop_, [this] { writable_.wake(); }};
  bool writer_waits_ = false;
  bool has_settings_ = false;
  bool draining_ = false;
  bool last_goaway_due_ = false;  // server
  bool said_goaway_ = false;      // the last one
  bool going_away_ = false;       // the peer said so
  bool finished_ = false;         // in good order: all is said
  bool ended_ = false;
};

}  // namespace weft::http
