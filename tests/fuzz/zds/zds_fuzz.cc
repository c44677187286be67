// What a ztunnel says to the node agent: its hello, and its responses; and the two texts of /proc
// that place it.
#include "agent/enrol/cgroups.h"
#include "agent/enrol/pods.h"
#include "agent/enrol/zds_packet.h"
#include "ztunnel/base/check.h"

#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace weft::enrol;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto response = parse_response(text);
  if (response && response->park) CHECK(response->error.empty());
  if (const auto hello = parse_hello(text); !hello) CHECK(!hello.error().message.empty());
  if (const auto cgroup = cgroup_in(text)) CHECK(cgroup->starts_with("/"));
  (void)cgroup2_mount_in(text);
  if (names_pod(text, "6a2f-1b")) CHECK(text.find("pod6a2f") != std::string_view::npos);
  return 0;
}
