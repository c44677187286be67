#include "ztunnel/http/http1_parser.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace weft::http::http1 {
namespace {

constexpr std::string_view kLineEnd = "\r\n";
// What chunk extensions and trailers may add beside the body: nobody we know sends any.
constexpr size_t kChunkLineBytesMax = 256;
constexpr size_t kTrailerBytesMax = 4 * 1024;

// Splits a head, which ends with an empty line, into its first line and its fields.
std::pair<std::string_view, std::string_view> split_head(std::string_view head) {
  const size_t end = head.find(kLineEnd);
  std::string_view fields = head.substr(end + kLineEnd.size());
  fields.remove_suffix(kLineEnd.size());
  return {head.substr(0, end), fields};
}

Parsed<BodyReader> frame_body(const Fields& fields, BodyReader::Framing otherwise,
                              size_t bytes_max) {
  const size_t lengths = fields.count("content-length");
  const size_t codings = fields.count("transfer-encoding");
  if (lengths > 1) return refuse(400, "more than one Content-Length");
  if (lengths > 0 && codings > 0) return refuse(400, "Content-Length beside Transfer-Encoding");
  if (codings > 1) return refuse(400, "more than one Transfer-Encoding");
  if (codings == 1) {
    if (!equal_in_any_case(fields.get("transfer-encoding"), "chunked")) {
      return refuse(501, "a transfer coding other than chunked");
    }
    return BodyReader(BodyReader::Framing::kChunked, 0, bytes_max);
  }
  if (lengths == 0) return BodyReader(otherwise, 0, bytes_max);
  const std::string_view text = fields.get("content-length");
  const std::optional<uint64_t> length = parse_number<uint64_t>(text, 10);
  if (!length) return refuse(400, "Content-Length is not a number");
  if (*length > bytes_max) return refuse(413, "the body is too long");
  return BodyReader(BodyReader::Framing::kLength, *length, bytes_max);
}

// Fills path and query from origin-form, or from absolute-form, which a proxy would send.
bool parse_target(std::string_view target, Request& request) {
  if (!is_target_text(target)) return false;
  constexpr std::string_view kScheme = "http://";
  if (target.starts_with(kScheme)) {
    const size_t slash = target.find('/', kScheme.size());
    target = slash == std::string_view::npos ? std::string_view("/") : target.substr(slash);
  }
  if (!target.starts_with('/')) return false;
  const size_t question = target.find('?');
  request.path = target.substr(0, question);
  if (question != std::string_view::npos) request.query = target.substr(question + 1);
  return true;
}

}  // namespace

Parsed<Fields> Fields::parse(std::string_view lines) {
  Fields parsed;
  while (!lines.empty()) {
    const size_t end = lines.find(kLineEnd);
    const std::string_view line = lines.substr(0, end);
    lines.remove_prefix(end + kLineEnd.size());
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) {
      return refuse(400, "a header line is not \"name: value\"");
    }
    const std::string_view value = trim(line.substr(colon + 1));
    if (!is_field_text(value)) {
      return refuse(400, "a header value has a control character");
    }
    if (parsed.fields_.size() == kFieldsMax) return refuse(431, "too many header lines");
    std::string name(line.substr(0, colon));
    std::ranges::transform(name, name.begin(), lower);
    parsed.fields_.emplace_back(std::move(name), value);
  }
  return parsed;
}

size_t Fields::count(std::string_view name) const {
  return static_cast<size_t>(
      std::ranges::count_if(fields_, [name](const auto& field) { return field.first == name; }));
}

std::string_view Fields::get(std::string_view name) const {
  for (const auto& [key, value] : fields_) {
    if (key == name) return value;
  }
  return {};
}

bool Fields::lists(std::string_view name, std::string_view token) const {
  for (const auto& [key, value] : fields_) {
    if (key != name) continue;
    std::string_view rest = value;
    while (!rest.empty()) {
      const size_t comma = std::min(rest.find(','), rest.size());
      if (equal_in_any_case(trim(rest.substr(0, comma)), token)) return true;
      rest.remove_prefix(std::min(comma + 1, rest.size()));
    }
  }
  return false;
}

