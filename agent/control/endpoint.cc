#include "agent/control/endpoint.h"

namespace weft::control {

using runtime::Task;

Endpoint::Endpoint(runtime::Loop& loop, Fd listener, http::Handler handler)
    : loop_(loop),
      listener_(std::move(listener)),
      handler_(std::move(handler)),
      acceptor_(loop, listener_.get(),
                [this](Fd connection) { return admit(std::move(connection)); }) {}

Endpoint::~Endpoint() = default;

Result<std::unique_ptr<Endpoint>> Endpoint::listen(runtime::Loop& loop,
                                                   const SocketAddress& address,
                                                   http::Handler handler) {
  auto listener = runtime::listen_in(-1, address, kConnectionsMax);
  if (!listener) return Fail(std::move(listener.error()).in("listening on " + address.to_string()));
  return std::make_unique<Endpoint>(loop, std::move(*listener), std::move(handler));
}

Task<void> Endpoint::run() {
  co_await acceptor_.run();
  for (runtime::ByteStream* connection : connections_) connection->abort();
  co_await tasks_.join();
}

void Endpoint::stop() { acceptor_.stop(); }

Task<void> Endpoint::admit(Fd connection) {
  if (connections_.size() < kConnectionsMax) tasks_.spawn(serve(std::move(connection)));
  co_return;
}

Task<void> Endpoint::serve(Fd connection) {
  auto stream = std::make_unique<runtime::SocketStream>(loop_, std::move(connection));
  runtime::ByteStream* const raw = stream.get();
  connections_.insert(raw);
  co_await http::serve_http1(loop_, std::move(stream), handler_);
  connections_.erase(raw);
}

}  // namespace weft::control
