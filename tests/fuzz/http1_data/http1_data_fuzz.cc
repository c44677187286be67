// Feeds the data path's HTTP/1.1 (heads, chunks, trailers) in pieces whose size the first byte
// chooses. However the bytes are cut, the outcome must be that of the whole; and what this parser
// takes, the strict one of our own endpoints must not take otherwise.
#include "ztunnel/base/check.h"
#include "ztunnel/http/http1_body.h"
#include "ztunnel/http/http1_head.h"
#include "ztunnel/http/http1_parser.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace {

using weft::http::RequestHead;
using weft::http::ResponseHead;
using weft::runtime::Buffer;
using weft::runtime::BufferPool;
using namespace weft::http::http1;

std::string described(const weft::http::FieldList& fields) {
  std::string text;
  for (const auto& field : fields.all()) {
    CHECK(is_token(field.name) && is_field_text(field.value));
    text += std::string(field.name) + "=" + std::string(field.value) + ";";
  }
  return text;
}

std::string described(const RequestHead& head, const Meta& meta) {
  CHECK(is_token(head.method) && is_target_text(head.path));
  CHECK(head.path.starts_with('/') || head.path == "*");
  return std::string(head.method) + " " + std::string(head.authority) + " " +
         std::string(head.path) + " " + std::string(head.protocol) + " " +
         std::to_string(static_cast<int>(meta.framing)) + " " + std::to_string(meta.length) +
         (meta.keep_alive ? " keep " : " close ") + described(head.fields);
}

// The requests of one connection, fed in pieces.
class Connection {
 public:
  explicit Connection(BufferPool& pool) : pool_(pool) {}

  void feed(std::string_view bytes) {
    Buffer input = pool_.copy_of(bytes);
    while (!input.empty() && !ended_) {
      if (decoder_.is_done()) {
        take_head(input);
      } else {
        take_body(input);
      }
    }
    if (decoder_.is_refused() && !ended_) take_body(input);
  }
  const std::string& outcome() const { return outcome_; }

 private:
  void take_head(Buffer& input) {
    const auto end = finder_.find(input.text());
    if (!end) return refuse(end.error());
    const size_t size = end->value_or(input.size());
    head_.append(input.text().substr(0, size));
    input.trim_front(size);
    if (!*end) return;
    finder_.reset();
    RequestHead request;
    const std::span<char> place = request.fields.room(head_.size());
    std::memcpy(place.data(), head_.data(), head_.size());
    head_.clear();
    const Parsed<Meta> meta = parse_request(place, request);
    if (!meta) return refuse(meta.error());
    outcome_ += described(request, *meta) + "{";
    decoder_ = BodyDecoder(*meta);
    if (decoder_.is_done()) outcome_ += "}";
  }
  void take_body(Buffer& input) {
    const Parsed<Buffer> piece = decoder_.take(input);
    if (!piece) return refuse(piece.error());
    outcome_ += piece->text();
    if (decoder_.is_done()) outcome_ += described(decoder_.take_trailers()) + "}";
  }
  void refuse(const Refusal& why) {
    CHECK(why.status >= 400 && !why.reason.empty());
    outcome_ += "refused " + std::to_string(why.status);
    ended_ = true;
  }

  BufferPool& pool_;
  HeadFinder finder_;
  std::string head_;
  BodyDecoder decoder_;
  std::string outcome_;
  bool ended_ = false;
};

std::string read_requests(BufferPool& pool, std::string_view bytes, size_t step) {
  Connection connection(pool);
  for (size_t at = 0; at < bytes.size(); at += step) connection.feed(bytes.substr(at, step));
  return connection.outcome();
}

void read_response(std::string_view bytes) {
  HeadFinder finder;
  const auto end = finder.find(bytes);
  if (!end || !*end || **end < 4) return;
  ResponseHead response;
  const std::span<char> place = response.fields.room(**end);
  std::memcpy(place.data(), bytes.data(), place.size());
  if (parse_response(place, "GET", response)) described(response.fields);
}

// Of one request: both take it, or it is refused here, or there only for its smaller bounds.
void compare_with_our_own(BufferPool& pool, std::string_view bytes) {
  RequestParser parser;
  parser.feed(bytes);
  const auto taken = parser.next();
  if (!taken || !*taken) return;
  const std::string outcome = read_requests(pool, bytes, bytes.size());
  if (!outcome.starts_with("refused ")) {
    CHECK(outcome.find("{" + (**taken).request.body) != std::string::npos);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2 || size > BufferPool::kBufferBytes) return 0;
  BufferPool pool;
  const size_t step = 1 + data[0] % 63;
  const std::string_view bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  CHECK(read_requests(pool, bytes, step) == read_requests(pool, bytes, bytes.size()));
  read_response(bytes);
  compare_with_our_own(pool, bytes);
  return 0;
}
