#pragma once

#include "ztunnel/http/http1_head.h"
#include "ztunnel/http/message.h"
#include "ztunnel/http/piece_list.h"
#include "ztunnel/runtime/stream.h"

#include <cstdint>
#include <string>

namespace weft::http::http1 {

// Writes messages: what is small leaves together, in one send.
class Outlet {
 public:
  // What is held back at most before it is sent.
  static constexpr size_t kHeldBytesMax = 64 * 1024;

  explicit Outlet(runtime::BufferPool& pool) : held_(pool) {}

  // Heads; each is written out at once, as the next bytes.
  void request(const RequestHead& head, const Meta& meta);
  // `to_head`: the answer to a HEAD, of which no body follows whatever its fields say.
  void response(const ResponseHead& head, const Meta& meta, Version to, bool to_head);

  // The body, framed as the head said. kInternal: it is not as long as the head said.
  runtime::Task<Result<void>> write(runtime::ByteStream& to, runtime::Buffer bytes);
  runtime::Task<Result<void>> finish(runtime::ByteStream& to, FieldList trailers);
  runtime::Task<Result<void>> flush(runtime::ByteStream& to);
  // Whether the message is whole, and sent.
  bool is_done() const { return done_; }

 private:
  void add(std::string_view text);
  void add_fields(const FieldList& fields);
  void add_end(const Meta& meta);

  PieceList held_;
  std::string text_;  // a head in the making
  Framing framing_ = Framing::kNone;
  uint64_t left_ = 0;
  bool done_ = false;
};

}  // namespace weft::http::http1
