// gRPC's messages and its status, from a server that says anything. The first byte is the size of
// the pieces; however the bytes are cut, the messages must be the same.
#include "ztunnel/base/check.h"
#include "ztunnel/http/grpc_framing.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace {

using namespace weft::http;

constexpr size_t kMessageBytesMax = 1000;

// All messages, each behind its length, and how it ended.
std::string read_all(std::string_view bytes, size_t step) {
  MessageReader reader(kMessageBytesMax);
  std::string outcome;
  while (!bytes.empty()) {
    reader.feed(bytes.substr(0, step));
    bytes.remove_prefix(std::min(step, bytes.size()));
    while (true) {
      const auto next = reader.next();
      if (!next) return outcome + "error " + next.error().message;
      if (!*next) break;
      CHECK((*next)->size() <= kMessageBytesMax);
      outcome += message_prefix((*next)->size()) + **next;
    }
  }
  return outcome + (reader.is_between_messages() ? "whole" : "cut");
}

void read_status(std::string_view text) {
  const size_t cut = std::min(text.find('\n'), text.size());
  const std::vector<Header> said{
      {"grpc-status", std::string(text.substr(0, cut))},
      {"grpc-message", std::string(text.substr(std::min(cut + 1, text.size())))}};
  const auto error = status_error({{":status", "200"}}, said);
  if (error) CHECK(!error->message.empty() && error->message.size() < 5000);
  if (!error) CHECK(text.substr(0, cut).find_first_not_of('0') == std::string_view::npos);
  static_cast<void>(check_response({{":status", said[0].value}, {"content-type", said[1].value}}));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const size_t step = 1 + data[0] % 31;
  const std::string_view bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  CHECK(read_all(bytes, step) == read_all(bytes, bytes.size()));
  read_status(bytes);
  return 0;
}
