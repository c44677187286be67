// Arbitrary bytes as two DeltaDiscoveryResponses in a row. Whatever they hold, the tables stay
// whole: what is found by one key is found by the others, and no resource of a policy is lost
// silently.
#include "ztunnel/base/check.h"
#include "ztunnel/base/log.h"
#include "ztunnel/learn/state_builder.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace {

using weft::learn::State;

void check_candidates(const State& state, const weft::learn::PortCandidates& port) {
  for (const auto* tables : {&port.ready, &port.ending}) {
    for (const auto& table : *tables) {
      const auto* chosen =
          table.pick({0, table.size()}, port.port, [](const auto&) { return true; });
      CHECK((chosen == nullptr) == table.empty());
      if (chosen == nullptr) continue;
      CHECK(chosen->address.port != 0);
      CHECK(state.workload_by_uid(chosen->workload->uid).get() == chosen->workload);
    }
  }
}

void check_tables(const State& state) {
  const State::Data& data = state.data();
  for (const auto& [ip, workload] : data.workloads_by_ip) {
    CHECK(state.workload_by_uid(workload->uid) == workload);
    CHECK(std::ranges::count(workload->addresses, ip) > 0);
  }
  for (const auto& [key, workload] : data.pods) {
    CHECK(state.workload_by_uid(workload->uid) == workload);
  }
  for (const auto& [range, services] : data.vips.claims()) {
    CHECK(!services.empty());
    for (const auto& service : services) {
      CHECK(state.service_by_key(service->ns + "/" + service->hostname) == service);
    }
    CHECK(data.vips.exact(range.address(), services.front()->ns) != nullptr ||
          data.vips.in_range(range.address(), services.front()->ns) != nullptr);
  }
  for (const auto& [key, service] : data.services) {
    for (const auto& endpoint : service->endpoints) {
      CHECK(state.workload_by_uid(endpoint.workload->uid) == endpoint.workload);
    }
    for (const auto& port : service->candidates) check_candidates(state, port);
  }
  for (const auto& [uid, workload] : data.workloads) {
    const auto policies = state.policies_for(*workload);
    CHECK(policies || !policies.error().message.empty());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace weft::learn;
  weft::log::set_sink([](std::string_view) {});
  if (size < 2) return 0;
  const size_t first = std::min<size_t>(size - 2, data[0] * 256U + data[1]);
  StateBuilder builder("Kubernetes");
  const uint8_t* rest = data + 2;
  for (const size_t length : {first, size - 2 - first}) {
    DeltaResponse response;
    if (response.ParseFromArray(rest, static_cast<int>(length))) {
      const auto rejections = builder.apply(response);
      check_tables(*builder.publish());
      if (response.type_url() == kAuthorizationType && response.removed_resources().empty()) {
        for (const auto& resource : response.resources()) {
          const bool rejected = std::ranges::any_of(
              rejections, [&](const auto& r) { return r.name == resource.name(); });
          CHECK(rejected || builder.data().authorization.policies.contains(resource.name()));
        }
      }
    }
    rest += length;
  }
  return 0;
}
