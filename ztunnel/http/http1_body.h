#pragma once

#include "ztunnel/http/http1_grammar.h"
#include "ztunnel/http/http1_head.h"
#include "ztunnel/http/message.h"
#include "ztunnel/runtime/buffer.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace weft::http::http1 {

// Takes a body out of the bytes of a connection (RFC 9112, 6 and 7) without copying it: what it
// gives shares the storage that it was fed.
class BodyDecoder {
 public:
  // What extensions may add to a chunk's size: nobody we know sends any.
  static constexpr size_t kChunkLineBytesMax = 256;
  static constexpr size_t kTrailerBytesMax = 8 * 1024;

  BodyDecoder() = default;
  explicit BodyDecoder(const Meta& meta);

  bool is_done() const { return state_ == State::kDone; }
  bool is_refused() const { return refused_.has_value(); }
  // Whether the end of the connection is the end of the body.
  bool ends_with_connection() const { return state_ == State::kUntilEnd; }
  void connection_ended() { state_ = State::kDone; }
  // The next piece, off the front of `input`; empty: the body is whole, or more input is needed.
  Parsed<runtime::Buffer> take(runtime::Buffer& input);
  FieldList take_trailers() { return std::move(trailers_); }

 private:
  enum class State : uint8_t {
    kCounted,
    kUntilEnd,
    kSizeFirst,
    kSize,
    kExtension,
    kSizeEnd,
    kData,
    kDataReturn,
    kDataEnd,
    kTrailer,
    kDone
  };
  runtime::Buffer take_counted(runtime::Buffer& input, State next);
  Parsed<void> take_framing(runtime::Buffer& input);
  Parsed<void> step(char c);
  Parsed<void> step_size(char c);
  Parsed<void> take_trailer(runtime::Buffer& input);

  State state_ = State::kDone;
  std::optional<Refusal> refused_;
  uint64_t left_ = 0;  // of the body, or of the present chunk
  size_t line_ = 0;    // of the present chunk's size line
  HeadFinder finder_;
  std::string trailer_;
  FieldList trailers_;
};

}  // namespace weft::http::http1
