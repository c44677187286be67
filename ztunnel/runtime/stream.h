#pragma once

#include "ztunnel/base/result.h"
#include "ztunnel/runtime/buffer.h"
#include "ztunnel/runtime/task.h"

#include <cstdint>
#include <optional>
#include <span>

namespace weft::runtime {

class SocketStream;

// A two-way stream of bytes: a TCP connection, a TLS session over one, an HBONE stream, a pipe in
// memory. One task may read while another writes; never two readers or two writers at a time.
// Belongs to one loop's thread.
class ByteStream {
 public:
  virtual ~ByteStream() = default;

  // Waits for bytes. An empty Buffer: the peer has ended its side in good order (again on every
  // later call). Holds no memory while it waits.
  virtual Task<Result<Buffer>> read() = 0;
  // What lies ready behind the last read() and can be had without waiting and without a system
  // call. Nothing: ask read(), which also tells of an end or an error.
  virtual std::optional<Buffer> take_ready() { return std::nullopt; }
  // Takes the bytes over; returns when the stream can take more (back-pressure), not when the peer
  // has them. An empty buffer does nothing.
  virtual Task<Result<void>> write(Buffer bytes) = 0;
  // The same for several, in their order, with fewer system calls where the stream can. The span
  // must stay until it returns; the buffers are empty then.
  virtual Task<Result<void>> write_pieces(std::span<Buffer> pieces);
  // Ends our side in good order, behind everything written; reading goes on.
  virtual Task<Result<void>> shutdown_write() = 0;
  // Breaks the stream: the peer sees a reset, and pending and later calls return Code::kCancelled.
  // Returns at once; call it any number of times, also while reads and writes are pending.
  virtual void abort() = 0;

  // The socket whose bytes are this stream's, for who moves them inside the kernel; null where they
  // are not. What was moved past the stream is then told to it.
  virtual SocketStream* socket() { return nullptr; }
  virtual void moved(uint64_t /*received*/, uint64_t /*sent*/) {}
};

}  // namespace weft::runtime
