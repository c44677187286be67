#pragma once

#include "agent/source/kube/api_client.h"
#include "tests/support/run_task.h"
#include "ztunnel/http/h2_connection.h"
#include "ztunnel/runtime/memory_pipe.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace weft::testing {

// An API server that says whatever a test wants, over pipes: every request is noted and answered by
// `answer`, which may end, break or hold the stream.
class ScriptedServer {
 public:
  using Answer =
      std::function<runtime::Task<void>(ScriptedServer&, std::unique_ptr<http::H2Stream>)>;

  ScriptedServer(runtime::Loop& loop, Answer answer) : loop_(loop), answer_(std::move(answer)) {}

  source::kube::Dial dial() {
    return [this] { return connect(); };
  }
  // Breaks every connection.
  void break_off() {
    for (const auto& connection : connections_) connection->abort();
  }
  // Ends every connection as a server does that is told to: GOAWAY first.
  void drain() {
    for (const auto& connection : connections_) connection->drain();
  }
  runtime::Task<void> join() {
    break_off();
    co_await tasks_.join();
  }

  // An answer with a body, whole.
  runtime::Task<void> say(http::H2Stream& stream, std::string status, std::string body,
                          std::vector<http::Header> more = {}) {
    std::vector<http::Header> headers{{":status", std::move(status)}};
    headers.insert(headers.end(), more.begin(), more.end());
    if (!stream.respond(headers, body.empty()) || body.empty()) co_return;
    static_cast<void>(co_await send_and_end(loop_, stream, body));
  }

  std::vector<std::string> requests;  // "GET /path"
  std::vector<std::string> tokens;    // of each, "Bearer .."
  int dials = 0;
  int refused_dials = 0;  // so many more fail

 private:
  runtime::Task<Result<std::unique_ptr<runtime::ByteStream>>> connect() {
    ++dials;
    if (refused_dials > 0) {
      --refused_dials;
      co_return fail(Code::kUnavailable, "connection refused");
    }
    auto [near, far] = runtime::make_memory_pipe();
    http::H2Options options;
    options.role = http::H2Role::kServer;
    connections_.push_back(std::make_unique<http::H2Connection>(
        loop_, std::move(far), options, [this](std::unique_ptr<http::H2Stream> stream) {
          requests.push_back(std::string(http::find_header(stream->headers(), ":method")) + " " +
                             std::string(http::find_header(stream->headers(), ":path")));
          tokens.emplace_back(http::find_header(stream->headers(), "authorization"));
          tasks_.spawn(answer_(*this, std::move(stream)));
        }));
    tasks_.spawn(run(*connections_.back()));
    co_return std::move(near);
  }
  static runtime::Task<void> run(http::H2Connection& connection) {
    static_cast<void>(co_await connection.run());
  }

  runtime::Loop& loop_;
  Answer answer_;
  std::vector<std::unique_ptr<http::H2Connection>> connections_;
  runtime::TaskScope tasks_;
};

inline source::kube::ApiConfig scripted_config() {
  source::kube::ApiConfig config;
  config.origin = "a test";
  config.host = "server";
  return config;
}

// Until `holds`, looking once a turn; false: it never did.
inline runtime::Task<bool> wait_for(runtime::Loop& loop, std::function<bool()> holds,
                                    std::chrono::milliseconds limit = std::chrono::seconds(20)) {
  const auto end = loop.now() + limit;
  while (!holds() && loop.now() < end) co_await loop.sleep(std::chrono::milliseconds(5));
  co_return holds();
}

}  // namespace weft::testing
