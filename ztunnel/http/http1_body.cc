#include "ztunnel/http/http1_body.h"

#include <algorithm>
#include <cstring>

namespace weft::http::http1 {
namespace {

// Of a chunk's size, leading zeros with them: 2^60 bytes.
constexpr size_t kSizeDigitsMax = 15;

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char low = lower(c);
  return low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

}  // namespace

using runtime::Buffer;

BodyDecoder::BodyDecoder(const Meta& meta) : left_(meta.length) {
  switch (meta.framing) {
    case Framing::kNone:
      state_ = State::kDone;
      break;
    case Framing::kLength:
      state_ = State::kCounted;
      break;
    case Framing::kChunked:
      state_ = State::kSizeFirst;
      break;
    case Framing::kUntilEnd:
      state_ = State::kUntilEnd;
      break;
  }
}

Parsed<Buffer> BodyDecoder::take(Buffer& input) {
  Buffer piece;
  if (refused_) return std::unexpected(*refused_);
  if (Parsed<void> taken = take_framing(input); !taken) {
    return std::unexpected(std::move(taken.error()));
  }
  if (input.empty()) return piece;
  if (state_ == State::kUntilEnd) return std::move(input);
  if (state_ == State::kCounted) return take_counted(input, State::kDone);
  if (state_ != State::kData) return piece;
  piece = take_counted(input, State::kDataReturn);
  // What stands behind it too, so that a body whose end is here is known to be whole. What is wrong
  // there is told next time: the piece came before it, however the bytes are cut.
  if (Parsed<void> taken = take_framing(input); !taken) refused_ = std::move(taken.error());
  return piece;
}

Parsed<void> BodyDecoder::take_framing(Buffer& input) {
  while (!input.empty()) {
    switch (state_) {
      case State::kDone:
      case State::kUntilEnd:
      case State::kCounted:
      case State::kData:
        return {};
      case State::kTrailer:
        if (Parsed<void> taken = take_trailer(input); !taken) {
          return std::unexpected(std::move(taken.error()));
        }
        break;
      default: {
        const char c = static_cast<char>(*input.data());
        input.trim_front(1);
        if (Parsed<void> stepped = step(c); !stepped) {
          return std::unexpected(std::move(stepped.error()));
        }
      }
    }
  }
  input.clear();
  return {};
}

Buffer BodyDecoder::take_counted(Buffer& input, State next) {
  const size_t size = static_cast<size_t>(std::min<uint64_t>(left_, input.size()));
  left_ -= size;
  if (left_ == 0) state_ = next;
  if (size == input.size()) return std::move(input);
  Buffer piece = input.share(0, size);
  input.trim_front(size);
  return piece;
}

Parsed<void> BodyDecoder::step_size(char c) {
  if (++line_ > kChunkLineBytesMax) return refuse(400, "a chunk's line is too long");
  if (state_ == State::kExtension) {
    if (c == '\r') {
      state_ = State::kSizeEnd;
    } else if (!is_field_text({&c, 1})) {
      return refuse(400, "a chunk's extension has a control character");
    }
    return {};
  }
  if (const int digit = hex_digit(c); digit >= 0) {
    if (line_ > kSizeDigitsMax) return refuse(400, "a chunk's size is too long");
    left_ = left_ * 16 + static_cast<uint64_t>(digit);
    state_ = State::kSize;
  } else if (state_ == State::kSize && c == '\r') {
    state_ = State::kSizeEnd;
  } else if (state_ == State::kSize && c == ';') {
    state_ = State::kExtension;
  } else {
    return refuse(400, "a chunk's size is not a number");
  }
  return {};
}

Parsed<void> BodyDecoder::step(char c) {
  switch (state_) {
    case State::kSizeEnd:
      if (c != '\n') return refuse(400, "a bare CR in a chunk's line");
      state_ = left_ == 0 ? State::kTrailer : State::kData;
      return {};
    case State::kDataReturn:
      if (c != '\r') return refuse(400, "a chunk is longer than its size");
      state_ = State::kDataEnd;
      return {};
    case State::kDataEnd:
      if (c != '\n') return refuse(400, "a chunk does not end with CR LF");
      state_ = State::kSizeFirst;
      left_ = 0;
      line_ = 0;
      return {};
    default:
      return step_size(c);
  }
}

Parsed<void> BodyDecoder::take_trailer(Buffer& input) {
  Parsed<std::optional<size_t>> end = finder_.find(input.text());
  if (!end) return std::unexpected(std::move(end.error()));
  const size_t size = end->value_or(input.size());
  if (trailer_.size() + size > kTrailerBytesMax) return refuse(431, "the trailer is too long");
  trailer_.append(input.text().substr(0, size));
  input.trim_front(size);
  if (!*end) return {};
  if (trailer_.size() > 2) {  // more than the empty line
    const std::span<char> lines = trailers_.room(trailer_.size());
    std::memcpy(lines.data(), trailer_.data(), lines.size());
    trailer_.clear();
    if (Parsed<void> parsed = parse_trailers(lines, trailers_); !parsed) return parsed;
  }
  state_ = State::kDone;
  return {};
}

}  // namespace weft::http::http1
