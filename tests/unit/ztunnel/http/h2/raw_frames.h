#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// HTTP/2 frames written by hand, for peers that no library would play.

namespace weft::testing {

enum class FrameType : uint8_t {
  kData = 0,
  kHeaders = 1,
  kReset = 3,
  kSettings = 4,
  kPing = 6,
  kGoaway = 7,
  kWindowUpdate = 8,
  kContinuation = 9
};

constexpr uint8_t kEndStream = 1;
constexpr uint8_t kAck = 1;
constexpr uint8_t kEndHeaders = 4;

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

inline std::string big_endian(uint64_t number, size_t bytes) {
  std::string text;
  for (size_t i = bytes; i > 0; --i) text += static_cast<char>(number >> (8 * (i - 1)) & 0xff);
  return text;
}

inline std::string frame(FrameType type, uint8_t flags, uint32_t stream, std::string_view payload) {
  std::string text = big_endian(payload.size(), 3);
  text += static_cast<char>(type);
  text += static_cast<char>(flags);
  text += big_endian(stream, 4);
  text += payload;
  return text;
}

// HPACK's integers and literals without indexing (RFC 7541, 5.1 and 6.2.2).
inline std::string hpack_length(size_t length) {
  if (length < 127) return std::string(1, static_cast<char>(length));
  std::string text(1, static_cast<char>(127));
  for (length -= 127; length >= 128; length >>= 7U) {
    text += static_cast<char>((length & 0x7fU) | 0x80U);
  }
  return text + static_cast<char>(length);
}

using Fields = std::vector<std::pair<std::string, std::string>>;

inline std::string header_block(const Fields& fields) {
  std::string block;
  for (const auto& [name, value] : fields) {
    block += '\0';
    block += hpack_length(name.size()) + name + hpack_length(value.size()) + value;
  }
  return block;
}

inline std::string headers_frame(uint32_t stream, const Fields& fields, uint8_t flags = 0) {
  return frame(FrameType::kHeaders, flags | kEndHeaders, stream, header_block(fields));
}

inline std::string settings_frame(const std::vector<std::pair<uint16_t, uint32_t>>& settings = {}) {
  std::string payload;
  for (const auto& [id, value] : settings) payload += big_endian(id, 2) + big_endian(value, 4);
  return frame(FrameType::kSettings, 0, 0, payload);
}

inline std::string reset_frame(uint32_t stream, uint32_t error) {
  return frame(FrameType::kReset, 0, stream, big_endian(error, 4));
}

struct RawFrame {
  FrameType type{};
  uint8_t flags = 0;
  uint32_t stream = 0;
  std::string payload;
};

// The whole frames of `bytes`, which has no preface.
inline std::vector<RawFrame> parse_frames(std::string_view bytes) {
  std::vector<RawFrame> frames;
  const auto number = [&bytes](size_t at, size_t count) {
    uint32_t value = 0;
    for (size_t i = 0; i < count; ++i) value = value << 8U | static_cast<uint8_t>(bytes[at + i]);
    return value;
  };
  while (bytes.size() >= 9 && bytes.size() >= 9 + number(0, 3)) {
    const size_t size = number(0, 3);
    frames.push_back({static_cast<FrameType>(bytes[3]), static_cast<uint8_t>(bytes[4]),
                      number(5, 4) & 0x7fffffffU, std::string(bytes.substr(9, size))});
    bytes.remove_prefix(9 + size);
  }
  return frames;
}

}  // namespace weft::testing
