#include "ztunnel/role/relay.h"

#include "ztunnel/runtime/socket.h"
#include "ztunnel/runtime/splice.h"
#include "ztunnel/runtime/sync.h"

#include <array>
#include <span>

namespace weft::role {
namespace {

using runtime::ByteStream;
using runtime::Task;

// What is handed on at once: pieces that a stream has ready (an HTTP/2 stream has one for each
// frame of 16 KiB) leave in one system call. More would only leave the cache before it is written.
constexpr size_t kPiecesMax = 8;
constexpr size_t kBytesPerWrite = 128 * 1024;
// So many full buffers in a row are bulk, which two sockets pass on inside the kernel. One could be
// a single large answer.
constexpr int kFullBeforeSplice = 2;

struct Pair {
  ByteStream& client;
  ByteStream& server;
  std::optional<Error> broken;

  void abort(Error error) {
    if (!broken) broken = std::move(error);
    client.abort();
    server.abort();
  }
};

using Count = void (RelayBytes::*)(uint64_t);

// Between two sockets, once they are busy; false: the direction is over.
Task<bool> move_in_kernel(ByteStream& from, ByteStream& to, RelayBytes& bytes, Count count,
                          Pair& pair) {
  auto moved = [&](uint64_t size) {
    (bytes.*count)(size);
    from.moved(size, 0);
    to.moved(0, size);
  };
  const auto end = co_await runtime::splice_bulk(*from.socket(), *to.socket(), moved);
  if (end) co_return *end == runtime::SpliceEnd::kPaused;
  pair.abort(end.error());
  co_return false;
}

Task<void> copy(ByteStream& from, ByteStream& to, RelayBytes& bytes, Count count, Pair& pair) {
  const bool has_sockets = from.socket() != nullptr && to.socket() != nullptr;
  int full_in_a_row = 0;
  while (true) {
    if (has_sockets && full_in_a_row >= kFullBeforeSplice) {
      full_in_a_row = 0;
      if (!co_await move_in_kernel(from, to, bytes, count, pair)) break;
    }
    Result<runtime::Buffer> chunk = co_await from.read();
    if (!chunk) {
      pair.abort(std::move(chunk.error()));
      co_return;
    }
    if (chunk->empty()) break;
    size_t size = chunk->size();
    full_in_a_row = size == runtime::BufferPool::kBufferBytes ? full_in_a_row + 1 : 0;
    std::array<runtime::Buffer, kPiecesMax> pieces;
    pieces[0] = std::move(*chunk);
    size_t ready = 1;
    while (ready < pieces.size() && size < kBytesPerWrite) {
      std::optional<runtime::Buffer> more = from.take_ready();
      if (!more) break;
      size += more->size();
      pieces[ready++] = std::move(*more);
    }
    Result<void> written = co_await to.write_pieces(std::span(pieces).first(ready));
    if (!written) {
      pair.abort(std::move(written.error()));
      co_return;
    }
    (bytes.*count)(size);
  }
  if (pair.broken) co_return;
  Result<void> ended = co_await to.shutdown_write();
  if (!ended) pair.abort(std::move(ended.error()));
}

}  // namespace

Task<std::optional<Error>> relay(ByteStream& client, ByteStream& server, RelayBytes& bytes) {
  Pair pair{client, server, std::nullopt};
  runtime::TaskScope upstream;
  upstream.spawn(copy(client, server, bytes, &RelayBytes::add_sent, pair));
  co_await copy(server, client, bytes, &RelayBytes::add_received, pair);
  co_await upstream.join();
  co_return std::move(pair.broken);
}

}  // namespace weft::role
