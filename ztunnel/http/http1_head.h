#pragma once

#include "ztunnel/http/http1_grammar.h"
#include "ztunnel/http/message.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

// The data path's heads of HTTP/1.1 without I/O: found in bytes that come piece by piece, then
// parsed in place, names lower-cased where they lie. Whatever two readers could understand
// differently is refused (RFC 9112: bare CR or LF, line folding, space before a colon, two lengths,
// a length beside a transfer coding, two Hosts).

namespace weft::http::http1 {

// Envoy's bound on a request's headers.
constexpr size_t kHeadBytesMax = 60 * 1024;

// Finds the end of a head, looking at each byte once.
class HeadFinder {
 public:
  // How many of these next bytes are the head's, once its end is among them. A refusal: a line ends
  // without CR, or it is too long.
  Parsed<std::optional<size_t>> find(std::string_view bytes);
  size_t seen() const { return seen_; }
  void reset() { *this = {}; }

 private:
  size_t seen_ = 0;  // of the head
  size_t line_ = 0;  // of its present line
  char last_ = '\0';
};

enum class Framing : uint8_t { kNone, kLength, kChunked, kUntilEnd };

// What a head says that is of the connection and not of the message: it is not among the fields.
struct Meta {
  Framing framing = Framing::kNone;
  uint64_t length = 0;  // kLength
  bool keep_alive = true;
  bool expects_continue = false;
};

// `head` is whole, ends with its empty line, is changed, and lives as long as `into.fields`.
// What concerns one hop alone is left out: Connection and what it names, Keep-Alive,
// Transfer-Encoding, Upgrade (which becomes `protocol`), TE but for "trailers".
Parsed<Meta> parse_request(std::span<char> head, RequestHead& into);
// `method` of the request that this answers.
Parsed<Meta> parse_response(std::span<char> head, std::string_view method, ResponseHead& into);
// Lines of a trailer with the empty one.
Parsed<void> parse_trailers(std::span<char> lines, FieldList& into);

}  // namespace weft::http::http1
