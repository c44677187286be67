#pragma once

#include "ztunnel/base/result.h"
#include "ztunnel/http/header.h"
#include "ztunnel/http/piece_list.h"
#include "ztunnel/runtime/buffer.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

struct nghttp2_session;

// HTTP/2 without I/O: bytes in, events out; and when asked, bytes out. Over nghttp2, whose checks
// of HTTP semantics stay on. Payload is not copied: on its way in the observer is shown where in
// what was fed it lies, on its way out it is a piece behind its frame's header.

namespace weft::http {

enum class H2Role { kClient, kServer };

struct H2Limits {
  // A new stream's window; Istio's ztunnel gives 4 MiB at once, which a reader that never reads
  // would make us hold. Ours doubles with what is read, so it takes a bulk reader 4 MiB to have
  // them.
  uint32_t stream_window_bytes = 256U << 10;
  uint32_t stream_window_bytes_max = 4U << 20;
  // ztunnel's values (reference: ztunnel.md 1.1, 1.2).
  uint32_t connection_window_bytes = 16U << 20;  // four streams' worth: one cannot stall the others
  uint32_t frame_bytes_max = 1U << 20;  // that the peer may send; its payload is taken in pieces
  uint32_t streams_max = 200;           // that the peer may open; 0 on a client
  bool connect_protocol = false;        // a server that takes extended CONNECT (RFC 8441)
  uint32_t header_list_bytes_max = 64U << 10;  // of one block, counted as RFC 9113, 6.5.2 does
};

// What a PING of ours was for; its answer says it again.
enum class Ping : uint8_t { kAlive = 1, kDrain = 2 };

// Told about what happens while bytes are fed or produced. An observer may submit frames and
// consume from within, but not feed or produce.
class H2Observer {
 public:
  virtual ~H2Observer() = default;
  virtual void on_settings() = 0;  // the peer's; the first time, its preface is complete
  // The first header block of a stream: a request on a server, a response on a client. Later blocks
  // are trailers.
  virtual void on_headers(int32_t stream, std::vector<Header> headers) = 0;
  // Payload is source[offset .. offset+size). Both windows stay closed by as much until they are
  // consumed.
  virtual void on_data(int32_t stream, const runtime::Buffer& source, size_t offset,
                       size_t size) = 0;
  virtual void on_end(int32_t stream) = 0;       // the peer's side has ended in good order
  virtual void on_end_sent(int32_t stream) = 0;  // ours has
  // The stream is gone; `error` is an HTTP/2 error code, 0 after an orderly end of both sides.
  virtual void on_closed(int32_t stream, uint32_t error) = 0;
  // A stream was reset because of what the peer sent on it; the others go on.
  virtual void on_refused(const Error&) {}
  virtual void on_goaway() = 0;  // the peer takes no new streams
  virtual void on_ping_answered(Ping ping) = 0;
  // A stream's outgoing bytes are wanted: at most `size`. `end`: nothing follows them.
  struct Outgoing {
    size_t bytes = 0;
    bool end = false;
    // With `end`: what follows the bytes; null: nothing. Good until the next call.
    const std::vector<Header>* trailers = nullptr;
  };
  virtual Outgoing outgoing_ready(int32_t stream, size_t size) = 0;
  // Adds exactly so many of them, which outgoing_ready() promised.
  virtual void take_outgoing(int32_t stream, size_t size, PieceList& into) = 0;
};

class H2Session {
 public:
  // One DATA frame with its header is one full TLS record.
  static constexpr size_t kDataBytesMax = 16384 - 9;
  // What is gathered before it is sent: some full records. More would leave the cache before it is
  // sealed and sent.
  static constexpr size_t kProduceBytes = 128 * 1024;
  // SETTINGS and PING answers that may wait for a peer that does not read. A good peer has one or
  // two under way.
  static constexpr size_t kOutboundAcksMax = 1000;
  // Frames other than DATA that may wait for a peer that does not read: answers, resets and window
  // updates of kServerStreamsMax streams several times over.
  static constexpr size_t kOutboundFramesMax = 4096;
  // Streams that a client may reset: so many at once, then so many a second (CVE-2023-44487). An
  // application that breaks its connections is a reset each, so this is well above nghttp2's 33 a
  // second; past it the peer gets a GOAWAY, its open streams go on.
  static constexpr uint64_t kResetsBurst = 1000;
  static constexpr uint64_t kResetsPerSecond = 200;
  // Fields in one header block. A CONNECT has five.
  static constexpr size_t kHeadersMax = 100;

  H2Session(H2Role role, const H2Limits& limits, H2Observer& observer);
  ~H2Session();
  H2Session(const H2Session&) = delete;
  H2Session& operator=(const H2Session&) = delete;

  // kInvalid, kLimit: the peer does not speak HTTP/2 or floods us; there is nothing more to say to
  // it. What it may be told (a GOAWAY) is no error here: see failure() once is_finished().
  Result<void> feed(const runtime::Buffer& bytes);
  // Adds the next bytes to send, until kProduceBytes or a frame more are gathered; still empty:
  // nothing now.
  Result<void> produce(PieceList& out);
  bool wants_write() const;
  // Whether the session is over: nothing to send and nothing expected.
  bool is_finished() const;
  // Why we ended it, where the peer broke the protocol.
  const std::optional<Error>& failure() const { return failure_; }

  // Where the peer has as many streams as it wants, the request waits. kInvalid: a header that
  // HTTP/2 cannot carry.
  Result<int32_t> submit_request(const std::vector<Header>& headers, bool end);
  Result<void> submit_response(int32_t stream, const std::vector<Header>& headers, bool end);
  // A server's interim response (1xx).
  Result<void> submit_interim(int32_t stream, const std::vector<Header>& headers);
  void resume(int32_t stream);  // outgoing_ready() has something now
  void reset(int32_t stream, uint32_t error);
  void consume_stream(int32_t stream, size_t bytes);       // its window opens by so much
  void set_stream_window(int32_t stream, uint32_t bytes);  // more than it was
  void consume_connection(size_t bytes);
  void ping(Ping ping);
  void announce_goaway();  // server: a GOAWAY that still lets streams in that are on their way
  void goaway();           // no new streams
  void terminate(uint32_t error);
  uint32_t peer_streams_max() const;
  // Whether the peer, a server, takes extended CONNECT.
  bool peer_takes_connect_protocol() const;

 private:
  struct Callbacks;
  struct Block;
  Error broken(std::string_view what) const;
  void tell_refused(uint32_t error);

  H2Role role_;
  size_t header_list_bytes_max_;
  H2Observer& observer_;
  nghttp2_session* session_ = nullptr;
  const runtime::Buffer* feeding_ = nullptr;
  PieceList* out_ = nullptr;      // where produce() is at work
  std::unique_ptr<Block> block_;  // the header block that is being read
  std::string complaint_;         // nghttp2's latest words about the peer
  std::optional<Error> failure_;
  bool dead_ = false;  // nghttp2 is not to be called any more
};

}  // namespace weft::http
