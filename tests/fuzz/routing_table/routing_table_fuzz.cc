// Arbitrary routes and an arbitrary request: compiled or refused with a reason; what the index
// finds is what asking every route in order finds; a normalized path is normal; a rewritten one
// begins with a slash and is bounded.
//
// Input: two bytes of how long the Port is, its protobuf bytes, then lines: method, path,
// authority, and "name: value" as often as there are.
#include "ztunnel/base/check.h"
#include "ztunnel/routing/apply.h"
#include "ztunnel/routing/normalize.h"
#include "ztunnel/routing/route.h"
#include "ztunnel/routing/table.h"

#include <cstddef>
#include <cstdint>

namespace {

std::string_view line_of(std::string_view& text) {
  const size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace weft;
  if (size < 2) return 0;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t port_bytes = std::min<size_t>(data[0] + data[1] * 256U, size - 2);
  weft::route::Port port;
  if (!port.ParseFromArray(data + 2, static_cast<int>(port_bytes))) return 0;
  text.remove_prefix(2 + port_bytes);
  const auto table = routing::Table::compile(port);
  if (!table) {
    CHECK(!table.error().message.empty());
    return 0;
  }
  http::RequestHead head;
  head.method = line_of(text);
  head.path = line_of(text);
  head.authority = line_of(text);
  while (!text.empty()) {
    const std::string_view line = line_of(text);
    const size_t colon = std::min(line.find(": "), line.size());
    head.fields.add(line.substr(0, colon), line.substr(std::min(colon + 2, line.size())));
  }
  std::string normal;
  const auto rules = static_cast<routing::PathRules>(data[0] % 4);
  const auto how = routing::normalize_path(head.path, rules, normal);
  if (how == routing::Normalized::kChanged) {
    std::string again;
    CHECK(routing::normalize_path(normal, rules, again) == routing::Normalized::kSame);
    head.path = normal;
  }
  const routing::Match fast = (*table)->find(head);
  const routing::Match slow = routing::find_slowly(**table, head);
  CHECK(fast.route == slow.route);
  CHECK(fast.name == slow.name);
  CHECK(fast.prefix_bytes == slow.prefix_bytes);
  if (fast.route == nullptr) return 0;
  const auto answer = routing::answer(fast, head);
  const routing::Weighted* chosen = routing::choose(*fast.route, size);
  if (!answer || *answer || chosen == nullptr) return 0;
  const std::string_view before = head.path;
  if (!routing::change_request(fast, *chosen, {}, head) || head.path == before) return 0;
  CHECK(head.path.starts_with('/'));
  CHECK(head.path.size() <= routing::kRewrittenBytesMax);
  return 0;
}
