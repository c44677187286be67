#pragma once

#include "ztunnel/http/exchange.h"
#include "ztunnel/http/h2_connection.h"

#include <chrono>
#include <functional>
#include <memory>

namespace weft::http {

// The client's side of an HTTP/2 connection. Shared by those whose exchanges it carries: it ends by
// itself once nobody holds it.
class Http2Client {
 public:
  // `ended` runs once the connection is over, from the loop.
  static std::shared_ptr<Http2Client> start(runtime::Loop& loop,
                                            std::unique_ptr<runtime::ByteStream> transport,
                                            std::function<void()> ended = {});
  ~Http2Client();

  // Whether one more exchange may begin now.
  bool is_free() const;
  bool is_over() const { return !state_->connection.accepts_requests(); }
  // Sent when its head is; see ClientExchange::send().
  std::unique_ptr<ClientExchange> begin();
  size_t exchanges() const { return state_->connection.streams(); }  // under way
  void drain() { state_->connection.drain(); }

 private:
  // Lives until its connection has ended.
  struct State {
    State(runtime::Loop& loop, std::unique_ptr<runtime::ByteStream> transport);
    H2Connection connection;
    std::function<void()> ended;
  };
  class Exchange;

  explicit Http2Client(std::shared_ptr<State> state) : state_(std::move(state)) {}
  static runtime::Task<void> run(std::shared_ptr<State> state);

  std::shared_ptr<State> state_;
};

}  // namespace weft::http
