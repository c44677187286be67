#pragma once

#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/stream.h"

#include <functional>
#include <memory>
#include <string>

namespace weft::http {

// Small HTTP/1.1 for our own endpoints: readiness, metrics, status. Not the data path's engine.
struct Request {
  std::string method;
  std::string path;   // without the query
  std::string query;  // behind '?', undecoded
  std::string body;   // at most kRequestBodyBytesMax
};

struct Response {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
};

constexpr size_t kRequestHeadBytesMax = 16 * 1024;
constexpr size_t kRequestBodyBytesMax = 1024 * 1024;

using Handler = std::function<runtime::Task<Response>(Request)>;

// Serves one connection until it ends, an error or 60 s without a request; strict RFC 9112: what is
// malformed is answered by 400 and a close.
runtime::Task<void> serve_http1(runtime::Loop& loop,
                                std::unique_ptr<runtime::ByteStream> connection,
                                const Handler& handler);

// One request, one response (read to its Content-Length or the end), then close. For the CLI.
runtime::Task<Result<Response>> fetch_http1(runtime::Loop& loop,
                                            std::unique_ptr<runtime::ByteStream> connection,
                                            std::string method, std::string target,
                                            std::string body);

}  // namespace weft::http
