#pragma once

#include "ztunnel/http/exchange.h"
#include "ztunnel/http/http1_inlet.h"
#include "ztunnel/http/http1_outlet.h"
#include "ztunnel/runtime/loop.h"

#include <cstdint>
#include <functional>
#include <memory>

namespace weft::http {

// The client's side of an HTTP/1.1 connection: one exchange at a time, never pipelined, so that an
// answer cannot be taken for another's.
class Http1Client {
 public:
  Http1Client(runtime::Loop& loop, std::unique_ptr<runtime::ByteStream> transport);
  ~Http1Client();  // the exchange must be gone

  // Only where is_free().
  std::unique_ptr<ClientExchange> begin();
  // Whether an exchange may begin: none is under way, the last one ended in good order and the
  // server has neither ended nor said what nobody asked for.
  bool is_free() const;
  uint64_t exchanges() const { return exchanges_; }  // begun so far
  // Watches an idle connection: `call` runs, from the loop, when the server ends it. It may destroy
  // the connection.
  void when_ended(std::move_only_function<void()> call);

 private:
  class Exchange;
  friend class Exchange;

  std::unique_ptr<http1::Inlet> inlet_;  // null: given to who upgraded
  http1::HeadReader heads_;
  http1::Outlet outlet_;
  uint64_t exchanges_ = 0;
  bool in_use_ = false;
  bool reusable_ = true;
};

}  // namespace weft::http