Parsed<std::optional<size_t>> HeadScanner::scan(std::string_view bytes) {
  for (; scanned_ < bytes.size(); ++scanned_) {
    if (scanned_ >= kRequestHeadBytesMax) return refuse(431, "the head is too long");
    const char c = bytes[scanned_];
    const bool after_return = scanned_ > 0 && bytes[scanned_ - 1] == '\r';
    if ((c == '\n') != after_return) return refuse(400, "a line does not end with CR LF");
    if (c == '\n' && bytes.substr(0, scanned_ + 1).ends_with("\r\n\r\n")) return scanned_ + 1;
  }
  return std::nullopt;
}

void BodyReader::take_counted(std::string_view& input) {
  const size_t size = static_cast<size_t>(std::min<uint64_t>(left_, input.size()));
  body_ += input.substr(0, size);
  input.remove_prefix(size);
  left_ -= size;
}

Parsed<bool> BodyReader::take(std::string& input) {
  switch (framing_) {
    case Framing::kNone:
      return true;
    case Framing::kLength: {
      std::string_view rest = input;
      take_counted(rest);
      input.erase(0, input.size() - rest.size());
      return left_ == 0;
    }
    case Framing::kUntilEnd:
      if (body_.size() + input.size() > bytes_max_) return refuse(413, "the body is too long");
      body_ += input;
      input.clear();
      return false;
    case Framing::kChunked:
      return take_chunks(input);
  }
  return true;
}

Parsed<bool> BodyReader::take_chunks(std::string& input) {
  std::string_view rest = input;
  while (true) {
    if (chunk_ == ChunkState::kData) {
      take_counted(rest);
      if (left_ > 0) break;
      chunk_ = ChunkState::kDataEnd;
    }
    const size_t end = rest.find(kLineEnd);
    const bool whole = end != std::string_view::npos;
    // A last CR may belong to the line's end: the verdict is the same however the bytes come.
    if ((whole ? end : rest.size()) > kChunkLineBytesMax + (whole ? 0 : 1)) {
      return refuse(400, "a chunk's line is too long");
    }
    if (!whole) break;
    const Parsed<bool> last = take_chunk_line(rest.substr(0, end));
    if (!last) return last;
    rest.remove_prefix(end + kLineEnd.size());
    if (*last) {
      input.erase(0, input.size() - rest.size());
      return true;
    }
  }
  input.erase(0, input.size() - rest.size());
  return false;
}

// True for the empty line that ends the body.
Parsed<bool> BodyReader::take_chunk_line(std::string_view line) {
  if (!is_field_text(line)) return refuse(400, "a chunk's line is malformed");
  if (chunk_ == ChunkState::kDataEnd) {
    if (!line.empty()) return refuse(400, "a chunk is longer than its size");
    chunk_ = ChunkState::kSize;
    return false;
  }
  if (chunk_ == ChunkState::kTrailer) {
    trailer_bytes_ += line.size();
    if (trailer_bytes_ > kTrailerBytesMax) return refuse(431, "the trailer is too long");
    return line.empty();
  }
  const std::string_view digits = trim(line.substr(0, line.find(';')));  // extensions are ignored
  const std::optional<uint64_t> size = parse_number<uint64_t>(digits, 16);
  if (!size) return refuse(400, "a chunk's size is not a number");
  if (*size > bytes_max_ - body_.size()) return refuse(413, "the body is too long");
  left_ = *size;
  chunk_ = *size == 0 ? ChunkState::kTrailer : ChunkState::kData;
  return false;
}

template <class Parse>
Parsed<bool> MessageReader::take_head(Parse parse) {
  const Parsed<std::optional<size_t>> size = scanner_.scan(input_);
  if (!size) return std::unexpected(size.error());
  if (!*size) return false;
  const Parsed<void> head = parse(std::string_view(input_).substr(0, **size));
  if (!head) return std::unexpected(head.error());
  input_.erase(0, **size);
  scanner_.reset();
  return true;
}

