#pragma once

#include "tests/support/run_task.h"
#include "tests/support/transports.h"
#include "ztunnel/http/h2_connection.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace weft::testing {

// A client and a server connection that talk to each other, both running.
class H2Pair {
 public:
  using Handler = std::function<runtime::Task<void>(std::unique_ptr<http::H2Stream>)>;

  H2Pair(runtime::Loop& loop, StreamPair ends, Handler handler, http::H2Options client_options = {},
         http::H2Options server_options = {})
      : handler_(std::move(handler)) {
    client_options.role = http::H2Role::kClient;
    server_options.role = http::H2Role::kServer;
    client = std::make_unique<http::H2Connection>(loop, std::move(ends.first), client_options);
    server = std::make_unique<http::H2Connection>(loop, std::move(ends.second), server_options,
                                                  [this](std::unique_ptr<http::H2Stream> stream) {
                                                    tasks_.spawn(handler_(std::move(stream)));
                                                  });
    tasks_.spawn(run_one(*client, client_end));
    tasks_.spawn(run_one(*server, server_end));
  }

  // Joins both and every handler. What the client still holds must be let go before.
  runtime::Task<void> join() { return tasks_.join(); }
  runtime::Task<void> drain_and_join() {
    client->drain();
    co_await tasks_.join();
  }

  std::unique_ptr<http::H2Connection> client;
  std::unique_ptr<http::H2Connection> server;
  std::optional<Result<void>> client_end;  // what run() returned
  std::optional<Result<void>> server_end;

 private:
  static runtime::Task<void> run_one(http::H2Connection& connection,
                                     std::optional<Result<void>>& end) {
    end = co_await connection.run();
  }

  Handler handler_;
  runtime::TaskScope tasks_;
};

inline std::vector<http::Header> connect_to(std::string authority) {
  return {{":method", "CONNECT"}, {":authority", std::move(authority)}};
}

inline std::vector<http::Header> ok() { return {{":status", "200"}}; }

// Text that differs from place to place, so that what is lost, doubled or swapped shows.
inline std::string pattern(size_t size, uint32_t seed) {
  std::string text(size, '\0');
  uint32_t state = seed * 2654435761U + 1;
  for (char& c : text) {
    state = state * 1664525U + 1013904223U;
    c = static_cast<char>(state >> 24U);
  }
  return text;
}

// Answers 200 and sends back what comes.
inline runtime::Task<void> echo(std::unique_ptr<http::H2Stream> stream) {
  if (!stream->respond(ok(), false)) co_return;
  while (true) {
    Result<runtime::Buffer> bytes = co_await stream->read();
    if (!bytes) co_return;
    if (bytes->empty()) break;
    if (!co_await stream->write(std::move(*bytes))) co_return;
  }
  static_cast<void>(co_await stream->shutdown_write());
}

}  // namespace weft::testing
