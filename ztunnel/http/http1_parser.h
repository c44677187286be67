#pragma once

#include "ztunnel/http/http1_grammar.h"
#include "ztunnel/http/http1_server.h"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// HTTP/1.1 without I/O: bytes in, whole messages out. Strict after RFC 9112: whatever two readers
// could understand differently is refused (bare LF, line folding, space before a colon, two
// lengths, a length beside a transfer coding). Internal to serve_http1 and fetch_http1.

namespace weft::http::http1 {

// A configuration dump of a large mesh; the CLI holds it whole.
constexpr size_t kResponseBodyBytesMax = 256 * 1024 * 1024;

// Header fields, names in lower case.
class Fields {
 public:
  // Lines of a head without the first one, each ended by CRLF.
  static Parsed<Fields> parse(std::string_view lines);
  size_t count(std::string_view name) const;
  std::string_view get(std::string_view name) const;  // the first, or empty
  // Whether a comma-separated list, such as Connection, has the token (in any case).
  bool lists(std::string_view name, std::string_view token) const;

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

// Finds the end of a head in bytes that come piece by piece, looking at each byte once.
class HeadScanner {
 public:
  // The head's size with its empty line; nothing: more is needed.
  Parsed<std::optional<size_t>> scan(std::string_view bytes);
  void reset() { scanned_ = 0; }

 private:
  size_t scanned_ = 0;
};

// A message's body, as RFC 9112 section 6.3 frames it.
class BodyReader {
 public:
  enum class Framing { kNone, kLength, kChunked, kUntilEnd };

  BodyReader() = default;
  BodyReader(Framing framing, uint64_t length, size_t bytes_max)
      : framing_(framing), left_(length), bytes_max_(bytes_max) {}
  // Takes what belongs to the body off the front of `input`; true once the body is whole.
  Parsed<bool> take(std::string& input);
  bool ends_with_connection() const { return framing_ == Framing::kUntilEnd; }
  std::string& body() { return body_; }

 private:
  enum class ChunkState { kSize, kData, kDataEnd, kTrailer };
  Parsed<bool> take_chunks(std::string& input);
  Parsed<bool> take_chunk_line(std::string_view line);
  void take_counted(std::string_view& input);

  Framing framing_ = Framing::kNone;
  uint64_t left_ = 0;  // of the body or of the present chunk
  size_t bytes_max_ = 0;
  ChunkState chunk_ = ChunkState::kSize;
  size_t trailer_bytes_ = 0;
  std::string body_;
};

// The bytes of one direction of a connection, of which whole heads and then bodies are taken: what
// the two parsers below share.
class MessageReader {
 public:
  void feed(std::string_view bytes) { input_ += bytes; }
  // Calls `parse` with the next head, if that is whole; true then. `parse` may call expect_body().
  template <class Parse>
  Parsed<bool> take_head(Parse parse);
  void expect_body(BodyReader body) { body_ = std::move(body); }
  // Once the body is whole: true.
  Parsed<bool> take_body() { return body_.take(input_); }
  bool body_ends_with_connection() const { return body_.ends_with_connection(); }
  std::string& body() { return body_.body(); }

 private:
  std::string input_;
  HeadScanner scanner_;
  BodyReader body_;
};

struct IncomingRequest {
  Request request;
  bool keep_alive = true;
};

// The requests of one connection, one after the other. After a Refusal it is of no more use.
class RequestParser {
 public:
  void feed(std::string_view bytes) { reader_.feed(bytes); }
  Parsed<std::optional<IncomingRequest>> next();
  // True once for a request whose client waits for "100 Continue" before it sends the body.
  bool take_continue() { return std::exchange(wants_continue_, false); }

 private:
  Parsed<void> parse_head(std::string_view head);

  MessageReader reader_;
  std::optional<IncomingRequest> request_;  // its head is read, its body is not
  bool wants_continue_ = false;
};

// The one response of a connection.
class ResponseParser {
 public:
  explicit ResponseParser(bool to_head) : to_head_(to_head) {}
  void feed(std::string_view bytes) { reader_.feed(bytes); }
  Parsed<std::optional<Response>> next();
  // The connection has ended: the response, where its body goes on until then.
  Parsed<Response> end();

 private:
  Parsed<void> parse_head(std::string_view head);

  bool to_head_;
  MessageReader reader_;
  std::optional<Response> response_;
};

}  // namespace weft::http::http1
