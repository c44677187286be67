#pragma once

#include "ztunnel/http/exchange.h"
#include "ztunnel/http/http1_head.h"
#include "ztunnel/http/http1_inlet.h"
#include "ztunnel/http/http1_outlet.h"
#include "ztunnel/http/lazy_deadline.h"
#include "ztunnel/runtime/loop.h"

#include <chrono>
#include <functional>
#include <memory>

namespace weft::http {

struct Http1Options {
  std::chrono::milliseconds idle_timeout{3'600'000};  // between two requests; Envoy's
  std::chrono::milliseconds head_timeout{60'000};     // from a head's first byte to its last
  bool drains = false;  // from the start: its first response says Connection: close
};

// The server's side of an HTTP/1.1 connection (RFC 9112): its requests one after the other, also
// where the client sends several at once.
class Http1Server {
 public:
  // Told of what a client sent that is no request, before it is answered and the connection closed.
  using OnRefused = std::function<void(int status, const std::string& reason)>;

  Http1Server(runtime::Loop& loop, std::unique_ptr<runtime::ByteStream> transport,
              Http1Options options, OnRefused on_refused = {});
  ~Http1Server();  // next() must have returned, and the exchange be gone

  // The next request, once the last one has been let go of; null: the connection is over, and has
  // been ended as it should be.
  runtime::Task<std::unique_ptr<ServerExchange>> next();
  // The present response is the last one; an idle connection ends now.
  void drain();
  void abort();

 private:
  class Exchange;
  friend class Exchange;

  runtime::Task<http1::Parsed<std::span<char>>> next_head(FieldList& into);
  runtime::Task<void> refuse(http1::Refusal why);
  runtime::Task<void> end();

  runtime::Loop& loop_;
  std::unique_ptr<http1::Inlet> inlet_;  // null: given to who upgraded
  Http1Options options_;
  OnRefused on_refused_;
  http1::HeadReader heads_;
  http1::Outlet outlet_;
  LazyDeadline deadline_;
  bool head_begun_ = false;  // its deadline runs
  bool idle_ = false;        // in next(), without a byte of a head
  bool draining_ = false;
  bool had_any_ = false;  // requests
  bool in_use_ = false;   // an exchange is alive
  bool reusable_ = true;  // another request may follow
};

}  // namespace weft::http
