#pragma once

#include "agent/sandbox/families.h"
#include "agent/sandbox/planner.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace weft::sandbox {

// What kube-proxy and cluster DNS make of Services and Pods. Pure.

using ServicePtr = std::shared_ptr<const crd::core::Service>;

// A Service's port as a pod serves it: a number, or the name of one of the pod's ports.
std::optional<uint16_t> target_port(const crd::core::ServicePort& port, const crd::core::Pod& pod);
bool selects(const crd::core::Service& service, const crd::core::Pod& pod);
// The pods that receive the Service's traffic: selected, not leaving, with an address, and ready
// (unless publishNotReadyAddresses).
std::vector<PodPtr> endpoints_of(const crd::core::Service& service,
                                 const std::vector<PodPtr>& pods);

inline bool is_headless(const crd::core::Service& service) {
  return service.spec().clusterip() == "None";
}

// The whole nftables ruleset of a node, as `nft -f` reads it; replaces the one before. An address
// without endpoints refuses; a pod that reaches itself through a Service sees its node as peer.
std::string render_nftables(const std::vector<ServicePtr>& services,
                            const std::vector<PodPtr>& pods, const Families& families);

// A name of cluster DNS (lower case, without the last dot) and its addresses; a name may have none.
using Zone = std::map<std::string, std::vector<std::string>>;
Zone make_zone(const std::vector<ServicePtr>& services, const std::vector<PodPtr>& pods);

}  // namespace weft::sandbox
