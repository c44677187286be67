#pragma once

#include "ztunnel/http/header.h"
#include "ztunnel/runtime/stream.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace weft::http {

class H2Connection;

// One HTTP/2 stream as a stream of bytes. Whoever holds it may let go at any time: what is
// unfinished is then reset. Stays usable (every call fails) after its connection is gone.
// shutdown_write() is END_STREAM, abort() is RST_STREAM.
class H2Stream final : public runtime::ByteStream {
 public:
  // What a writer may be ahead of what was sent, besides the transport's own bound. More only adds
  // delay; less would not fill a pass of the sealer.
  static constexpr size_t kOutgoingBytesMax = 128 * 1024;

  ~H2Stream() override;

  // The peer's first header block: a request where we serve, a response where we ask.
  // kUnavailable: the peer did nothing with the request, so it may be sent again elsewhere.
  runtime::Task<Result<void>> wait_headers();
  const std::vector<Header>& headers() const;
  void forget_headers();  // once they are read: a stream may wait for days
  // Behind the end of the stream; empty: none came.
  const std::vector<Header>& trailers() const;
  // Server: the response's headers. `end`: no bytes follow.
  Result<void> respond(const std::vector<Header>& headers, bool end);
  // Server: the peer is told that nothing was done with its request.
  void refuse();
  // Server: an interim response (1xx), before respond().
  Result<void> inform(const std::vector<Header>& headers);
  std::vector<Header> take_headers();
  std::vector<Header> take_trailers();

  // Whether bytes or the end may still come; false: all is read.
  bool has_more() const;
  // Ends our side, as shutdown_write(), with trailers.
  Result<void> finish(std::vector<Header> trailers);
  // A read() that waits fails with kCancelled, as later ones do.
  void stop_reading();
  // `call` runs once, on the connection's turn, should the peer reset the stream or the connection
  // break before our side has ended; not once the stream is let go of.
  void when_broken(std::move_only_function<void()> call);

  // What came before a reset by the peer is read only where the peer had ended its side before it.
  runtime::Task<Result<runtime::Buffer>> read() override;
  std::optional<runtime::Buffer> take_ready() override;
  runtime::Task<Result<void>> write(runtime::Buffer bytes) override;
  runtime::Task<Result<void>> shutdown_write() override;
  void abort() override;

 private:
  friend class H2Connection;
  struct State;
  explicit H2Stream(std::shared_ptr<State> state) : state_(std::move(state)) {}
  void reset(uint32_t error);
  Result<void> end();
  std::shared_ptr<State> state_;
};

}  // namespace weft::http
