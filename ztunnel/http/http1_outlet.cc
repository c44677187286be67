#include "ztunnel/http/http1_outlet.h"

#include "ztunnel/http/reason.h"

#include <array>
#include <charconv>
#include <random>

namespace weft::http::http1 {

using runtime::Buffer;
using runtime::ByteStream;
using runtime::Task;

namespace {

std::span<const uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// 16 bytes in base64, nearly all of them by chance: RFC 6455, 4.1 asks that it be no other
// connection's, not that it be secret.
std::string websocket_key() {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  constexpr size_t kByChance = 21;
  std::random_device random;
  std::string key;
  for (size_t i = 0; i < kByChance; ++i) key += kDigits[random() % kDigits.size()];
  return key + "A==";
}

constexpr std::string_view kLastChunk = "0\r\n";
constexpr std::string_view kLineEnd = "\r\n";

}  // namespace

void Outlet::add(std::string_view text) { held_.copy(bytes_of(text)); }

void Outlet::add_fields(const FieldList& fields) {
  for (const FieldList::Field& field : fields.all()) {
    text_.append(field.name).append(": ").append(field.value).append(kLineEnd);
  }
}

void Outlet::add_end(const Meta& meta) {
  if (meta.framing == Framing::kChunked) text_.append("transfer-encoding: chunked\r\n");
  text_.append(kLineEnd);
  add(text_);
  text_.clear();
  framing_ = meta.framing;
  left_ = meta.length;
  done_ = false;
}

void Outlet::request(const RequestHead& head, const Meta& meta) {
  text_.append(head.method).append(" ").append(head.path).append(" HTTP/1.1\r\nhost: ");
  text_.append(head.authority).append(kLineEnd);
  add_fields(head.fields);
  if (!head.protocol.empty()) {
    text_.append("connection: upgrade\r\nupgrade: ").append(head.protocol).append(kLineEnd);
    // HTTP/2's handshake has no key (RFC 8441, 5), HTTP/1.1's does not go without.
    if (head.fields.find("sec-websocket-key") == nullptr) {
      text_.append("sec-websocket-key: ").append(websocket_key()).append(kLineEnd);
    }
  }
  add_end(meta);
}

void Outlet::response(const ResponseHead& head, const Meta& meta, Version to, bool to_head) {
  std::array<char, 4> digits{};
  const auto end = std::to_chars(digits.begin(), digits.end(), head.status).ptr;
  text_.append("HTTP/1.1 ").append(digits.begin(), end).append(" ");
  text_.append(reason_of(head.status)).append(kLineEnd);
  add_fields(head.fields);
  if (head.status == 101) {
    text_.append("connection: upgrade\r\nupgrade: websocket\r\n");
  } else if (!meta.keep_alive) {
    text_.append("connection: close\r\n");
  } else if (to == Version::kHttp10) {
    text_.append("connection: keep-alive\r\n");
  }
  add_end(meta);
  if (to_head) framing_ = Framing::kNone;
}

Task<Result<void>> Outlet::write(ByteStream& to, Buffer bytes) {
  if (bytes.empty()) co_return Result<void>();
  if (framing_ == Framing::kChunked) {
    std::array<char, 18> size{};
    const auto end = std::to_chars(size.begin(), size.end(), bytes.size(), 16).ptr;
    add({size.data(), static_cast<size_t>(end - size.data())});
    add(kLineEnd);
    held_.add(std::move(bytes));
    add(kLineEnd);
  } else {
    if (framing_ == Framing::kLength) {
      if (bytes.size() > left_) co_return fail(Code::kInternal, "a body longer than its head says");
      left_ -= bytes.size();
    } else if (framing_ == Framing::kNone) {
      co_return fail(Code::kInternal, "a body where its head says that there is none");
    }
    held_.add(std::move(bytes));
  }
  if (held_.size() >= kHeldBytesMax) co_return co_await flush(to);
  co_return Result<void>();
}

Task<Result<void>> Outlet::finish(ByteStream& to, FieldList trailers) {
  if (framing_ == Framing::kChunked) {
    add(kLastChunk);
    add_fields(trailers);
    text_.append(kLineEnd);
    add(text_);
    text_.clear();
  } else if (framing_ == Framing::kLength && left_ > 0) {
    co_return fail(Code::kInternal, "a body shorter than its head says");
  }
  Result<void> sent = co_await flush(to);
  done_ = sent.has_value();
  co_return sent;
}

Task<Result<void>> Outlet::flush(ByteStream& to) {
  if (held_.empty()) co_return Result<void>();
  Result<void> sent = co_await to.write_pieces(held_.pieces());
  held_.clear();
  co_return sent;
}

}  // namespace weft::http::http1
