#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace weft::dns {

// RFC 1035 section 4.2.2: over TCP each message stands behind its length in two bytes.
inline std::string framed(std::string_view message) {
  std::string out;
  out.reserve(2 + message.size());
  out += static_cast<char>(message.size() >> 8U);
  out += static_cast<char>(message.size() & 0xffU);
  out += message;
  return out;
}

// Takes messages out of a stream's bytes. Holds what came of them: at most one message and what its
// last bytes brought along.
class Deframer {
 public:
  void push(std::string_view bytes) { pending_ += bytes; }
  std::optional<std::string> next() {
    if (pending_.size() < 2) return std::nullopt;
    const size_t size = static_cast<size_t>(static_cast<unsigned char>(pending_[0])) << 8U |
                        static_cast<unsigned char>(pending_[1]);
    if (pending_.size() < 2 + size) return std::nullopt;
    std::string message = pending_.substr(2, size);
    pending_.erase(0, 2 + size);
    return message;
  }
  // What came behind the last message, its length bytes included.
  const std::string& pending() const { return pending_; }

 private:
  std::string pending_;
};

}  // namespace weft::dns
