#pragma once

#include "ztunnel/http/http1_body.h"
#include "ztunnel/http/http1_inlet.h"

#include <optional>

namespace weft::http::http1 {

// One message's body, off its connection's Inlet.
class Reader {
 public:
  Reader() = default;
  explicit Reader(const Meta& meta) : decoder_(meta) {}

  bool has_more() const { return !decoder_.is_done(); }
  bool is_broken() const { return error_.has_value(); }
  // What has come already; nothing: ask read().
  std::optional<runtime::Buffer> take_ready(Inlet& inlet);
  // kInvalid: the framing is wrong; kReset: the connection ended within the body.
  runtime::Task<Result<runtime::Buffer>> read(Inlet& inlet);
  FieldList take_trailers() { return decoder_.take_trailers(); }

 private:
  BodyDecoder decoder_;
  std::optional<Error> error_;
};

}  // namespace weft::http::http1
