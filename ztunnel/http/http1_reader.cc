#include "ztunnel/http/http1_reader.h"

namespace weft::http::http1 {

using runtime::Buffer;
using runtime::Task;

std::optional<Buffer> Reader::take_ready(Inlet& inlet) {
  if (error_ || decoder_.is_done()) return std::nullopt;
  if (!inlet.has_unread() && !decoder_.is_refused()) return std::nullopt;
  Parsed<Buffer> piece = decoder_.take(inlet.unread());
  if (!piece) {
    error_ = Error(Code::kInvalid, "HTTP/1.1: " + piece.error().reason);
    return std::nullopt;
  }
  if (piece->empty()) return std::nullopt;
  return *std::move(piece);
}

Task<Result<Buffer>> Reader::read(Inlet& inlet) {
  while (true) {
    if (std::optional<Buffer> ready = take_ready(inlet)) co_return *std::move(ready);
    if (error_) co_return Fail(*error_);
    if (decoder_.is_done()) co_return Buffer();
    Result<bool> more = co_await inlet.more();
    if (!more) {
      error_ = std::move(more.error());
    } else if (!*more && decoder_.ends_with_connection()) {
      decoder_.connection_ended();
    } else if (!*more) {
      error_ = Error(Code::kReset, "HTTP/1.1: the connection ended within a body");
    }
  }
}

}  // namespace weft::http::http1
