#pragma once

#include "ztunnel/base/result.h"
#include "ztunnel/http/byte_queue.h"
#include "ztunnel/http/h2_stream.h"
#include "ztunnel/runtime/sync.h"

#include <functional>
#include <optional>
#include <utility>

// What a connection and the holder of one of its streams share. Internal to H2Connection and
// H2Stream.

namespace weft::http {

struct H2Stream::State {
  State(runtime::BufferPool& pool, std::shared_ptr<H2Connection*> its_connection, int32_t its_id)
      : link(std::move(its_connection)), id(its_id), incoming(pool), outgoing(pool) {}

  std::shared_ptr<H2Connection*> link;  // to null once the connection is gone
  int32_t id = 0;
  std::vector<Header> headers;
  std::vector<Header> trailers;
  std::vector<Header> our_trailers;
  bool has_headers = false;
  bool peer_ended = false;
  bool we_ended = false;      // nothing follows `outgoing`
  bool responded = false;     // server
  bool aborted = false;       // by us
  bool end_sent = false;      // what we ended is sent
  bool unwanted = false;      // by its holder: reset once what we ended is sent
  bool closed = false;        // HTTP/2 knows it no more
  bool stopped = false;       // nobody wants to read on
  bool touched = false;       // is in the connection's list
  uint32_t window_bytes = 0;  // that the peer may be ahead of our reader
  size_t read_bytes = 0;      // until window_bytes is the most there is
  std::optional<Error> error;
  std::move_only_function<void()> when_broken;
  ByteQueue incoming;
  ByteQueue outgoing;
  runtime::Event readable;  // headers, bytes, end or error
  runtime::Event writable;  // outgoing bytes were taken, or error

  // Not null unless is_over().
  H2Connection* connection() const { return *link; }
  bool is_over() const { return closed || error.has_value(); }
  // Tells who asked to know, once.
  void tell_broken() {
    if (is_over() && !we_ended && when_broken) std::exchange(when_broken, {})();
  }
  Error failure() const {
    if (error) return *error;
    return {Code::kReset, "HTTP/2: the stream has ended"};
  }
};

}  // namespace weft::http
