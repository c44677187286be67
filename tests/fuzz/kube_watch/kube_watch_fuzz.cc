// A watch's bytes, and pages of a list, from a server that says anything. The first byte is the
// size of the pieces; however the bytes are cut, the same must be told.
#include "agent/source/kube/mirror.h"
#include "agent/source/kube/watch_lines.h"
#include "ztunnel/base/check.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace {

using namespace weft::source::kube;

constexpr size_t kLineBytesMax = 2000;

Served policies() {
  return {{.group = "security.istio.io",
           .versions = {"v1"},
           .plural = "authorizationpolicies",
           .kind = "AuthorizationPolicy",
           .keeps_status = true,
           .built_in = false},
          "v1"};
}

// What was told, and how it ended.
std::string watch(std::string_view bytes, size_t step) {
  Mirror mirror(policies());
  WatchLines lines(kLineBytesMax);
  std::string outcome;
  while (!bytes.empty()) {
    lines.feed(bytes.substr(0, step));
    bytes.remove_prefix(std::min(step, bytes.size()));
    while (true) {
      const auto line = lines.next();
      if (!line) return outcome + "too long";
      if (!*line) break;
      CHECK((*line)->size() <= kLineBytesMax);
      const auto done = mirror.add_event(**line);
      for (const auto& change : mirror.take_changes()) {
        outcome += (change.object ? "+" : "-") + change.key.to_string() + ";";
        CHECK(!change.object || change.object->key() == change.key);
      }
      if (!done) return outcome + done.error().to_string();
      if (!*done) return outcome + "expired";
    }
  }
  return outcome + (lines.is_cut() ? "cut" : "whole") + mirror.resource_version();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const size_t step = 1 + data[0] % 61;
  const std::string_view bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  CHECK(watch(bytes, step) == watch(bytes, bytes.size()));
  Mirror mirror(policies());
  mirror.begin_list();
  const auto added = mirror.add_page(bytes);
  mirror.end_list();
  CHECK(!added || mirror.take_changes().size() <= bytes.size());
  return 0;
}
