#include "ztunnel/waypoint/peek.h"

#include "ztunnel/http/http1_grammar.h"

#include <algorithm>
#include <cstring>

namespace weft::waypoint {

using runtime::Buffer;
using runtime::Task;

namespace {

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
// The longest registered method has 17 letters.
constexpr size_t kMethodBytesMax = 32;

}  // namespace

Task<Result<bool>> Peeked::peek(runtime::Loop& loop) {
  Buffer bytes = CO_TRY(co_await inner_->read());
  if (bytes.empty()) co_return false;
  if (first_.empty()) {
    first_ = std::move(bytes);
    co_return true;
  }
  // Rare: the first bytes came in pieces. They become one, so that they are read as one.
  Buffer joined = loop.buffers().copy_of(first_.text());
  if (joined.tail().size() < bytes.size()) co_return fail(Code::kLimit, "too much to look at");
  std::memcpy(joined.tail().data(), bytes.data(), bytes.size());
  joined.extend(bytes.size());
  first_ = std::move(joined);
  co_return true;
}

std::optional<Spoken> spoken_in(std::string_view first_bytes) {
  const size_t size = std::min(first_bytes.size(), kPreface.size());
  if (first_bytes.substr(0, size) == kPreface.substr(0, size)) {
    if (size == kPreface.size()) return Spoken::kHttp2;
    return std::nullopt;
  }
  const size_t space = first_bytes.substr(0, kMethodBytesMax + 1).find(' ');
  const std::string_view method = first_bytes.substr(0, std::min(space, kMethodBytesMax + 1));
  if (!http::http1::is_token(method)) return Spoken::kOther;
  if (space == std::string_view::npos) {
    if (first_bytes.size() > kMethodBytesMax) return Spoken::kOther;
    return std::nullopt;
  }
  if (first_bytes.size() == space + 1) return std::nullopt;
  const char target = first_bytes[space + 1];
  return target == '/' || target == '*' || target == 'h' ? Spoken::kHttp1 : Spoken::kOther;
}

Task<Result<Spoken>> peek_http(runtime::Loop& loop, Peeked& stream,
                               std::chrono::milliseconds limit) {
  const runtime::Deadline deadline(loop, limit, [&stream] { stream.abort(); });
  while (true) {
    const bool more = CO_TRY(co_await stream.peek(loop));
    const std::string_view first = stream.peeked();
    if (first.starts_with(kPreface)) co_return Spoken::kHttp2;
    if (!more || !kPreface.starts_with(first)) co_return Spoken::kHttp1;
  }
}

}  // namespace weft::waypoint