Parsed<void> RequestParser::parse_head(std::string_view head) {
  const auto [line, field_lines] = split_head(head);
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last || !is_token(line.substr(0, first))) {
    return refuse(400, "the request line is not \"method target version\"");
  }
  const std::string_view version = line.substr(last + 1);
  if (version != "HTTP/1.1" && version != "HTTP/1.0") {
    return refuse(version.starts_with("HTTP/") ? 505 : 400, "the version is not HTTP/1.1 or 1.0");
  }
  const bool old = version == "HTTP/1.0";
  IncomingRequest incoming;
  incoming.request.method = line.substr(0, first);
  if (!parse_target(line.substr(first + 1, last - first - 1), incoming.request)) {
    return refuse(400, "the target is not a path");
  }
  Parsed<Fields> fields = Fields::parse(field_lines);
  if (!fields) return std::unexpected(std::move(fields.error()));
  const size_t hosts = fields->count("host");
  if (hosts > 1 || (hosts == 0 && !old)) return refuse(400, "expected exactly one Host");
  if (old && fields->count("transfer-encoding") > 0) {
    return refuse(400, "Transfer-Encoding in HTTP/1.0");
  }
  Parsed<BodyReader> body = frame_body(*fields, BodyReader::Framing::kNone, kRequestBodyBytesMax);
  if (!body) return std::unexpected(std::move(body.error()));
  reader_.expect_body(*std::move(body));
  incoming.keep_alive =
      !fields->lists("connection", "close") && (!old || fields->lists("connection", "keep-alive"));
  wants_continue_ = !old && equal_in_any_case(fields->get("expect"), "100-continue");
  request_ = std::move(incoming);
  return {};
}

Parsed<std::optional<IncomingRequest>> RequestParser::next() {
  if (!request_) {
    const Parsed<bool> head =
        reader_.take_head([this](std::string_view bytes) { return parse_head(bytes); });
    if (!head) return std::unexpected(head.error());
    if (!*head) return std::nullopt;
  }
  const Parsed<bool> whole = reader_.take_body();
  if (!whole) return std::unexpected(whole.error());
  if (!*whole) return std::nullopt;
  wants_continue_ = false;
  request_->request.body = std::move(reader_.body());
  return std::exchange(request_, std::nullopt);
}

Parsed<void> ResponseParser::parse_head(std::string_view head) {
  const auto [line, field_lines] = split_head(head);
  const bool known = line.starts_with("HTTP/1.1 ") || line.starts_with("HTTP/1.0 ");
  const std::optional<int> status = known ? parse_number<int>(line.substr(9, 3), 10) : std::nullopt;
  if (!status || *status < 100 || (line.size() > 12 && line[12] != ' ')) {
    return refuse(400, "the status line is not \"HTTP/1.1 status reason\"");
  }
  Parsed<Fields> fields = Fields::parse(field_lines);
  if (!fields) return std::unexpected(std::move(fields.error()));
  if (*status < 200) return {};  // an interim answer; the real one follows
  const bool bodiless = to_head_ || *status == 204 || *status == 304;
  Parsed<BodyReader> body =
      frame_body(*fields, BodyReader::Framing::kUntilEnd, kResponseBodyBytesMax);
  if (!body) return std::unexpected(std::move(body.error()));
  reader_.expect_body(bodiless ? BodyReader() : *std::move(body));
  response_ = Response{*status, std::string(fields->get("content-type")), ""};
  return {};
}

Parsed<std::optional<Response>> ResponseParser::next() {
  while (!response_) {
    const Parsed<bool> head =
        reader_.take_head([this](std::string_view bytes) { return parse_head(bytes); });
    if (!head) return std::unexpected(head.error());
    if (!*head) return std::nullopt;
  }
  const Parsed<bool> whole = reader_.take_body();
  if (!whole) return std::unexpected(whole.error());
  if (!*whole) return std::nullopt;
  response_->body = std::move(reader_.body());
  return std::exchange(response_, std::nullopt);
}

Parsed<Response> ResponseParser::end() {
  if (!response_ || !reader_.body_ends_with_connection()) {
    return refuse(400, "the connection ended within the response");
  }
  response_->body = std::move(reader_.body());
  return *std::exchange(response_, std::nullopt);
}

}  // namespace weft::http::http1
