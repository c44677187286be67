#include "ztunnel/node/relay.h"

#include "ztunnel/runtime/sync.h"

namespace weft::node {
namespace {

using runtime::ByteStream;
using runtime::Task;

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

Task<void> copy(ByteStream& from, ByteStream& to, RelayBytes& bytes, Count count, Pair& pair) {
  while (true) {
    Result<runtime::Buffer> chunk = co_await from.read();
    if (!chunk) {
      pair.abort(std::move(chunk.error()));
      co_return;
    }
    if (chunk->empty()) break;
    const size_t size = chunk->size();
    Result<void> written = co_await to.write(std::move(*chunk));
    if (!written) {
      pair.abort(std::move(written.error()));
      co_return;
    }
    (bytes.*count)(size);
  }
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

}  // namespace weft::node
