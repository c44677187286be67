#pragma once

#include "ztunnel/base/result.h"
#include "ztunnel/http/header.h"
#include "ztunnel/runtime/buffer.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

struct nghttp2_session;

// HTTP/2 without I/O: bytes in, events out; and when asked, bytes out. Over nghttp2, whose checks
// of HTTP semantics stay on. Payload is not copied on its way in (a Buffer shares the storage of
// what was fed) and once on its way out, into the buffer that will be sealed.

namespace weft::http {

enum class H2Role { kClient, kServer };

struct H2Limits {
  // ztunnel's values (reference: ztunnel.md 1.1, 1.2).
  uint32_t stream_window_bytes = 4U << 20;
  uint32_t connection_window_bytes = 16U << 20;  // four streams' worth: one cannot stall the others
  uint32_t streams_max = 200;                    // that the peer may open; 0 on a client
  uint32_t header_list_bytes_max = 64U << 10;
};

// Told about while bytes are fed. An observer may submit frames from within, but must not feed or
// produce.
class H2Observer {
 public:
  virtual ~H2Observer() = default;
  // The first header block of a stream: a request on a server, a response on a client. Later blocks
  // are trailers.
  virtual void on_headers(int32_t stream, std::vector<Header> headers, bool end) = 0;
  virtual void on_data(int32_t stream, runtime::Buffer bytes) = 0;
  virtual void on_end(int32_t stream) = 0;  // the peer's side has ended in good order
  // The stream is gone; `error` is an HTTP/2 error code, 0 after an orderly end of both sides.
  virtual void on_closed(int32_t stream, uint32_t error) = 0;
  virtual void on_goaway(int32_t last_stream, uint32_t error) = 0;
  virtual void on_ping_answered() = 0;
  // A stream's outgoing bytes are wanted: at most `size`. `end`: nothing follows them.
  struct Outgoing {
    size_t bytes = 0;
    bool end = false;
  };
  virtual Outgoing outgoing_ready(int32_t stream, size_t size) = 0;
  // Copies exactly so many of them, which outgoing_ready() promised.
  virtual void take_outgoing(int32_t stream, std::span<uint8_t> into) = 0;
};

class H2Session {
 public:
  // One DATA frame with its header is one full TLS record.
  static constexpr size_t kDataBytesMax = 16384 - 9;
  // A small piece of payload would keep a whole buffer alive: below this it is copied instead, so
  // that a peer that sends a byte a frame cannot pin 64 KiB with each.
  static constexpr size_t kShareBytesMin = 4096;
  // SETTINGS and PING answers that may wait for a peer that does not read.
  static constexpr size_t kOutboundAcksMax = 1000;

  H2Session(H2Role role, const H2Limits& limits, H2Observer& observer, runtime::BufferPool& pool);
  ~H2Session();

  // kInvalid: the peer does not speak HTTP/2 or broke a limit; the connection is to be ended
  // (produce() still yields the GOAWAY that says why).
  Result<void> feed(const runtime::Buffer& bytes);
  // The next bytes to send, at most a buffer full; empty: nothing now.
  Result<runtime::Buffer> produce();
  // Whether the session can end: nothing to send and nothing expected.
  bool is_finished() const;

  Result<int32_t> submit_request(const std::vector<Header>& headers, bool end);
  Result<void> submit_response(int32_t stream, const std::vector<Header>& headers, bool end);
  void resume(int32_t stream);  // outgoing_ready() has something now
  void reset(int32_t stream, uint32_t error);
  void consume(int32_t stream, size_t bytes);  // the reader took them: the stream's window opens
  void ping();
  void goaway();  // no new streams
  void terminate(uint32_t error);
  uint32_t peer_streams_max() const;

 private:
  struct Callbacks;
  runtime::BufferPool& pool_;
  H2Role role_;
  H2Observer& observer_;
  nghttp2_session* session_ = nullptr;
  const runtime::Buffer* feeding_ = nullptr;
  runtime::Buffer out_;
  struct Block;
  std::unique_ptr<Block> block_;  // the header block that is being read
};

}  // namespace weft::http
